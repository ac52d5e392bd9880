//! What a command prints: one object for programs, or an aligned list for people.

use std::io::{self, Write};

use serde_json::{Map, Value, json};

use crate::failure::Failure;

/// A command's result: rows of name, JSON value and text for people.
#[derive(Default)]
pub struct Report {
    fields: Map<String, Value>,
    banners: Vec<&'static str>,
    rows: Vec<(&'static str, String)>,
    lines: Vec<String>,
    last_line_is_json: bool,
    code: u8,
}

impl Report {
    /// A field for both readers; the text is the JSON string's.
    pub fn field(self, name: &'static str, value: impl ToString) -> Self {
        let text = value.to_string();
        self.field_as(name, text.clone(), text)
    }

    /// A field whose JSON differs from its text.
    pub fn field_as(self, name: &'static str, value: impl Into<Value>, text: impl ToString) -> Self {
        self.row(name, text).hidden(name, value)
    }

    /// A field for both readers, if there is one.
    pub fn field_if(self, name: &'static str, value: Option<(impl Into<Value>, impl ToString)>) -> Self {
        match value {
            Some((value, text)) => self.field_as(name, value, text),
            None => self,
        }
    }

    /// A field for people only.
    pub fn row(mut self, name: &'static str, text: impl ToString) -> Self {
        self.rows.push((name, text.to_string()));
        self
    }

    /// Something that nobody must overlook; for people only, before everything else.
    pub fn banner(mut self, text: &'static str) -> Self {
        self.banners.push(text);
        self
    }

    /// A field for programs only.
    pub fn hidden(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(name.replace(' ', "_"), value.into());
        self
    }

    /// The fields of an object, for programs only.
    pub fn hidden_all(mut self, object: Value) -> Self {
        if let Value::Object(fields) = object {
            self.fields.extend(fields);
        }
        self
    }

    /// People get the object for programs too, as their last line.
    pub fn last_line_is_json(mut self) -> Self {
        self.last_line_is_json = true;
        self
    }

    /// The process ends with this code, not with 0.
    pub fn with_code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// The process's exit code.
    pub fn code(&self) -> u8 {
        self.code
    }

    /// A whole line for people only.
    pub fn line(mut self, text: impl ToString) -> Self {
        self.lines.push(text.to_string());
        self
    }

    /// Prints to standard output.
    pub fn print(self, json: bool) {
        print_line(&self.text(json));
    }

    /// What is printed, without the last line's end.
    pub fn text(self, json: bool) -> String {
        let object = Value::Object(self.fields).to_string();
        if json {
            return object;
        }
        let width = self.rows.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
        let banners = self.banners.iter().map(|text| format!("*** {text} ***"));
        let rows = self.rows.iter().map(|(name, text)| format!("{name:width$}  {text}"));
        let last = self.last_line_is_json.then_some(object);
        banners.chain(rows).chain(self.lines).chain(last).collect::<Vec<_>>().join("\n")
    }
}

/// Prints a failure: in JSON to standard output, for people to standard error.
pub fn print_failure(failure: &Failure, json: bool) {
    let text = failure_text(failure, json);
    if json { print_line(&text) } else { eprintln!("{text}") }
}

/// A failure in one line: an object or a sentence.
pub fn failure_text(failure: &Failure, json: bool) -> String {
    let message = failure.message();
    if json {
        let mut fields = json!({ "error": message, "code": failure.code });
        if let Some(hint) = &failure.hint {
            fields["hint"] = hint.as_str().into();
        }
        return fields.to_string();
    }
    match &failure.hint {
        Some(hint) => format!("error: {message} ({hint})"),
        None => format!("error: {message}"),
    }
}

/// Text that somebody else chose, with what could steer a terminal escaped.
pub fn printable(text: &str) -> String {
    let escaped = |character: char| match character.is_control() {
        true => character.escape_default().collect::<Vec<_>>(),
        false => vec![character],
    };
    text.chars().flat_map(escaped).collect()
}

/// A line to standard output. A reader that has closed it wants nothing more.
pub fn print_line(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

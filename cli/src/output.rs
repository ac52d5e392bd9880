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
        let object = json_text(&Value::Object(self.fields));
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
        return json_text(&fields);
    }
    match &failure.hint {
        Some(hint) => format!("error: {message} ({hint})"),
        None => format!("error: {message}"),
    }
}

/// Text that somebody else chose, with what could steer a terminal, or hide or turn around what is next to it, escaped.
pub fn printable(text: &str) -> String {
    let escaped = |character: char| match is_plain(character) {
        true => vec![character],
        false => character.escape_default().collect(),
    };
    text.chars().flat_map(escaped).collect()
}

/// The same, cut off after so many characters.
pub fn printable_up_to(most: usize, text: &str) -> String {
    let shown = printable(text);
    match shown.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", shown.get(..end).unwrap_or_default()),
        None => shown,
    }
}

/// An object for programs. A terminal may show it too: the same escapes as JSON has them, and only inside of strings.
pub fn json_text(value: &Value) -> String {
    let escaped = |character: char| match is_plain(character) {
        true => character.to_string(),
        false => character.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
    };
    value.to_string().chars().map(escaped).collect()
}

/// Neither a control character (C0, DEL, C1), nor one of Unicode's invisible or direction-changing ones.
fn is_plain(character: char) -> bool {
    !character.is_control()
        && !matches!(
            character,
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
        )
}

/// A line to standard output. A reader that has closed it wants nothing more.
pub fn print_line(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_or_hides_is_escaped_for_people_and_programs() {
        let foreign = "a\u{1b}]0;x\u{7}\u{9b}2J\u{7f}\u{202e}\u{2066}\u{200b}\u{feff}\u{e0041}é";
        let shown = r"a\u{1b}]0;x\u{7}\u{9b}2J\u{7f}\u{202e}\u{2066}\u{200b}\u{feff}\u{e0041}é";
        assert_eq!(printable(foreign), shown);
        let object = json_text(&json!({ "name\u{9b}": foreign }));
        assert!(object.chars().all(is_plain), "{object}");
        assert_eq!(serde_json::from_str::<Value>(&object).unwrap(), json!({ "name\u{9b}": foreign }));
        assert_eq!(printable_up_to(6, foreign), r"a\u{1b…");
        assert_eq!(printable_up_to(3, "abc"), "abc");
    }
}

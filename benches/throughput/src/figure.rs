//! What is printed.

/// One measured value.
#[derive(Clone, PartialEq, Debug)]
pub struct Figure {
    /// What it is.
    pub name: String,
    /// The value.
    pub value: f64,
    /// Its unit.
    pub unit: &'static str,
    /// How many measurements it rests on.
    pub n: usize,
}

impl Figure {
    /// A figure.
    pub fn new(name: impl Into<String>, value: f64, unit: &'static str, n: usize) -> Self {
        Self { name: name.into(), value, unit, n }
    }

    /// One line of JSON, as the other benchmarks print it.
    pub fn json(&self) -> String {
        let Self { name, value, unit, n } = self;
        format!(r#"{{"name":"{name}","value":{value:.3},"unit":"{unit}","n":{n}}}"#)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_a_line_of_json() {
        let figure = Figure::new("latency/p50", 12.3456, "ms", 7);
        assert_eq!(figure.json(), r#"{"name":"latency/p50","value":12.346,"unit":"ms","n":7}"#);
    }
}

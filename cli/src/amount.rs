//! Amounts of money as people write them: decimal UNIT, exact to the planck.

use cloister_client::{Balance, UNIT};

/// What is wrong with an amount.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum InvalidAmount {
    /// Not of one of the forms.
    Form,
    /// More than twelve decimals.
    BelowPlanck,
    /// Above what a balance can hold.
    TooLarge,
}

impl std::error::Error for InvalidAmount {}

impl std::fmt::Display for InvalidAmount {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Form => "an amount is written like 1000, 0.5, 300UNIT or 123planck",
            Self::BelowPlanck => "1 UNIT has 10^12 planck, so an amount has at most 12 decimals",
            Self::TooLarge => "no balance can be that large",
        })
    }
}

/// Reads `1000`, `0.5`, `300UNIT` or `123planck` as planck.
pub fn parse(text: &str) -> Result<Balance, InvalidAmount> {
    let text = text.trim();
    if let Some(planck) = text.strip_suffix("planck") {
        return integer(planck.trim_end());
    }
    let text = text.strip_suffix("UNIT").unwrap_or(text).trim_end();
    let (whole, fraction) = match text.split_once('.') {
        Some((_, "")) => return Err(InvalidAmount::Form),
        Some(parts) => parts,
        None => (text, ""),
    };
    if !fraction.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(InvalidAmount::Form);
    }
    if fraction.len() > DECIMALS {
        return Err(InvalidAmount::BelowPlanck);
    }
    let planck = integer(&format!("{fraction:0<DECIMALS$}"))?;
    integer(whole)?.checked_mul(UNIT).and_then(|units| units.checked_add(planck)).ok_or(InvalidAmount::TooLarge)
}

/// Writes planck as `0.5 UNIT`, without trailing zeros; [`parse`] reads it back.
pub fn format(planck: Balance) -> String {
    let (whole, fraction) = (planck / UNIT, planck % UNIT);
    if fraction == 0 {
        return format!("{whole} UNIT");
    }
    let fraction = format!("{fraction:0>DECIMALS$}");
    format!("{whole}.{} UNIT", fraction.trim_end_matches('0'))
}

fn integer(digits: &str) -> Result<Balance, InvalidAmount> {
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(InvalidAmount::Form);
    }
    digits.parse().map_err(|_| InvalidAmount::TooLarge)
}

const DECIMALS: usize = 12;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_forms_of_amounts() {
        for (text, planck) in [
            ("1000", 1_000 * UNIT),
            ("0.5", UNIT / 2),
            ("300UNIT", 300 * UNIT),
            ("300 UNIT", 300 * UNIT),
            ("0.000000000001", 1),
            ("123planck", 123),
            (" 7 ", 7 * UNIT),
            ("0", 0),
            ("340282366920938463463374607431768211455planck", u128::MAX),
        ] {
            assert_eq!(parse(text), Ok(planck), "{text}");
        }
        assert_eq!(format(UNIT), "1 UNIT");
        assert_eq!(format(1), "0.000000000001 UNIT");
        assert_eq!(format(u128::MAX), "340282366920938463463374607.431768211455 UNIT");
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for text in [
            "",
            "UNIT",
            "planck",
            ".5",
            "5.",
            "1,000",
            "1e3",
            "-1",
            "+1",
            "1.5planck",
            "1.2.3",
            "0x10",
            "１",
            "1 2",
            "1_000",
        ] {
            assert_eq!(parse(text), Err(InvalidAmount::Form), "{text}");
        }
        assert_eq!(parse("0.0000000000001"), Err(InvalidAmount::BelowPlanck));
        assert_eq!(parse("340282366920938463463374607.431768211456"), Err(InvalidAmount::TooLarge));
        assert_eq!(parse("340282366920938463463374607431768211456planck"), Err(InvalidAmount::TooLarge));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(planck: u128) {
            prop_assert_eq!(parse(&format(planck)), Ok(planck));
            prop_assert_eq!(parse(&format!("{planck}planck")), Ok(planck));
        }

        #[test]
        fn whole_units_are_exact(units in 0..=u128::MAX / UNIT) {
            prop_assert_eq!(parse(&units.to_string()), Ok(units * UNIT));
        }

        #[test]
        fn no_text_panics(text in ".*") {
            let _ = parse(&text);
        }
    }
}

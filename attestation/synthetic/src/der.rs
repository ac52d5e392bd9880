//! DER, written by hand: a library's types would refuse to write most of what a verifier has to refuse to read.

use der::DateTime;

/// An object identifier.
pub type Oid = const_oid::ObjectIdentifier;

/// One element: tag, length in its shortest form, content.
pub fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match u8::try_from(content.len()) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => {
            let length = content.len().to_be_bytes();
            let octets: Vec<u8> = length.iter().copied().skip_while(|octet| *octet == 0).collect();
            out.push(0x80 | u8::try_from(octets.len()).unwrap_or(0x7f));
            out.extend(octets);
        }
    }
    out.extend(content);
    out
}

/// SEQUENCE of encoded elements.
pub fn sequence(elements: &[Vec<u8>]) -> Vec<u8> {
    element(0x30, &elements.concat())
}

/// SET of encoded elements, in the given order.
pub fn set(elements: &[Vec<u8>]) -> Vec<u8> {
    element(0x31, &elements.concat())
}

/// Explicitly tagged element `[number]`; numbers up to 30.
pub fn explicit(number: u8, inner: &[u8]) -> Vec<u8> {
    element(0xa0 | number, inner)
}

/// INTEGER of these content octets, which need not be the shortest form.
pub fn integer(content: &[u8]) -> Vec<u8> {
    element(0x02, content)
}

/// INTEGER of a number, in the shortest form.
pub fn unsigned(number: u64) -> Vec<u8> {
    let octets = number.to_be_bytes();
    integer(&magnitude(&octets))
}

/// Content octets of the INTEGER with this big-endian magnitude.
pub fn magnitude(octets: &[u8]) -> Vec<u8> {
    let mut content: Vec<u8> = octets.iter().copied().skip_while(|octet| *octet == 0).collect();
    if content.first().is_none_or(|first| *first >= 0x80) {
        content.insert(0, 0);
    }
    content
}

/// ENUMERATED.
pub fn enumerated(value: u8) -> Vec<u8> {
    element(0x0a, &[value])
}

/// BOOLEAN.
pub fn boolean(value: bool) -> Vec<u8> {
    element(0x01, &[if value { 0xff } else { 0 }])
}

/// OBJECT IDENTIFIER.
pub fn oid(oid: Oid) -> Vec<u8> {
    element(0x06, oid.as_bytes())
}

/// OCTET STRING.
pub fn octets(content: &[u8]) -> Vec<u8> {
    element(0x04, content)
}

/// BIT STRING; `unused` bits of the last octet do not count.
pub fn bits(unused: u8, content: &[u8]) -> Vec<u8> {
    element(0x03, &[&[unused], content].concat())
}

/// UTF8String.
pub fn utf8(text: &str) -> Vec<u8> {
    element(0x0c, text.as_bytes())
}

/// PrintableString.
pub fn printable(text: &str) -> Vec<u8> {
    element(0x13, text.as_bytes())
}

/// UTCTime until 2049, GeneralizedTime from 2050 on, as RFC 5280 §4.1.2.5 wants it.
pub fn time(unix_ms: u64) -> Vec<u8> {
    let text = rfc3339(unix_ms).replace(['-', ':', 'T'], "");
    match text.strip_prefix("20") {
        Some(short) if text.as_str() < "2050" => element(0x17, short.as_bytes()),
        _ => element(0x18, text.as_bytes()),
    }
}

/// `2025-01-01T00:00:00Z`.
pub fn rfc3339(unix_ms: u64) -> String {
    DateTime::from_unix_duration(std::time::Duration::from_millis(unix_ms)).unwrap_or(DateTime::INFINITY).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_take_the_shortest_form() {
        assert_eq!(element(0x04, &[0; 0x7f])[..2], [0x04, 0x7f]);
        assert_eq!(element(0x04, &[0; 0x80])[..3], [0x04, 0x81, 0x80]);
        assert_eq!(element(0x04, &[0; 0x100])[..4], [0x04, 0x82, 0x01, 0x00]);
    }

    #[test]
    fn numbers_and_times() {
        assert_eq!(unsigned(0), [2, 1, 0]);
        assert_eq!(unsigned(0x80), [2, 2, 0, 0x80]);
        assert_eq!(time(1_735_689_600_000), [&[0x17, 13], &b"250101000000Z"[..]].concat());
        assert_eq!(time(2_524_608_000_000), [&[0x18, 15], &b"20500101000000Z"[..]].concat());
        assert_eq!(rfc3339(1_735_689_600_999), "2025-01-01T00:00:00Z");
    }
}

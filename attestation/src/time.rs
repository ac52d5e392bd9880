//! Times of documents and certificates as Unix milliseconds.
//!
//! They come in whole seconds. A document or certificate is valid from the first millisecond of its first second to the first
//! of its last (`nextUpdate`, `notAfter`), both included; a revocation list until one millisecond before its `nextUpdate`. In
//! whole seconds these are the rules of Intel's own library.

use cloister_claims::{Error, Validity};
use der::DateTime;

/// `YYYY-MM-DDThh:mm:ssZ`, the one form of ISO 8601 in Intel's documents.
pub(crate) fn parse(text: &str) -> Result<u64, Error> {
    let time: DateTime = text.parse().map_err(|_| Error::DocumentTime)?;
    Ok(time.unix_duration().as_secs().saturating_mul(1000))
}

/// A time in a certificate or revocation list.
pub(crate) fn of_x509(time: x509_cert::time::Time) -> u64 {
    time.to_unix_duration().as_secs().saturating_mul(1000)
}

/// A span that is not empty.
pub(crate) fn period(from: u64, until: u64, empty: Error) -> Result<Validity, Error> {
    match from <= until {
        true => Ok(Validity { from, until }),
        false => Err(empty),
    }
}

/// Whether `at` is inside, and if not on which side it is.
pub(crate) fn check(validity: &Validity, at: u64, before: Error, after: Error) -> Result<(), Error> {
    if at < validity.from {
        return Err(before);
    }
    if at > validity.until {
        return Err(after);
    }
    Ok(())
}

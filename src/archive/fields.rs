//! Reads the fields of a document as the types that etcd-seal-archive(5) gives them.
//!
//! Types are strict, because this program and others write every field in one way only: `null` is no value of any of them.

use super::json::{Fault, Object, Value};

/// What can be read from an object.
pub trait FromFields: Sized {
    /// Reads it. Fields with other names are ignored.
    ///
    /// # Errors
    /// The first field that is missing or of another type.
    fn from_fields(fields: &Object) -> Result<Self, Fault>;
}

/// Reads a field that must be there; `read` returns what it expects where the value is something else.
pub(super) fn required<T>(
    fields: &Object,
    name: &str,
    read: impl FnOnce(&Value) -> Result<T, Fault>,
) -> Result<T, Fault> {
    optional(fields, name, read)?.ok_or_else(|| format!("missing field `{name}`"))
}

/// Reads a field that may be missing.
pub(super) fn optional<T>(
    fields: &Object,
    name: &str,
    read: impl FnOnce(&Value) -> Result<T, Fault>,
) -> Result<Option<T>, Fault> {
    fields.get(name).map(read).transpose().map_err(|expected| format!("field `{name}` is not {expected}"))
}

/// Any string.
pub(super) fn text(value: &Value) -> Result<String, Fault> {
    match value {
        Value::String(text) => Ok(text.clone()),
        _ => Err("a string".to_owned()),
    }
}

/// An integer from 0 to 2^64 - 1, in decimal digits alone.
pub(super) fn integer(value: &Value) -> Result<u64, Fault> {
    let number = match value {
        // JSON knows no plus sign and no leading zeros.
        Value::Number(number) => number.parse().ok().filter(|_| !number.starts_with('-')),
        _ => None,
    };
    number.ok_or_else(|| "an integer from 0 to 18446744073709551615".to_owned())
}

/// An integer of 32 bits that may be negative. Minus zero is none.
pub(super) fn level(value: &Value) -> Result<i32, Fault> {
    let number = match value {
        Value::Number(number) => number.parse().ok().filter(|_| number != "-0"),
        _ => None,
    };
    number.ok_or_else(|| "an integer of 32 bits".to_owned())
}

/// A 64-bit id of etcd: 16 lower-case hexadecimal digits.
pub(super) fn id(value: &Value) -> Result<String, Fault> {
    hexadecimal(value, 16)
}

/// A SHA-256: 64 lower-case hexadecimal digits.
pub(super) fn sha256(value: &Value) -> Result<String, Fault> {
    hexadecimal(value, 64)
}

fn hexadecimal(value: &Value, length: usize) -> Result<String, Fault> {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    text(value)
        .ok()
        .filter(|text| text.len() == length && text.bytes().all(is_digit))
        .ok_or_else(|| format!("{length} lower-case hexadecimal digits"))
}

/// A time of RFC 3339 in UTC, with whole seconds and `Z`.
pub(super) fn time(value: &Value) -> Result<String, Fault> {
    text(value)
        .ok()
        .filter(|text| is_time(text.as_bytes()))
        .ok_or_else(|| "a time such as 2026-11-21T05:36:00Z".to_owned())
}

fn is_time(text: &[u8]) -> bool {
    const FORM: &[u8; 20] = b"0000-00-00T00:00:00Z";
    let fits = |(byte, form): (&u8, &u8)| if *form == b'0' { byte.is_ascii_digit() } else { byte == form };
    if text.len() != FORM.len() || !text.iter().zip(FORM).all(fits) {
        return false;
    }
    let number = |range: std::ops::Range<usize>| {
        text[range].iter().fold(0, |number: u32, digit| 10 * number + u32::from(digit - b'0'))
    };
    let (year, month, day) = (number(0..4), number(5..7), number(8..10));
    (1..=days_of(year, month)).contains(&day)
        && number(11..13) < 24
        && number(14..16) < 60
        && number(17..19) < 60
}

/// The number of days of a month in the Gregorian calendar; 0 where there is no such month.
fn days_of(year: u32, month: u32) -> u32 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u32::from(leap),
        1..=12 => 31,
        _ => 0,
    }
}

/// One of the words of `words`, each with what it stands for.
pub(super) fn word<T: Copy>(value: &Value, words: &[(&str, T)]) -> Result<T, Fault> {
    let named = match value {
        Value::String(text) => words.iter().find(|(word, _)| word == text),
        _ => None,
    };
    named.map(|(_, meaning)| *meaning).ok_or_else(|| {
        let words: Vec<String> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
        format!("one of {}", words.join(", "))
    })
}

/// An array whose elements `read` reads.
pub(super) fn list<T>(value: &Value, read: impl Fn(&Value) -> Result<T, Fault>) -> Result<Vec<T>, Fault> {
    let Value::Array(values) = value else { return Err("an array".to_owned()) };
    values
        .iter()
        .map(read)
        .collect::<Result<_, _>>()
        .map_err(|expected| format!("an array whose elements are each {expected}"))
}

/// An object that holds a `T`.
pub(super) fn object<T: FromFields>(value: &Value) -> Result<T, Fault> {
    let Value::Object(fields) = value else { return Err("an object".to_owned()) };
    T::from_fields(fields).map_err(|fault| format!("right: {fault}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(text: &str) -> Value {
        Value::String(text.to_owned())
    }

    fn number(text: &str) -> Value {
        Value::Number(text.to_owned())
    }

    #[test]
    fn times_have_one_form() {
        for right in
            ["2026-11-21T05:36:00Z", "0000-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2024-02-29T00:00:00Z"]
        {
            assert!(time(&string(right)).is_ok(), "{right}");
        }
        for wrong in [
            "x",
            "",
            "2026-11-21T05:36:00",
            "2026-11-21t05:36:00z",
            "2026-11-21 05:36:00Z",
            "2026-11-21T05:36:00.0Z",
            "2026-11-21T05:36:00+00:00",
            "2026-11-21T05:36:60Z",
            "2026-11-21T24:00:00Z",
            "2026-11-21T05:60:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2100-02-29T00:00:00Z",
            "2026-04-31T00:00:00Z",
            "-001-01-01T00:00:00Z",
            "2026-1١-01T00:00:00Z",
        ] {
            assert!(time(&string(wrong)).is_err(), "{wrong}");
        }
        assert!(time(&number("2026")).is_err());
    }

    #[test]
    fn ids_and_digests_have_one_form() {
        assert!(id(&string("0123456789abcdef")).is_ok());
        for wrong in ["0123456789ABCDEF", "123456789abcdef", "00123456789abcdef", "0123456789abcdeg", ""] {
            assert!(id(&string(wrong)).is_err(), "{wrong}");
        }
        assert!(sha256(&string(&"0".repeat(64))).is_ok());
        assert!(sha256(&string(&"A".repeat(64))).is_err());
        assert!(sha256(&string(&"0".repeat(63))).is_err());
    }

    #[test]
    fn integers_have_digits_alone() {
        assert_eq!(integer(&number("18446744073709551615")), Ok(u64::MAX));
        for wrong in ["18446744073709551616", "-0", "-1", "1.0", "1e2", "0e0"] {
            assert!(integer(&number(wrong)).is_err(), "{wrong}");
        }
        assert!(integer(&string("1")).is_err());
        assert!(integer(&Value::Null).is_err());
        assert_eq!((level(&number("-1")), level(&number("0"))), (Ok(-1), Ok(0)));
        for wrong in ["-0", "2147483648", "1.0", "1e0"] {
            assert!(level(&number(wrong)).is_err(), "{wrong}");
        }
    }
}

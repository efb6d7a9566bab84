//! Reads JSON (RFC 8259) as strictly as etcd-seal-archive(5) says.
//!
//! Two readers of one document must see the same facts in it. So nothing is left to a library: a key that occurs twice is
//! refused, and so is anything nested deeper than [`DEPTH_MAX`]. A number stays the text that it is: numbers of any size
//! are read, and two are equal only if they are written alike.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::CharIndices;

/// The most levels of arrays and objects, the document itself included.
pub const DEPTH_MAX: usize = 100;

/// Why a text is no document.
pub type Fault = String;

/// A value of JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, as it is written.
    Number(String),
    /// A string, unescaped.
    String(String),
    /// An array.
    Array(Vec<Value>),
    /// An object.
    Object(Object),
}

/// An object: values by their unescaped keys.
pub type Object = BTreeMap<String, Value>;

/// Parses a document: an object that begins with the first byte. White space may follow it, and nothing else.
///
/// # Errors
/// The reason why it is none.
pub fn parse(document: &[u8]) -> Result<Object, Fault> {
    let text = std::str::from_utf8(document).map_err(|_| "it is not UTF-8")?;
    let mut parser = Parser { text, rest: text.char_indices().peekable(), depth: 0 };
    if !text.starts_with('{') {
        return Err("it does not begin with {".to_owned());
    }
    let object = parser.object()?;
    parser.white_space();
    match parser.rest.next() {
        None => Ok(object),
        Some(_) => Err("something follows the object".to_owned()),
    }
}

struct Parser<'a> {
    text: &'a str,
    rest: Peekable<CharIndices<'a>>,
    depth: usize,
}

impl Parser<'_> {
    fn value(&mut self) -> Result<Value, Fault> {
        self.white_space();
        match self.peek() {
            Some('{') => self.object().map(Value::Object),
            Some('[') => self.array().map(Value::Array),
            Some('"') => self.string().map(Value::String),
            Some('-' | '0'..='9') => self.number().map(Value::Number),
            _ => self.word(),
        }
    }

    fn object(&mut self) -> Result<Object, Fault> {
        self.enter()?;
        let mut object = Object::new();
        let mut more = !self.ends_at_once('}');
        while more {
            self.white_space();
            let key = self.string()?;
            self.white_space();
            self.expect(':')?;
            let value = self.value()?;
            if object.contains_key(&key) {
                return Err(format!("duplicate key {key:?}"));
            }
            object.insert(key, value);
            more = self.continues('}')?;
        }
        self.depth -= 1;
        Ok(object)
    }

    fn array(&mut self) -> Result<Vec<Value>, Fault> {
        self.enter()?;
        let mut array = Vec::new();
        let mut more = !self.ends_at_once(']');
        while more {
            array.push(self.value()?);
            more = self.continues(']')?;
        }
        self.depth -= 1;
        Ok(array)
    }

    /// Takes the bracket that opens an array or object.
    fn enter(&mut self) -> Result<(), Fault> {
        self.rest.next();
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(format!("it is nested more than {DEPTH_MAX} levels deep"));
        }
        Ok(())
    }

    /// Whether an array or object has no elements; takes the bracket that closes it.
    fn ends_at_once(&mut self, close: char) -> bool {
        self.white_space();
        self.rest.next_if(|(_, next)| *next == close).is_some()
    }

    /// Whether another element follows; takes the comma or the bracket.
    fn continues(&mut self, close: char) -> Result<bool, Fault> {
        self.white_space();
        match self.rest.next() {
            Some((_, ',')) => Ok(true),
            Some((_, found)) if found == close => Ok(false),
            found => Err(unexpected(found)),
        }
    }

    fn string(&mut self) -> Result<String, Fault> {
        self.expect('"')?;
        let mut string = String::new();
        loop {
            match self.rest.next() {
                Some((_, '"')) => return Ok(string),
                Some((_, '\\')) => string.push(self.escaped()?),
                Some((_, character)) if character >= ' ' => string.push(character),
                found => return Err(unexpected(found)),
            }
        }
    }

    /// The character that an escape stands for, behind the backslash.
    fn escaped(&mut self) -> Result<char, Fault> {
        let escape = self.rest.next();
        Ok(match escape {
            Some((_, character @ ('"' | '\\' | '/'))) => character,
            Some((_, 'b')) => '\u{8}',
            Some((_, 'f')) => '\u{c}',
            Some((_, 'n')) => '\n',
            Some((_, 'r')) => '\r',
            Some((_, 't')) => '\t',
            Some((_, 'u')) => {
                let first = self.code_unit()?;
                let units = match first {
                    0xD800..=0xDBFF => {
                        self.expect('\\')?;
                        self.expect('u')?;
                        vec![first, self.code_unit()?]
                    }
                    _ => vec![first],
                };
                let mut decoded = char::decode_utf16(units);
                match (decoded.next(), decoded.next()) {
                    (Some(Ok(character)), None) => character,
                    _ => return Err("a string has half of a surrogate pair".to_owned()),
                }
            }
            found => return Err(unexpected(found)),
        })
    }

    /// The four hexadecimal digits of an escape.
    fn code_unit(&mut self) -> Result<u16, Fault> {
        let mut unit = 0;
        for _ in 0..4 {
            let found = self.rest.next();
            let digit =
                found.and_then(|(_, digit)| digit.to_digit(16)).and_then(|digit| digit.try_into().ok());
            let digit: u16 = digit.ok_or_else(|| unexpected(found))?;
            unit = unit << 4 | digit;
        }
        Ok(unit)
    }

    fn number(&mut self) -> Result<String, Fault> {
        let begin = self.position();
        self.take('-');
        if !self.take('0') {
            self.digits()?;
        }
        if self.take('.') {
            self.digits()?;
        }
        if self.take('e') || self.take('E') {
            let _ = self.take('+') || self.take('-');
            self.digits()?;
        }
        Ok(self.text[begin..self.position()].to_owned())
    }

    /// One digit or more.
    fn digits(&mut self) -> Result<(), Fault> {
        let is_digit = |(_, next): &(usize, char)| next.is_ascii_digit();
        if self.rest.next_if(is_digit).is_none() {
            return Err(unexpected(self.rest.next()));
        }
        while self.rest.next_if(is_digit).is_some() {}
        Ok(())
    }

    fn word(&mut self) -> Result<Value, Fault> {
        let begin = self.position();
        while self.rest.next_if(|(_, next)| next.is_ascii_lowercase()).is_some() {}
        match &self.text[begin..self.position()] {
            "null" => Ok(Value::Null),
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            "" => Err(unexpected(self.rest.next())),
            word => Err(format!("{word:?} is no value")),
        }
    }

    fn white_space(&mut self) {
        while self.rest.next_if(|(_, next)| matches!(next, ' ' | '\t' | '\n' | '\r')).is_some() {}
    }

    fn take(&mut self, wanted: char) -> bool {
        self.rest.next_if(|(_, next)| *next == wanted).is_some()
    }

    fn expect(&mut self, wanted: char) -> Result<(), Fault> {
        match self.rest.next() {
            Some((_, found)) if found == wanted => Ok(()),
            found => Err(unexpected(found)),
        }
    }

    fn peek(&mut self) -> Option<char> {
        self.rest.peek().map(|(_, next)| *next)
    }

    fn position(&mut self) -> usize {
        self.rest.peek().map_or(self.text.len(), |(at, _)| *at)
    }
}

fn unexpected(found: Option<(usize, char)>) -> Fault {
    match found {
        Some((at, character)) => format!("unexpected {character:?} at byte {at}"),
        None => "it ends too early".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(json: &str) -> Result<Value, Fault> {
        parse(format!("{{\"x\":{json}}}").as_bytes()).map(|mut object| object.remove("x").unwrap())
    }

    #[test]
    fn every_kind_of_value_is_read() {
        assert_eq!(value("null"), Ok(Value::Null));
        assert_eq!(value(" true\t"), Ok(Value::Bool(true)));
        assert_eq!(value("false"), Ok(Value::Bool(false)));
        assert_eq!(value("[]"), Ok(Value::Array(vec![])));
        assert_eq!(value("[ {} , {} ]"), Ok(Value::Array(vec![Value::Object(Object::new()); 2])));
        for number in ["0", "-0", "18446744073709551616", "1.50", "-1e400", "0E+7", "2e-3"] {
            assert_eq!(value(number), Ok(Value::Number(number.to_owned())));
        }
        let string = value(r#""a\"\\\/\b\f\n\r\té€\u00e9\u0000\ud83d\uDE00""#);
        let expected = "a\"\\/\u{8}\u{c}\n\r\té€é\0😀";
        assert_eq!(string, Ok(Value::String(expected.to_owned())));
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for json in [
            "",
            "nul",
            "True",
            "nullx",
            "01",
            "-",
            "1.",
            ".5",
            "1e",
            "+1",
            "0x1",
            "NaN",
            "Infinity",
            "'a'",
            "\"",
            "\"\n\"",
            r#""\x""#,
            r#""\u12g4""#,
            r#""\u+123""#,
            "[1,]",
            "[1 2]",
            "[",
            "{\"a\"}",
            "{\"a\":1,}",
            "{a:1}",
            "1 2",
            "/**/1",
            "\u{a0}1",
        ] {
            assert!(value(json).is_err(), "{json}");
        }
        let no_documents: [&[u8]; 9] = [
            b"",
            b"[]",
            b"1",
            b" {}",
            b"\xef\xbb\xbf{}",
            b"{}{}",
            b"{}\0",
            b"{\"\xff\":1}",
            b"{\"x\":\"\xed\xa0\x80\"}",
        ];
        for document in no_documents {
            assert!(parse(document).is_err(), "{document:?}");
        }
        assert!(parse(b"{}").is_ok());
        assert!(parse(b"{ }\r\n\t ").is_ok());
    }

    #[test]
    fn half_of_a_surrogate_pair_is_refused() {
        for json in [r#""\ud800""#, r#""\udc00""#, r#""\ud800\ud800""#, r#""\ud800x""#, r#""\ud800\n""#] {
            assert!(value(json).is_err(), "{json}");
        }
    }

    #[test]
    fn a_key_is_the_same_however_it_is_escaped() {
        for json in [r#"{"a":1,"\u0061":2}"#, r#"{"/":1,"\/":1}"#, r#"{"":1,"":1}"#] {
            assert!(value(json).unwrap_err().contains("duplicate key"), "{json}");
        }
        // Two characters, though they look the same.
        assert!(value("{\"é\":1,\"e\u{301}\":2}").is_ok());
    }

    #[test]
    fn numbers_are_equal_only_if_they_are_written_alike() {
        assert_ne!(value("18446744073709551616"), value("18446744073709551617"));
        assert_ne!(value("1"), value("1.0"));
        assert_ne!(value("1e2"), value("100"));
        assert_eq!(value("{\"a\":1,\"b\":[2]}"), value("{ \"b\" : [ 2 ], \"\\u0061\": 1 }"));
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |levels: usize| value(&format!("{}{}", "[".repeat(levels), "]".repeat(levels)));
        assert!(nested(DEPTH_MAX - 1).is_ok());
        assert_eq!(nested(DEPTH_MAX).unwrap_err(), "it is nested more than 100 levels deep");
        assert!(value(&"[".repeat(30_000)).is_err());
        // Levels, not brackets.
        assert!(value(&format!("[{}]", vec!["[]"; 200].join(","))).is_ok());
    }
}

//! Reads secrets from files and pipes.

use std::io::{self, ErrorKind, Read};
use zeroize::Zeroizing;

/// Most secrets are shorter, so that the buffer need not grow.
const SECRET_SIZE: usize = 4096;

/// Reads a secret to its end, or to one byte more than `limit`. Wipes a buffer that it outgrows.
pub(crate) fn read_secret(mut source: impl Read, limit: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut text = Zeroizing::new(vec![0; SECRET_SIZE]);
    let mut length = 0;
    while length as u64 <= limit {
        if length == text.len() {
            let mut larger = Zeroizing::new(vec![0; 2 * length]);
            larger[..length].copy_from_slice(&text);
            text = larger;
        }
        match source.read(&mut text[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    text.truncate(length);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_any_size_are_read_whole_and_no_further_than_allowed() {
        for size in [0, 1, SECRET_SIZE - 1, SECRET_SIZE, SECRET_SIZE + 1, 5 * SECRET_SIZE] {
            let secret: Vec<u8> = (0..=250).cycle().take(size).collect();
            assert_eq!(*read_secret(&secret[..], 1 << 20).unwrap(), secret);
        }
        assert!(read_secret(io::repeat(7), 100).unwrap().len() > 100);
        assert!(read_secret(io::repeat(7), 10_000).unwrap().len() <= 4 * SECRET_SIZE);
    }
}

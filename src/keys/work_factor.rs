//! The cost of a passphrase: scrypt's work factor, the binary logarithm of its parameter N.
use crate::error::{Error, Kind};
use secrecy::SecretString;

/// Work factor of every passphrase archive that we write: 256 MiB of memory and about a second, like age's own command.
pub const WORK_FACTOR: u8 = 18;

/// Largest work factor that is accepted unless a flag raises it: 1 GiB of memory.
pub const DEFAULT_MAX_WORK_FACTOR: u8 = 20;

/// Largest work factor that a flag can allow: 1 TiB of memory. A header above it is damaged or forged.
pub const HIGHEST_WORK_FACTOR: u8 = 30;

/// A passphrase that opens scrypt stanzas up to `max_work_factor`.
pub(super) fn scrypt_identity(passphrase: SecretString, max_work_factor: u8) -> age::scrypt::Identity {
    let mut identity = age::scrypt::Identity::new(passphrase);
    identity.set_max_work_factor(max_work_factor.min(HIGHEST_WORK_FACTOR));
    identity
}

/// The error where `what` needs more work than allowed.
pub(super) fn excessive_work(what: &str, required: u8) -> Error {
    let error = Error::new(
        Kind::NoMatchingIdentity,
        format!("{what} needs scrypt work factor {required}, which is more than allowed"),
    );
    if required > HIGHEST_WORK_FACTOR {
        return error.with_hint("no machine can do that much work: the file is damaged or forged");
    }
    error.with_hint(format!(
        "if you trust where it comes from, pass `max_work_factor` {required}; that takes {} of memory",
        memory(required)
    ))
}

/// Memory of scrypt with r = 8, as age uses it: 128 × r × 2^N bytes.
fn memory(work_factor: u8) -> String {
    match work_factor {
        20.. => format!("{} GiB", 1_u64 << (work_factor - 20)),
        10.. => format!("{} MiB", 1_u64 << (work_factor - 10)),
        _ => "less than 1 MiB".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hint_names_the_flag_and_the_memory() {
        assert!(
            excessive_work("the archive", 22)
                .hint()
                .contains("`max_work_factor` 22; that takes 4 GiB of memory")
        );
        assert!(excessive_work("the archive", 18).hint().contains("256 MiB"));
        assert!(!excessive_work("the archive", 31).hint().contains("`max_work_factor`"));
    }
}

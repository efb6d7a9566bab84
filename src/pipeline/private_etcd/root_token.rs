//! A token by which a private etcd takes its client for the user root, without a password.
//!
//! Where authentication is on in the data, only root gets a snapshot, and its password is unknown. With `--auth-token=jwt` etcd
//! does not look up tokens: it believes one that is signed with the key in a file. Both the key and the token are of one run.

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// The user that always exists where authentication is on, and that cannot lose its rights.
const ROOT: &str = "root";
/// A time that no run reaches; etcd demands one. 2100-01-01.
const EXPIRY: u64 = 4_102_444_800;
/// Bytes of a block of SHA-256.
const BLOCK: usize = 64;
/// Bytes of a key.
const KEY_SIZE: usize = 32;

/// The key of one etcd.
pub(in crate::pipeline) struct RootToken {
    key: [u8; KEY_SIZE],
}

impl RootToken {
    /// A random key.
    pub(in crate::pipeline) fn new() -> Result<Self> {
        let mut key = [0; KEY_SIZE];
        getrandom::fill(&mut key).map_err(|error| {
            Error::io("read", "the system's random numbers", std::io::Error::other(error))
        })?;
        Ok(Self { key })
    }

    /// The content of the file with the key.
    pub(in crate::pipeline) fn key(&self) -> &[u8] {
        &self.key
    }

    /// The flag of an etcd that believes the token, where `file` is the path of the key.
    pub(in crate::pipeline) fn flag(file: &str) -> String {
        format!("--auth-token=jwt,priv-key={file},sign-method=HS256,ttl=1h")
    }

    /// The token: RFC 7515 and 7519.
    pub(in crate::pipeline) fn text(&self) -> String {
        let header = base64url(br#"{"alg":"HS256","typ":"JWT"}"#);
        // Only keys are checked against the revision, and no key is read.
        let claims = format!(r#"{{"username":"{ROOT}","revision":0,"exp":{EXPIRY}}}"#);
        let signed = format!("{header}.{}", base64url(claims.as_bytes()));
        let signature = base64url(&hmac_sha256(&self.key, signed.as_bytes()));
        format!("{signed}.{signature}")
    }
}

/// RFC 2104, for keys no longer than a block.
fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    let padded = |mask: u8| {
        let mut block = [mask; BLOCK];
        block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
        block
    };
    let inner = Sha256::new().chain_update(padded(0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(padded(0x5C)).chain_update(inner).finalize().into()
}

/// RFC 4648, section 5, without padding.
fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let mut bits = [0; 4];
        bits[1..=group.len()].copy_from_slice(group);
        let bits = u32::from_be_bytes(bits);
        // n bytes make n + 1 characters.
        for place in 0..=group.len() {
            let index = bits >> (18 - 6 * place) & 0x3F;
            text.push(char::from(ALPHABET[index as usize]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64url_is_that_of_the_rfc() {
        let cases = [
            ("", ""),
            ("f", "Zg"),
            ("fo", "Zm8"),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg"),
            ("fooba", "Zm9vYmE"),
            ("foobar", "Zm9vYmFy"),
        ];
        for (plain, encoded) in cases {
            assert_eq!(base64url(plain.as_bytes()), encoded);
        }
        assert_eq!(base64url(&[0xFB, 0xFF]), "-_8");
    }

    /// RFC 4231, test cases 1 and 2.
    #[test]
    fn hmac_is_that_of_the_rfc() {
        assert_eq!(
            hex::encode(hmac_sha256(&[0x0B; 20], b"Hi There")),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
        );
        assert_eq!(
            hex::encode(hmac_sha256(b"Jefe", b"what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn a_token_is_of_its_own_key() {
        let token = RootToken { key: [7; KEY_SIZE] }.text();
        assert_eq!(token.split('.').count(), 3);
        assert_ne!(token, RootToken { key: [8; KEY_SIZE] }.text());
    }
}

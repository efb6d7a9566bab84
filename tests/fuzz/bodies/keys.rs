//! The key of all targets: that of the test vectors, which is public.

use std::sync::Arc;

use etcd_seal::low_level::keys::{Identities, KeyFile, NoPrompt, SharedPrompt};
use secrecy::SecretString;
use zeroize::Zeroizing;

const KEY: &str = include_str!("../../vectors/key.txt");
const PASSPHRASE: &str = "correct horse battery staple";
/// 1 MiB and a few milliseconds: a mutation must not be able to ask for more.
const MAX_WORK_FACTOR: u8 = 10;

/// The identity.
pub(crate) fn identities() -> Identities {
    let prompt: SharedPrompt = Arc::new(NoPrompt);
    let file = KeyFile { name: "key.txt".to_owned(), text: Zeroizing::new(KEY.as_bytes().to_vec()) };
    Identities::parse(vec![file], &prompt, MAX_WORK_FACTOR).expect("the key is one")
}

/// The passphrase.
pub(crate) fn passphrase() -> Identities {
    Identities::passphrase(SecretString::from(PASSPHRASE), MAX_WORK_FACTOR)
}

/// Whichever may open an archive that begins so.
pub(crate) fn for_archive(archive: &[u8]) -> Identities {
    let begin = &archive[..archive.len().min(100)];
    if begin.windows(7).any(|window| window == b"scrypt ") { passphrase() } else { identities() }
}

/// The recipient.
pub(crate) fn recipient() -> age::x25519::Recipient {
    let line = KEY.lines().find(|line| line.starts_with("AGE-SECRET-KEY-1"));
    let identity = line.and_then(|line| line.parse::<age::x25519::Identity>().ok());
    identity.expect("the key is one").to_public()
}

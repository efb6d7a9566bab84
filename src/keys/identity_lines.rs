//! age identities, one per line.

use super::attempt::{Attempt, settle};
use super::plugin::PluginIdentities;
use super::{KeyFile, SharedPrompt};
use crate::error::{Error, Kind, Result};
use age::Identity as _;
use age_core::format::{FileKey, Stanza};

/// An identity that fills one line.
pub(super) enum LineIdentity {
    /// `AGE-SECRET-KEY-1…`
    X25519(age::x25519::Identity),
    /// `AGE-PLUGIN-NAME-1…`, all identities of one plugin together.
    Plugin(PluginIdentities),
}

impl Attempt for LineIdentity {
    fn may_ask(&self) -> bool {
        matches!(self, Self::Plugin(_))
    }

    fn unwrap(&self, stanzas: &[Stanza]) -> Result<Option<FileKey>> {
        match self {
            Self::X25519(identity) => settle(identity.unwrap_stanzas(stanzas)),
            Self::Plugin(identities) => identities.unwrap(stanzas),
        }
    }
}

/// Reads age identities, one per line. Skips empty lines and lines that begin with `#`.
pub(super) fn parse_lines(file: &KeyFile, prompt: &SharedPrompt) -> Result<Vec<LineIdentity>> {
    let mut identities = Vec::new();
    let mut of_plugins: Vec<age::plugin::Identity> = Vec::new();
    for (index, line) in file.content().split(|&byte| byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        let text = std::str::from_utf8(line).unwrap_or_default();
        if let Ok(identity) = text.parse::<age::x25519::Identity>() {
            identities.push(LineIdentity::X25519(identity));
        } else if let Ok(identity) = text.parse::<age::plugin::Identity>() {
            of_plugins.push(identity);
        } else {
            return Err(refuse_line(&file.name, index + 1, text));
        }
    }
    identities.extend(by_plugin(&of_plugins, &file.name, prompt));
    if identities.is_empty() {
        return Err(Error::new(
            Kind::Identity,
            format!("identity file {} holds only comments and no identity", file.name),
        ));
    }
    Ok(identities)
}

/// Groups identities by plugin, so that a plugin runs once for all its identities in a file.
fn by_plugin(identities: &[age::plugin::Identity], file: &str, prompt: &SharedPrompt) -> Vec<LineIdentity> {
    let mut names: Vec<&str> = Vec::new();
    for identity in identities {
        if !names.contains(&identity.plugin()) {
            names.push(identity.plugin());
        }
    }
    names
        .into_iter()
        .map(|name| LineIdentity::Plugin(PluginIdentities::new(name, identities, file, prompt)))
        .collect()
}

/// Says which line is wrong, and what it seems to be, without showing any of it.
fn refuse_line(file: &str, number: usize, text: &str) -> Error {
    let upper = zeroize::Zeroizing::new(text.to_ascii_uppercase());
    let is = |prefix: &str| upper.starts_with(prefix);
    let (what, hint) = if is("AGE1") || is("SSH-") || is("ECDSA-") || is("SK-") {
        (
            "a recipient, not an identity",
            "the identity is the other half: the file that keygen or ssh-keygen wrote",
        )
    } else if is("AGE-SECRET-KEY-PQ-") {
        (
            "a native post-quantum identity, which this program does not read",
            "convert a copy of the file with `age-plugin-pq -identity`, which comes with age 1.3",
        )
    } else if is("AGE-SECRET-KEY-") || is("AGE-PLUGIN-") {
        ("a damaged identity", "its checksum or length is wrong; use another copy of that file")
    } else if is("-----BEGIN ") {
        (
            "the beginning of a key in a format that age does not read",
            "ssh private keys are read as ssh-keygen writes them; convert a copy with `ssh-keygen -p -f FILE`",
        )
    } else {
        return Error::new(Kind::Identity, format!("identity file {file}: line {number} is not an identity"));
    };
    Error::new(Kind::Identity, format!("identity file {file}: line {number} is {what}")).with_hint(hint)
}

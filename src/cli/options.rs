//! Shows what the library says of its options as the flags and variables of this program.

use crate::error::{Error, Kind};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::OnceLock;

/// The names of options as the user knows them.
static NAMES: OnceLock<HashMap<String, String>> = OnceLock::new();

/// Shows each option by its name from now on; of two names of one option the last counts. A process runs one command, so
/// this is called once, before the first message.
pub(crate) fn show_as(names: impl Iterator<Item = (String, String)>) {
    let _ = NAMES.set(names.collect());
}

/// An option as the user knows it.
fn name_of(option: &str) -> Option<&'static String> {
    #[cfg(test)]
    show_as(super::command_line::flags());
    NAMES.get()?.get(option)
}

/// `text` of the library, with every option in backticks replaced by its flag, or by the variable that it came from.
#[must_use]
pub(crate) fn with_flags(text: &str) -> Cow<'_, str> {
    if !text.contains('`') {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('`') {
        shown.push_str(before);
        rest = after;
        // A file name may hold a single backtick, which must not pair with that of an option.
        match after.split_once('`').and_then(|(name, after)| Some((name_of(name)?, after))) {
            Some((flag, after)) => {
                shown.push_str(flag);
                rest = after;
            }
            None => shown.push('`'),
        }
    }
    shown.push_str(rest);
    Cow::Owned(shown)
}

/// The hint of `error` as this program gives it.
#[must_use]
pub(crate) fn hint(error: &Error) -> Cow<'_, str> {
    match (error.own_hint(), error.kind()) {
        (Some(hint), _) => with_flags(hint),
        (None, Kind::Usage) => "see etcd-seal --help for the flags of each command".into(),
        (None, Kind::NoRecipient) => {
            "make a key with `etcd-seal keygen -o key.txt`, keep that file away from this host, \
             and pass the age1… line it prints with -r"
                .into()
        }
        (None, Kind::NotAnArchive) => {
            "an archive of etcd-seal is an age file: name one; where other files lie beside archives, name their directory"
                .into()
        }
        (None, kind) => with_flags(kind.hint()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_become_flags_and_other_words_stay() {
        assert_eq!(with_flags("raise `stall_timeout`, or not"), "raise --stall-timeout, or not");
        assert_eq!(with_flags("pass `recipient` or `identity`"), "pass -r or -i");
        assert_eq!(with_flags("use `age -d` on `x`, `"), "use `age -d` on `x`, `");
        assert_eq!(with_flags("a`b: pass `force`"), "a`b: pass --force");
        assert_eq!(with_flags("nothing"), "nothing");
    }

    #[test]
    fn every_hint_of_a_kind_names_flags_that_exist() {
        for &kind in Kind::ALL {
            let error = Error::new(kind, "x");
            let hint = hint(&error);
            let mut options = hint.split('`').skip(1).step_by(2);
            assert!(options.all(|quoted| quoted.contains(' ')), "{hint}");
        }
    }
}

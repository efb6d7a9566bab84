//! Shows what the library says of its options as the flags and variables of this program.

use super::command_line;
use super::settings::setting::{flag_of, option_of};
use crate::error::{Error, Kind};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::OnceLock;

/// The variables that are shown in place of flags, by option.
static VARIABLES: OnceLock<HashMap<String, String>> = OnceLock::new();

/// Shows an option as its variable in place of its flag where its value came from that.
pub(crate) fn show_variables(from_environment: HashMap<String, String>) {
    // A process runs one command.
    let _ = VARIABLES.set(from_environment);
}

/// The flag of every option: the short one, if there is one.
fn flags() -> &'static HashMap<String, String> {
    static FLAGS: OnceLock<HashMap<String, String>> = OnceLock::new();
    FLAGS.get_or_init(|| {
        let command = command_line::command();
        let arguments = command.get_subcommands().flat_map(clap::Command::get_arguments);
        arguments
            .filter_map(|argument| {
                let short = argument.get_short().map(|short| format!("-{short}"));
                Some((option_of(argument)?, short.unwrap_or_else(|| flag_of(argument))))
            })
            .collect()
    })
}

/// An option as the user knows it.
fn name_of(option: &str) -> Option<&'static String> {
    VARIABLES.get().and_then(|variables| variables.get(option)).or_else(|| flags().get(option))
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
            "an archive of etcd-seal is an age file; for a plain snapshot use `etcd-seal save --from`".into()
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

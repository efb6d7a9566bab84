//! How a stream shows what stands out: colours, and a sign before a verdict.
//!
//! Only a terminal gets them, as with ripgrep and cargo. `NO_COLOR` and `CLICOLOR=0` take the colours away, `TERM=dumb` too;
//! `CLICOLOR_FORCE` asks for colours in a pipe as well. A terminal whose locale is not UTF-8 gets signs in ASCII.

use crate::cli::exit::Exit;
use crate::cli::settings::environment::{
    CLICOLOR, CLICOLOR_FORCE, Environment, LOCALES, NO_COLOR, TERMINAL_TYPE,
};
use clap::builder::StyledStr;
use std::ffi::OsStr;

/// The characters that a stream can show beside text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Signs {
    /// None: it is no terminal.
    #[default]
    None,
    /// Those of ASCII.
    Ascii,
    /// Those of Unicode.
    Unicode,
}

/// How one stream shows what stands out. The default shows plain text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Style {
    colour: bool,
    signs: Signs,
}

/// What begins a line on standard error after the name of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Label {
    Error,
    Warning,
    Hint,
    Cause,
    Debug,
}

/// Select graphic rendition, ECMA-48 (section 8.3.117).
const RESET: &str = "\u{1b}[0m";
const BOLD_RED: &str = "\u{1b}[1;31m";
const BOLD_YELLOW: &str = "\u{1b}[1;33m";
const BOLD_CYAN: &str = "\u{1b}[1;36m";
const GREEN: &str = "\u{1b}[32m";

impl Style {
    /// The style of a stream that is, or is not, a terminal.
    pub(crate) fn of(is_terminal: bool, environment: &Environment) -> Self {
        let signs = match is_terminal {
            false => Signs::None,
            true if is_utf8(environment) => Signs::Unicode,
            true => Signs::Ascii,
        };
        Self { colour: has_colour(is_terminal, environment), signs }
    }

    /// The characters for a progress bar.
    pub(crate) fn signs(self) -> Signs {
        self.signs
    }

    /// The beginning of a line with this label.
    pub(crate) fn label(self, label: Label) -> String {
        let (word, colour) = match label {
            Label::Error => ("error:", BOLD_RED),
            Label::Warning => ("warning:", BOLD_YELLOW),
            Label::Hint => ("hint:", BOLD_CYAN),
            Label::Cause => ("cause:", ""),
            Label::Debug => ("debug:", ""),
        };
        format!("etcd-seal: {} ", self.painted(word, colour))
    }

    /// The sign before a result: a tick where all that was asked for is proved.
    pub(crate) fn sign(self, exit: Exit) -> String {
        let (unicode, ascii, colour) = match exit {
            Exit::Done => ("✓", "[ok]", GREEN),
            _ => ("!", "[!]", BOLD_YELLOW),
        };
        match self.signs {
            Signs::None => String::new(),
            Signs::Ascii => format!("{} ", self.painted(ascii, colour)),
            Signs::Unicode => format!("{} ", self.painted(unicode, colour)),
        }
    }

    /// Help as clap styles it, or plain.
    pub(crate) fn help(self, text: &StyledStr) -> String {
        if self.colour { text.ansi().to_string() } else { text.to_string() }
    }

    fn painted(self, text: &str, colour: &str) -> String {
        if self.colour && !colour.is_empty() { format!("{colour}{text}{RESET}") } else { text.to_owned() }
    }
}

/// The order in which the variables count is that of clap and cargo.
fn has_colour(is_terminal: bool, environment: &Environment) -> bool {
    let is = |name, value: &str| environment.get(name).is_some_and(|is| is == value);
    if environment.has(NO_COLOR) {
        false
    } else if environment.has(CLICOLOR_FORCE) && !is(CLICOLOR_FORCE, "0") {
        true
    } else {
        is_terminal && !is(CLICOLOR, "0") && !is_dumb(environment)
    }
}

/// Whether the terminal cannot move its cursor, so that it gets neither colours nor a bar. One without a name is taken for such
/// a terminal, too.
pub(crate) fn is_dumb(environment: &Environment) -> bool {
    environment.get(TERMINAL_TYPE).is_none_or(|name| name == "dumb")
}

/// Whether the locale is of UTF-8, as `setlocale(3)` reads it: the first of the variables that is set counts.
fn is_utf8(environment: &Environment) -> bool {
    let locale = LOCALES.iter().find_map(|name| environment.get(name));
    let locale = locale.and_then(OsStr::to_str).unwrap_or_default().to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn style(is_terminal: bool, variables: &[(&str, &str)]) -> Style {
        let of_terminal = [("TERM", "xterm"), ("LANG", "C.UTF-8")];
        // A later value replaces an earlier one, also with an empty text.
        let all: BTreeMap<_, _> = of_terminal.into_iter().chain(variables.iter().copied()).collect();
        let all: Vec<_> = all.into_iter().collect();
        Style::of(is_terminal, &Environment::of(&all))
    }

    #[test]
    fn only_a_terminal_gets_colours_and_signs() {
        assert_eq!(style(true, &[]), Style { colour: true, signs: Signs::Unicode });
        assert_eq!(style(false, &[]), Style::default());
        let forced = style(false, &[("CLICOLOR_FORCE", "1")]);
        assert_eq!(forced, Style { colour: true, signs: Signs::None });
        assert_eq!(style(false, &[("CLICOLOR_FORCE", "0")]), Style::default());
    }

    #[test]
    fn variables_take_colours_away_and_leave_the_signs() {
        for variables in [
            &[("NO_COLOR", "1")][..],
            &[("NO_COLOR", "0"), ("CLICOLOR_FORCE", "1")],
            &[("CLICOLOR", "0")],
            &[("TERM", "dumb")],
            &[("TERM", "")],
        ] {
            let expected = Style { colour: false, signs: Signs::Unicode };
            assert_eq!(style(true, variables), expected, "{variables:?}");
        }
        // https://no-color.org: an empty variable does not count.
        assert!(style(true, &[("NO_COLOR", "")]).colour);
    }

    #[test]
    fn signs_are_ascii_where_the_locale_is_not_utf8() {
        for (variables, signs) in [
            (&[("LANG", "C")][..], Signs::Ascii),
            (&[("LANG", "")], Signs::Ascii),
            (&[("LC_ALL", "POSIX")], Signs::Ascii),
            (&[("LC_CTYPE", "en_US.ISO-8859-1")], Signs::Ascii),
            (&[("LC_ALL", "de_DE.utf8"), ("LANG", "C")], Signs::Unicode),
            (&[("LC_ALL", ""), ("LC_CTYPE", "C.UTF-8"), ("LANG", "C")], Signs::Unicode),
        ] {
            assert_eq!(style(true, variables).signs, signs, "{variables:?}");
        }
    }

    #[test]
    fn labels_and_signs_are_painted_or_plain() {
        let colourful = Style { colour: true, signs: Signs::Unicode };
        let ascii = Style { colour: false, signs: Signs::Ascii };
        assert_eq!(colourful.label(Label::Error), "etcd-seal: \u{1b}[1;31merror:\u{1b}[0m ");
        assert_eq!(ascii.label(Label::Warning), "etcd-seal: warning: ");
        assert_eq!(colourful.label(Label::Debug), "etcd-seal: debug: ");
        assert_eq!(colourful.sign(Exit::Done), "\u{1b}[32m✓\u{1b}[0m ");
        assert_eq!((ascii.sign(Exit::Done), ascii.sign(Exit::Partly)), ("[ok] ".into(), "[!] ".into()));
        assert_eq!(Style::default().sign(Exit::Done), "");
    }
}

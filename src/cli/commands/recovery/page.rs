//! Renders a manual page as plain text, for a terminal on a host without the installed pages.
//!
//! It supports only the requests (`man(7)`) that our pages use; a test renders every page.

/// Columns that text is filled to.
const WIDTH: usize = 79;
/// Columns of indentation below a heading, and again below the term of a list.
const INDENT: usize = 4;

/// Renders a page as text.
///
/// # Errors
/// The line that cannot be rendered: it has an unknown request or escape.
pub(crate) fn render(page: &str) -> Result<String, String> {
    let mut text = Text::default();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let unknown = || format!("cannot show {line:?}");
        let Some(request) = line.strip_prefix(['.', '\'']) else {
            text.words(&plain(line).ok_or_else(unknown)?);
            continue;
        };
        let (name, rest) = request.split_once(' ').unwrap_or((request, ""));
        let arguments = || arguments(rest).ok_or_else(unknown);
        match name {
            // What concerns roff alone: comments, registers, hyphenation.
            "" | "\\\"" | "nr" | "nh" => {}
            "TH" => text.title(&arguments()?),
            "SH" => text.heading(&arguments()?.join(" "), 0),
            "SS" => text.heading(&arguments()?.join(" "), INDENT / 2),
            "PP" => text.paragraph(),
            "TP" => {
                let term = lines.next().unwrap_or_default();
                text.term(&styled_or_plain(term).ok_or_else(unknown)?);
            }
            "IP" => text.term(arguments()?.first().map_or("", String::as_str)),
            "EX" => {
                text.example();
                for line in lines.by_ref().take_while(|line| *line != ".EE") {
                    text.verbatim(&plain(line).ok_or_else(unknown)?);
                }
            }
            "B" | "I" => text.words(&arguments()?.join(" ")),
            "BR" | "BI" | "IR" | "RB" | "RI" => text.words(&arguments()?.concat()),
            _ => return Err(unknown()),
        }
    }
    Ok(text.finish())
}

/// The term of a list, which may have its own font.
fn styled_or_plain(line: &str) -> Option<String> {
    let Some(request) = line.strip_prefix('.') else { return plain(line) };
    let (name, rest) = request.split_once(' ')?;
    let words = arguments(rest)?;
    match name {
        "B" | "I" => Some(words.join(" ")),
        "BR" | "BI" | "IR" | "RB" | "RI" => Some(words.concat()),
        _ => None,
    }
}

/// The arguments of a request: words, or text between quotes.
fn arguments(text: &str) -> Option<Vec<String>> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (argument, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => word(rest),
        };
        found.push(plain(argument)?);
        rest = after.trim_start();
    }
    Some(found)
}

/// Splits off the first word; an escaped space is part of the word.
fn word(text: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = text.find(|character| {
        let ends = character == ' ' && !escaped;
        escaped = character == '\\' && !escaped;
        ends
    });
    text.split_at(end.unwrap_or(text.len()))
}

/// Replaces the escapes of `groff_char(7)` in `text`; `None` for an unknown one.
fn plain(text: &str) -> Option<String> {
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        plain.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let (shown, length) = escape(rest)?;
        plain.push_str(shown);
        rest = &rest[length..];
    }
    plain.push_str(rest);
    Some(plain)
}

/// The text of an escape, and its length after the backslash.
fn escape(rest: &str) -> Option<(&'static str, usize)> {
    const ESCAPES: &[(&str, &str)] = &[
        ("(aq", "'"),
        ("(dq", "\""),
        ("(bu", "\u{2022}"),
        ("(lq", "\u{201c}"),
        ("(rq", "\u{201d}"),
        ("(el", "..."),
        ("(em", "\u{2014}"),
        ("(ti", "~"),
        ("(ha", "^"),
        ("(ga", "`"),
        ("fB", ""),
        ("fI", ""),
        ("fR", ""),
        ("fP", ""),
        ("&", ""),
        ("-", "-"),
        ("e", "\\"),
        (" ", " "),
        ("~", " "),
    ];
    let (escape, shown) = ESCAPES.iter().find(|(escape, _)| rest.starts_with(escape))?;
    Some((shown, escape.len()))
}

/// The text rendered so far.
#[derive(Default)]
struct Text {
    done: String,
    /// Words that are not filled into lines yet.
    words: String,
    /// The term before the paragraph, on its first line if there is room.
    term: Option<String>,
    /// Indentation of the paragraph.
    indent: usize,
    /// Whether a heading is the last line.
    is_below_heading: bool,
}

impl Text {
    fn words(&mut self, words: &str) {
        if !self.words.is_empty() {
            self.words.push(' ');
        }
        self.words.push_str(words.trim());
    }

    fn title(&mut self, arguments: &[String]) {
        if let [name, section, ..] = arguments {
            self.line(0, &format!("{name}({section})"));
        }
    }

    fn heading(&mut self, heading: &str, indent: usize) {
        self.paragraph();
        self.blank_line();
        self.line(indent, heading);
        self.is_below_heading = true;
    }

    /// Begins a paragraph.
    fn paragraph(&mut self) {
        self.fill();
        self.indent = INDENT;
    }

    /// Begins a paragraph after a term; without a term it continues the list.
    fn term(&mut self, term: &str) {
        self.fill();
        self.term = Some(term.to_owned()).filter(|term| !term.is_empty());
        self.indent = 2 * INDENT;
    }

    /// Begins verbatim lines in the same paragraph.
    fn example(&mut self) {
        self.fill();
        self.blank_line();
    }

    fn verbatim(&mut self, line: &str) {
        self.line(self.indent + INDENT, line);
    }

    /// Fills the words of the paragraph into lines.
    fn fill(&mut self) {
        let (words, term) = (std::mem::take(&mut self.words), self.term.take());
        if words.is_empty() && term.is_none() {
            return;
        }
        self.blank_line();
        let margin = " ".repeat(self.indent);
        let mut line = match term {
            // A short term, such as a bullet.
            Some(term) if term.chars().count() < INDENT => format!("{:INDENT$}{term:<INDENT$}", ""),
            Some(term) => {
                self.line(INDENT, &term);
                margin.clone()
            }
            None => margin.clone(),
        };
        let mut begins = true;
        for word in words.split_whitespace() {
            if !begins && line.chars().count() + 1 + word.chars().count() > WIDTH {
                self.line(0, &line);
                line.clone_from(&margin);
                begins = true;
            }
            if !begins {
                line.push(' ');
            }
            line.push_str(word);
            begins = false;
        }
        self.line(0, &line);
    }

    /// Adds one blank line, unless there is one already, or no text yet.
    fn blank_line(&mut self) {
        let is_below_heading = std::mem::take(&mut self.is_below_heading);
        if !is_below_heading && !self.done.is_empty() && !self.done.ends_with("\n\n") {
            self.done.push('\n');
        }
    }

    fn line(&mut self, indent: usize, line: &str) {
        if !line.trim().is_empty() {
            self.done.push_str(&" ".repeat(indent));
            self.done.push_str(line.trim_end());
        }
        self.done.push('\n');
    }

    fn finish(mut self) -> String {
        self.fill();
        self.done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_that_the_program_prints_can_be_shown() {
        let text = render(include_str!("../../../../man/etcd-seal-recovery.7")).unwrap();
        assert_eq!(text.lines().filter(|line| *line == "DESCRIPTION").count(), 1, "{text}");
        assert!(!text.contains("\\-") && !text.contains("\\("), "{text}");
    }

    #[test]
    fn blocks_stay_as_they_are_and_text_is_filled() {
        let page = "\
.TH ETCD-SEAL-X 7 2026-01-01 \"etcd-seal\" \"X\"
.SH \"ONE TWO\"
Some
.BR \"words here\" ,
and \\(lqmore\\(rq.
.PP
.\\\" a comment
.EX
umask 077 \\-p \\(aqx  y\\(aq
  again \\e
.EE
.TP
.B TERM
is a long story that goes on and on, until it no longer fits into one line of the text and a second
.IP \\(bu 2
.I First:
one
";
        let expected = "\
ETCD-SEAL-X(7)

ONE TWO
    Some words here, and \u{201c}more\u{201d}.

        umask 077 -p 'x  y'
          again \\

    TERM
        is a long story that goes on and on, until it no longer fits into one
        line of the text and a second

    \u{2022}   First: one
";
        assert_eq!(render(page).unwrap(), expected);
        assert!(render(".XX new").unwrap_err().contains(".XX"));
        assert!(render("a \\[new]").is_err());
    }
}

//! The terminal: lines on standard error, questions on /dev/tty, and text that cannot play tricks on either.

use super::input::read_secret;
use super::repeats::Repeats;
use crate::error::{Error, Kind, Result};
use crate::keys::Prompt;
use crate::store::source;
use indicatif::ProgressBar;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use secrecy::SecretString;
use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tracing::callsite::Identifier;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;
use zeroize::{Zeroize, Zeroizing};

/// The controlling terminal, whatever the standard streams are.
const TTY: &str = "/dev/tty";
/// A passphrase file longer than this is not one.
const PASSPHRASE_FILE_MAXIMUM: u64 = 64 * 1024;

/// Standard error, shared by log lines, progress bar, errors and results.
#[derive(Clone, Default)]
pub(crate) struct Console(Arc<Mutex<Shared>>);

#[derive(Default)]
struct Shared {
    /// The bar on the last line, which has to step aside for other lines.
    bar: Option<ProgressBar>,
    /// How the terminal was before a question without echo.
    before_question: Option<Termios>,
    /// The warnings shown so far; their kind is the place in the code that warns.
    repeats: Repeats<Identifier>,
}

impl Console {
    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows `bar`, or none, on the last line.
    pub(crate) fn set_bar(&self, bar: Option<ProgressBar>) {
        self.shared().bar = bar;
    }

    /// Writes whole lines. Standard error is where failures to write would be reported: its own are lost.
    pub(crate) fn write(&self, lines: &str) {
        let bar = self.shared().bar.clone();
        let lines = without_private_keys(lines);
        let write = || {
            let _ = io::stderr().lock().write_all(lines.as_bytes());
        };
        match bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    /// Tells how many warnings were not shown since the last time, because there were too many of their kind.
    pub(crate) fn tell_left_out_warnings(&self) {
        let lines = self.shared().repeats.take_left_out();
        if !lines.is_empty() {
            self.write(&lines);
        }
    }

    /// Gives the terminal its echo back and takes the bar away, for a process about to exit.
    pub(crate) fn restore(&self) {
        let (bar, before) = {
            let mut shared = self.shared();
            (shared.bar.take(), shared.before_question.take())
        };
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
        if let Some(before) = before
            && let Ok(tty) = File::open(TTY)
        {
            let _ = tcsetattr(&tty, OptionalActions::Now, &before);
            // The cursor still stands behind the question.
            self.write("\n");
        }
    }
}

/// One formatted log event.
pub(crate) struct ConsoleWriter(Console);

impl Write for ConsoleWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Nothing at all is what a line comes to that was only counted.
        if !bytes.is_empty() {
            self.0.write(&String::from_utf8_lossy(bytes));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Console {
    type Writer = ConsoleWriter;

    fn make_writer(&'a self) -> Self::Writer {
        ConsoleWriter(self.clone())
    }
}

/// How much the log says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verbosity {
    /// `-q`.
    Quiet,
    /// Neither.
    Normal,
    /// `-v`.
    Verbose,
}

/// Installs the log of the process, on `console`.
pub(crate) fn install_log(console: &Console, verbosity: Verbosity) {
    use tracing_subscriber::filter::{LevelFilter, Targets};
    use tracing_subscriber::layer::{Layer, SubscriberExt};
    use tracing_subscriber::util::SubscriberInitExt;
    let (ours, others) = match verbosity {
        Verbosity::Quiet => (LevelFilter::WARN, LevelFilter::OFF),
        Verbosity::Normal => (LevelFilter::INFO, LevelFilter::OFF),
        Verbosity::Verbose => (LevelFilter::DEBUG, LevelFilter::INFO),
    };
    let filter = Targets::new().with_target("etcd_seal", ours).with_default(others);
    let lines =
        tracing_subscriber::fmt::layer().event_format(Lines(console.clone())).with_writer(console.clone());
    // Only a log that is there already can be in the way, and then it is used.
    let _ = tracing_subscriber::registry().with(lines.with_filter(filter)).try_init();
}

/// `etcd-seal: warning: …`: no time, which cron and the journal add, and lower case. Too many warnings of one kind are counted
/// on this console instead.
struct Lines(Console);

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let level = match *event.metadata().level() {
            Level::ERROR => "error: ",
            Level::WARN => "warning: ",
            Level::INFO => "",
            Level::DEBUG | Level::TRACE => "debug: ",
        };
        let mut text = String::new();
        context.field_format().format_fields(Writer::new(&mut text), event)?;
        let text = sanitize(&text);
        let metadata = event.metadata();
        if *metadata.level() == Level::WARN && !self.0.shared().repeats.shows(metadata.callsite(), &text) {
            return Ok(());
        }
        writeln!(writer, "etcd-seal: {level}{text}")
    }
}

/// `text` with everything escaped that could move the cursor, colour, ring, reorder or hide: control characters,
/// bidirectional controls and invisible ones. For text out of archives, from servers, plugins and file names.
#[must_use]
pub(crate) fn sanitize(text: &str) -> Cow<'_, str> {
    if !text.contains(is_tricky) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_tricky(character) {
            clean.extend(character.escape_default());
        } else {
            clean.push(character);
        }
    }
    Cow::Owned(clean)
}

/// `text` between double quotes, [sanitized](sanitize), so that it can pass for nothing but a name.
#[must_use]
pub(crate) fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", sanitize(&escaped))
}

/// Control characters (C0, DEL, C1) and the Unicode ones that reorder, break lines or show nothing.
pub(super) fn is_tricky(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{e0000}'..='\u{e007f}')
}

/// How private keys of age begin, in upper case, and how many characters behind the `-1` that ends their first part tell
/// one from the name of a program, such as age-plugin-1password.
const PRIVATE_KEYS: [(&str, usize); 2] = [("AGE-SECRET-KEY-", 1), ("AGE-PLUGIN-", 16)];

/// `text` with the secret part of every private key of age, or of a plugin, cut out. People pass the key where its file
/// belongs, and a message that names the "file" would put the key into a log.
#[must_use]
pub(crate) fn without_private_keys(text: &str) -> Cow<'_, str> {
    // Upper case of ASCII alone: every position stays what it is.
    let upper = Zeroizing::new(text.to_ascii_uppercase());
    let mut clean = String::new();
    let mut at = 0;
    while let Some(found) = upper[at..].find("AGE-") {
        let begin = at + found;
        let rest = &upper[begin..];
        let end = rest.find(|character: char| !character.is_ascii_alphanumeric() && character != '-');
        let word = &rest[..end.unwrap_or(rest.len())];
        let end = begin + word.len();
        if let Some(shown) = shown_of_private_key(word) {
            clean.push_str(&text[at..begin + shown]);
            clean.push('…');
        } else {
            clean.push_str(&text[at..end]);
        }
        at = end;
    }
    if clean.is_empty() {
        return Cow::Borrowed(text);
    }
    clean.push_str(&text[at..]);
    Cow::Owned(clean)
}

/// How much of `word` is no secret where it is a private key.
fn shown_of_private_key(word: &str) -> Option<usize> {
    let (begin, least) = PRIVATE_KEYS.iter().find(|(begin, _)| word.starts_with(begin))?;
    // The dash may be the last of the beginning.
    let shown = begin.len() - 1 + word[begin.len() - 1..].find("-1")? + "-1".len();
    (word.len() - shown >= *least).then_some(shown)
}

/// Whether standard output is a terminal, where no archive and no snapshot belongs.
#[must_use]
pub(crate) fn stdout_is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// The device number of `/dev/null` on Linux, see `Documentation/admin-guide/devices.txt` of the kernel.
const NULL_DEVICE: (u32, u32) = (1, 3);

/// Whether the program was started with standard output closed. Before `main` the standard library opens `/dev/null`
/// for reading and writing in its place, so that no file takes its number; a shell's `>/dev/null` is opened for
/// writing alone.
#[must_use]
pub(crate) fn stdout_is_closed() -> bool {
    use rustix::fs::{FileType, OFlags, fcntl_getfl, fstat, major, minor};
    let stdout = io::stdout();
    let null = fstat(&stdout).is_ok_and(|stat| {
        FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
            && (major(stat.st_rdev), minor(stat.st_rdev)) == NULL_DEVICE
    });
    null && fcntl_getfl(&stdout).is_ok_and(|flags| flags & OFlags::ACCMODE == OFlags::RDWR)
}

/// Whether standard error is a terminal.
#[must_use]
pub(crate) fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// The person at the terminal, or the passphrase file that stands for one.
pub(crate) struct Terminal {
    console: Console,
    passphrase_file: Option<PathBuf>,
}

impl Terminal {
    /// Asks on /dev/tty; passphrases come from `passphrase_file` where there is one.
    #[must_use]
    pub(crate) fn new(console: Console, passphrase_file: Option<PathBuf>) -> Self {
        Self { console, passphrase_file }
    }

    /// A passphrase to encrypt with: asked for twice, since a slip would lock everybody out.
    ///
    /// # Errors
    /// [`Kind::NoTerminal`]; [`Kind::Usage`] when the two differ or are empty.
    pub(crate) fn new_passphrase(&self) -> Result<SecretString> {
        use secrecy::ExposeSecret;
        if let Some(path) = &self.passphrase_file {
            return passphrase_from(path);
        }
        let first = self.ask_secret("passphrase for the archive")?;
        let second = self.ask_secret("the same again")?;
        if first.expose_secret() != second.expose_secret() {
            return Err(Error::new(Kind::Usage, "the two passphrases differ").with_hint("run it again"));
        }
        Ok(first)
    }

    /// The password of an etcd user, always from the terminal.
    ///
    /// # Errors
    /// [`Kind::NoTerminal`].
    pub(crate) fn password(&self, user: &str) -> Result<SecretString> {
        self.ask_secret(&format!("password of etcd user {user}")).map_err(|error| {
            if error.kind() == Kind::NoTerminal {
                error.with_hint("put the password in ETCDCTL_PASSWORD, or use a client certificate")
            } else {
                error
            }
        })
    }

    fn ask_secret(&self, question: &str) -> Result<SecretString> {
        let tty = open_tty(question)?;
        self.console.shared().before_question = tcgetattr(&tty).ok();
        let mut answer = rpassword::prompt_password(format!("{}: ", sanitize(question)));
        self.console.shared().before_question = None;
        match &mut answer {
            Ok(text) => {
                let secret = SecretString::from(text.as_str());
                let empty = text.is_empty();
                text.zeroize();
                if empty { Err(nothing_entered(question)) } else { Ok(secret) }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                Err(Error::new(Kind::Interrupted, "interrupted"))
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(nothing_entered(question)),
            Err(error) => {
                Err(Error::new(Kind::NoTerminal, format!("cannot ask for the {question}: {error}")))
            }
        }
    }

    /// Asks on the terminal with echo; `None` when nobody can be asked.
    fn ask_public(question: &str) -> Option<String> {
        let mut tty = open_tty(question).ok()?;
        write!(tty, "{}: ", sanitize(question)).and_then(|()| tty.flush()).ok()?;
        let mut answer = String::new();
        BufReader::new(tty).read_line(&mut answer).ok()?;
        Some(answer.trim_end_matches(['\r', '\n']).to_owned())
    }
}

impl Prompt for Terminal {
    fn message(&self, text: &str) {
        self.console.write(&format!("etcd-seal: {}\n", sanitize(text)));
    }

    fn confirm(&self, text: &str, yes: &str, no: Option<&str>) -> Option<bool> {
        let choice = no.map_or_else(|| format!("[{yes}]"), |no| format!("[{yes}/{no}]"));
        loop {
            let answer = Self::ask_public(&format!("{text} {choice}"))?.to_lowercase();
            match no {
                _ if answer == yes.to_lowercase() || answer == "y" => return Some(true),
                None => return Some(true),
                Some(no) if answer == no.to_lowercase() || answer == "n" => return Some(false),
                Some(_) if answer.is_empty() => return None,
                Some(_) => {}
            }
        }
    }

    fn public(&self, text: &str) -> Option<String> {
        Self::ask_public(text)
    }

    fn secret(&self, text: &str) -> Result<SecretString> {
        match &self.passphrase_file {
            Some(path) => passphrase_from(path),
            None => self.ask_secret(text),
        }
    }

    fn plugin_secret(&self, text: &str) -> Result<SecretString> {
        self.ask_secret(text)
    }
}

fn open_tty(question: &str) -> Result<File> {
    File::options().read(true).write(true).open(TTY).map_err(|error| {
        Error::new(Kind::NoTerminal, format!("cannot ask for the {question}: there is no terminal"))
            .with_source(error)
    })
}

fn nothing_entered(question: &str) -> Error {
    Error::new(Kind::Usage, format!("nothing was entered as {question}")).with_hint("run it again")
}

/// The whole file less one final newline.
fn passphrase_from(path: &Path) -> Result<SecretString> {
    let named = format!("the passphrase file {}", path.display());
    let unusable = |wrong: &str| {
        Error::new(Kind::Usage, format!("{named} {wrong}"))
            .with_hint("it holds the passphrase alone, as UTF-8, with or without a final newline")
    };
    let read = source::open(path).and_then(|file| read_secret(file, PASSPHRASE_FILE_MAXIMUM));
    let bytes = read.map_err(|error| {
        Error::new(Kind::Usage, format!("cannot read {named}: {error}"))
            .with_hint("check ETCD_SEAL_PASSPHRASE_FILE and the permissions of the file")
    })?;
    if bytes.len() as u64 > PASSPHRASE_FILE_MAXIMUM {
        return Err(unusable("is longer than 64 KiB"));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| unusable("is not UTF-8"))?;
    let passphrase = text.strip_suffix('\n').unwrap_or(text);
    if passphrase.is_empty() { Err(unusable("is empty")) } else { Ok(passphrase.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    #[test]
    fn a_quoted_name_ends_where_its_quotes_do() {
        assert_eq!(quoted("prod"), "\"prod\"");
        assert_eq!(quoted("a\", b\\\u{1b}"), r#""a\", b\\\u{1b}""#);
    }

    #[test]
    fn ordinary_text_stays() {
        for text in ["prod", "größe, 集群", "a b-c_d", "🦭"] {
            assert!(matches!(sanitize(text), Cow::Borrowed(same) if same == text));
        }
    }

    #[test]
    fn tricks_are_escaped() {
        assert_eq!(sanitize("a\x1b[2Jb"), "a\\u{1b}[2Jb");
        assert_eq!(sanitize("a\nb\tc\r"), "a\\nb\\tc\\r");
        assert_eq!(sanitize("\u{202e}gpj.exe"), "\\u{202e}gpj.exe");
        assert_eq!(sanitize("\u{2066}x\u{2069}\u{9b}31m\u{7f}"), "\\u{2066}x\\u{2069}\\u{9b}31m\\u{7f}");
    }

    fn passphrase_of(content: &[u8]) -> Result<String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("passphrase");
        std::fs::write(&path, content).unwrap();
        passphrase_from(&path).map(|secret| secret.expose_secret().to_owned())
    }

    #[test]
    fn a_passphrase_file_loses_one_final_newline() {
        assert_eq!(passphrase_of(b"correct horse").unwrap(), "correct horse");
        assert_eq!(passphrase_of(b"correct horse\n").unwrap(), "correct horse");
        assert_eq!(passphrase_of(b" two\nlines\n\n").unwrap(), " two\nlines\n");
        for unusable in [&b""[..], b"\n", b"\xff\n"] {
            assert_eq!(passphrase_of(unusable).unwrap_err().kind(), Kind::Usage);
        }
        assert_eq!(passphrase_of(&vec![b'a'; 65_537]).unwrap_err().kind(), Kind::Usage);
    }

    #[test]
    fn private_keys_are_cut_out_of_whatever_is_said() {
        assert_eq!(without_private_keys("no key: é"), "no key: é");
        assert_eq!(
            without_private_keys(
                "é 'age-secret-key-1QQ9' AGE-SECRET-KEY-1ABC: no such file, AGE-SECRET-KEY-1… lines"
            ),
            "é 'age-secret-key-1…' AGE-SECRET-KEY-1…: no such file, AGE-SECRET-KEY-1… lines"
        );
        assert_eq!(
            without_private_keys(
                "AGE-SECRET-KEY-PQ-1QQ9;xAGE-PLUGIN-YUBIKEY-1QQPZRY9X8GF2TVDW0S3JN54KHCE/key"
            ),
            "AGE-SECRET-KEY-PQ-1…;xAGE-PLUGIN-YUBIKEY-1…/key"
        );
        for no_key in
            ["install age-plugin-1password", "age-keygen", "AGE-SECRET-KEY-1", "AGE-", "age-plugin-pq"]
        {
            assert_eq!(without_private_keys(no_key), no_key);
        }
    }

    #[test]
    fn a_missing_passphrase_file_is_named() {
        let error = passphrase_from(Path::new("/nowhere/passphrase")).unwrap_err();
        assert_eq!(error.kind(), Kind::Usage);
        assert!(
            error.to_string().starts_with("cannot read the passphrase file /nowhere/passphrase: "),
            "{error}"
        );
    }
}

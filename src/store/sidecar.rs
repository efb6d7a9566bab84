//! The `.sha256` file beside an archive: one line, as `sha256sum` prints it and `sha256sum -c` reads it.
//!
//! It detects damage without a key. It proves nothing against an attacker who can rewrite both files.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::shell::shell_word;
use crate::error::{Error, Kind, Result};

/// The suffix that a sidecar adds to the name of its archive.
const SUFFIX: &str = ".sha256";

/// The most bytes read of a sidecar: a digest and the longest path of Linux (4096 bytes), every byte of it escaped.
const SIZE_LIMIT: u64 = 64 + 3 + 2 * 4096 + 2;

/// Hexadecimal digits of a SHA-256.
const DIGEST_LENGTH: usize = 64;

/// One line in `sha256sum -c` form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sidecar {
    /// SHA-256 of the archive.
    pub sha256: [u8; 32],
    /// The file name in the line.
    pub name: OsString,
}

/// Whether a sidecar with the right digest also has the right name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agreement {
    /// Digest and name are those of the archive.
    Full,
    /// The digest is right, but the name is another: `sha256sum -c` would not find the file.
    OtherName,
}

impl Sidecar {
    /// The path of the sidecar of `archive`: `.sha256` appended.
    #[must_use]
    pub fn path_of(archive: &Path) -> PathBuf {
        PathBuf::from(Self::name_of(archive.as_os_str()))
    }

    /// The file name of the sidecar of an archive called `name`.
    #[must_use]
    pub fn name_of(name: &OsStr) -> OsString {
        let mut sidecar = name.to_owned();
        sidecar.push(SUFFIX);
        sidecar
    }

    /// The line with its newline. As in `sha256sum`, a name with a backslash or a line break is escaped, and a backslash
    /// before the digest says so.
    #[must_use]
    pub fn to_line(&self) -> Vec<u8> {
        let name = self.name.as_bytes();
        let mut line = Vec::with_capacity(DIGEST_LENGTH + 3 + name.len());
        if name.iter().any(|byte| b"\\\n\r".contains(byte)) {
            line.push(b'\\');
        }
        line.extend_from_slice(hex::encode(self.sha256).as_bytes());
        line.extend_from_slice(b"  ");
        for byte in name {
            match byte {
                b'\\' => line.extend_from_slice(b"\\\\"),
                b'\n' => line.extend_from_slice(b"\\n"),
                b'\r' => line.extend_from_slice(b"\\r"),
                other => line.push(*other),
            }
        }
        line.push(b'\n');
        line
    }

    /// Parses what [`Self::to_line`] and `sha256sum` in text (` `) and binary (`*`) mode write: exactly one line, its line
    /// ending optional. Returns `None` for everything else, including BSD style lines and other digests.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let line = text.strip_suffix(b"\n").map_or(text, |line| line.strip_suffix(b"\r").unwrap_or(line));
        let (escaped, line) = line.strip_prefix(b"\\").map_or((false, line), |line| (true, line));
        let (digest, rest) = line.split_at_checked(DIGEST_LENGTH)?;
        let name = rest.strip_prefix(b"  ").or_else(|| rest.strip_prefix(b" *"))?;
        if name.is_empty() || name.iter().any(|byte| b"\n\0".contains(byte)) {
            return None;
        }
        let mut sha256 = [0; 32];
        hex::decode_to_slice(digest, &mut sha256).ok()?;
        let name = if escaped { unescape(name)? } else { name.to_vec() };
        Some(Self { sha256, name: OsString::from_vec(name) })
    }

    /// Reads the sidecar beside `archive`; `None` where there is none.
    ///
    /// # Errors
    /// [`Kind::SidecarMalformed`] where the file is not a sidecar, [`Kind::Io`] where it cannot be read.
    pub fn read_beside(archive: &Path) -> Result<Option<Self>> {
        let path = Self::path_of(archive);
        let Some(text) = read_bounded(&path)? else { return Ok(None) };
        match Self::parse(&text) {
            Some(sidecar) => Ok(Some(sidecar)),
            None => Err(malformed(&path, "not one line of sha256sum")),
        }
    }

    /// Compares it with the archive it lies beside, whose bytes have the digest `sha256`. The name only affects the
    /// [`Agreement`], because files may be renamed.
    ///
    /// # Errors
    /// [`Kind::SidecarMismatch`] where the digests differ.
    pub fn compare(&self, archive: &Path, sha256: &[u8; 32]) -> Result<Agreement> {
        if self.sha256 != *sha256 {
            let (found, expected) = (hex::encode(sha256), hex::encode(self.sha256));
            let message = format!("its SHA-256 is {found}, but its sidecar says {expected}");
            return Err(Error::new(Kind::SidecarMismatch, message).about(archive));
        }
        let same = archive.file_name() == Some(self.name.as_os_str());
        Ok(if same { Agreement::Full } else { Agreement::OtherName })
    }
}

/// The shell command that rewrites the sidecar of `archive` under the archive's current name.
#[must_use]
pub fn mending_command(archive: &Path) -> String {
    let directory = match archive.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => {
            format!("cd -- {} && ", shell_word(parent.as_os_str()))
        }
        _ => String::new(),
    };
    let name = archive.file_name().unwrap_or(archive.as_os_str());
    format!("{directory}sha256sum -- {} > {}", shell_word(name), shell_word(Sidecar::name_of(name)))
}

fn unescape(name: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::with_capacity(name.len());
    let mut bytes = name.iter();
    while let Some(&byte) = bytes.next() {
        plain.push(match byte {
            b'\\' => match bytes.next()? {
                b'\\' => b'\\',
                b'n' => b'\n',
                b'r' => b'\r',
                _ => return None,
            },
            other => other,
        });
    }
    Some(plain)
}

/// Reads a small regular file. It opens nothing else: a named pipe would block, and opening a device may have effects.
fn read_bounded(path: &Path) -> Result<Option<Vec<u8>>> {
    if std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return Err(malformed(path, "not a regular file"));
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        // No sidecar can have a name too long for the filesystem.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG) => return Ok(None),
        Err(Errno::NXIO) => return Err(malformed(path, "not a regular file")),
        Err(error) => return Err(Error::io("open", path.display(), error.into())),
    };
    let failed = |error| Error::io("read", path.display(), error);
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(malformed(path, "not a regular file"));
    }
    let mut text = Vec::new();
    file.take(SIZE_LIMIT + 1).read_to_end(&mut text).map_err(failed)?;
    if u64::try_from(text.len()).is_ok_and(|length| length > SIZE_LIMIT) {
        return Err(malformed(path, "too long for one line of sha256sum"));
    }
    Ok(Some(text))
}

fn malformed(path: &Path, reason: &str) -> Error {
    Error::new(Kind::SidecarMalformed, format!("{} is no sidecar: {reason}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::process::Command;

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn sidecar(name: &[u8]) -> Sidecar {
        let mut sha256 = [0; 32];
        hex::decode_to_slice(EMPTY, &mut sha256).unwrap();
        Sidecar { sha256, name: OsStr::from_bytes(name).to_owned() }
    }

    /// Names that need escaping or quoting, or are not UTF-8.
    const NAMES: [&[u8]; 9] = [
        b"prod.db.zst.age",
        b" leading and trailing ",
        b"*star",
        b"-c",
        b"back\\slash",
        b"line\nbreak",
        b"carriage\rreturn\r",
        b"\\",
        b"not \xff UTF-8",
    ];

    #[test]
    fn sha256sum_accepts_what_is_written() {
        for name in NAMES {
            let directory = tempfile::tempdir().unwrap();
            std::fs::write(directory.path().join(OsStr::from_bytes(name)), b"").unwrap();
            std::fs::write(directory.path().join("sums"), sidecar(name).to_line()).unwrap();
            let judge = Command::new("sha256sum")
                .args(["--check", "--strict", "sums"])
                .current_dir(directory.path())
                .output()
                .unwrap();
            assert!(judge.status.success(), "{name:?}: {judge:?}");
        }
    }

    #[test]
    fn what_sha256sum_writes_is_read() {
        for name in NAMES {
            for mode in ["--text", "--binary"] {
                let directory = tempfile::tempdir().unwrap();
                std::fs::write(directory.path().join(OsStr::from_bytes(name)), b"").unwrap();
                let writer = Command::new("sha256sum")
                    .args([mode, "--"])
                    .arg(OsStr::from_bytes(name))
                    .current_dir(directory.path())
                    .output()
                    .unwrap();
                assert_eq!(Sidecar::parse(&writer.stdout), Some(sidecar(name)), "{mode} {name:?}");
            }
        }
    }

    #[test]
    fn a_missing_line_end_and_upper_case_are_fine() {
        for text in
            [format!("{EMPTY}  x"), format!("{EMPTY}  x\r\n"), format!("{}  x\n", EMPTY.to_uppercase())]
        {
            assert_eq!(Sidecar::parse(text.as_bytes()), Some(sidecar(b"x")), "{text:?}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let refused = [
            String::new(),
            "\n".to_owned(),
            EMPTY.to_owned(),
            format!("{EMPTY}\n"),
            format!("{EMPTY}  \n"),
            format!("{EMPTY} x\n"),
            format!("{EMPTY}\tx\n"),
            format!(" {EMPTY}  x\n"),
            format!("{EMPTY}  x\n\n"),
            format!("{EMPTY}  x\n{EMPTY}  y\n"),
            format!("{EMPTY}  x\0\n"),
            format!("{}  x\n", &EMPTY[1..]),
            format!("{EMPTY}0  x\n"),
            format!("g{}  x\n", &EMPTY[1..]),
            format!("\\{EMPTY}  x\\\n"),
            format!("\\{EMPTY}  \\x\n"),
            format!("SHA256 (x) = {EMPTY}\n"),
        ];
        for text in refused {
            assert_eq!(Sidecar::parse(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn reading_is_bounded_and_never_waits() {
        let directory = tempfile::tempdir().unwrap();
        let archive = directory.path().join("x.age");
        let path = Sidecar::path_of(&archive);
        assert_eq!(path, directory.path().join("x.age.sha256"));
        assert_eq!(Sidecar::read_beside(&archive).unwrap(), None);

        std::fs::write(&path, sidecar(b"x.age").to_line()).unwrap();
        assert_eq!(Sidecar::read_beside(&archive).unwrap(), Some(sidecar(b"x.age")));

        let malformed = || Sidecar::read_beside(&archive).unwrap_err();
        File::create(&path).unwrap().set_len(5 << 30).unwrap();
        assert_eq!(malformed().kind(), Kind::SidecarMalformed);
        assert!(malformed().to_string().contains("too long"), "{}", malformed());
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert_eq!(malformed().kind(), Kind::SidecarMalformed);
        std::fs::remove_dir(&path).unwrap();
        let fifo = Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(fifo.success());
        assert_eq!(malformed().kind(), Kind::SidecarMalformed);
        assert!(malformed().to_string().contains("x.age.sha256"), "{}", malformed());
    }

    #[test]
    fn the_longest_names_are_read_or_impossible() {
        let directory = tempfile::tempdir().unwrap();
        let longest = directory.path().join("x".repeat(255));
        assert_eq!(Sidecar::read_beside(&longest).unwrap(), None);
        let line = sidecar(&[b'\n'; 4096]).to_line();
        let archive = directory.path().join("x.age");
        std::fs::write(Sidecar::path_of(&archive), line).unwrap();
        assert_eq!(Sidecar::read_beside(&archive).unwrap(), Some(sidecar(&[b'\n'; 4096])));
    }

    #[test]
    fn digests_decide_and_names_only_warn() {
        let sidecar = sidecar(b"x.age");
        let sha256 = sidecar.sha256;
        assert_eq!(sidecar.compare(Path::new("/a/x.age"), &sha256).unwrap(), Agreement::Full);
        assert_eq!(sidecar.compare(Path::new("/a/y.age"), &sha256).unwrap(), Agreement::OtherName);
        let error = sidecar.compare(Path::new("/a/x.age"), &[0; 32]).unwrap_err();
        assert_eq!(error.kind(), Kind::SidecarMismatch);
        assert!(error.to_string().contains(EMPTY) && error.to_string().contains("/a/x.age"), "{error}");
    }

    #[test]
    fn the_mending_command_mends() {
        for name in ["x.age", "it's $HOME.age", "-n.age"] {
            let directory = tempfile::tempdir().unwrap();
            let archive = directory.path().join(name);
            std::fs::write(&archive, b"").unwrap();
            let shell = Command::new("sh").arg("-c").arg(mending_command(&archive)).status().unwrap();
            assert!(shell.success());
            assert_eq!(Sidecar::read_beside(&archive).unwrap(), Some(sidecar(name.as_bytes())));
        }
        assert_eq!(mending_command(Path::new("x.age")), "sha256sum -- x.age > x.age.sha256");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(sha256: [u8; 32], name in prop::collection::vec(1..=255_u8, 1..300)) {
            let sidecar = Sidecar { sha256, name: OsString::from_vec(name) };
            let line = sidecar.to_line();
            prop_assert_eq!(line.iter().position(|byte| *byte == b'\n'), Some(line.len() - 1));
            prop_assert_eq!(Sidecar::parse(&line), Some(sidecar));
        }

        #[test]
        fn nothing_makes_parsing_panic(text: Vec<u8>, name in "\\PC*") {
            let _ = Sidecar::parse(&text);
            let _ = Sidecar::parse(format!("\\{EMPTY} *{name}").as_bytes());
        }
    }
}

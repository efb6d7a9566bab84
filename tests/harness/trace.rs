//! What a command really did, by strace: every buffer it handed to the kernel, every file it opened.

use super::program::{Outcome, Program};
use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// Every system call that can carry bytes out of a process, makes memory others see, or names files.
const CALLS: &str = "trace=write,pwrite64,writev,pwritev,pwritev2,sendto,sendmsg,sendmmsg,splice,tee,vmsplice,sendfile,\
    copy_file_range,process_vm_writev,mmap,memfd_create,shmget,connect,open,openat,openat2,creat,rename,renameat,renameat2,\
    link,linkat,symlink,symlinkat,mkdir,mkdirat,mknod,mknodat,truncate,chmod,fchmod,fchmodat,chown,fchown,fchownat,lchown,unlink,unlinkat,io_uring_setup,io_submit";

/// The calls that carry bytes out.
const WRITES: &[&str] = &[
    "write",
    "pwrite64",
    "writev",
    "pwritev",
    "pwritev2",
    "sendto",
    "sendmsg",
    "sendmmsg",
    "vmsplice",
    "process_vm_writev",
];

/// The calls that move bytes or share memory without showing them to strace: a program that keeps secrets must not use them.
const INVISIBLE: &[&str] = &[
    "splice",
    "tee",
    "sendfile",
    "copy_file_range",
    "memfd_create",
    "shmget",
    "io_uring_setup",
    "io_submit",
    "vmsplice",
];

/// One system call.
#[derive(Debug)]
pub struct Call {
    /// When, as strace wrote it: it sorts as text.
    time: String,
    /// Its name.
    pub name: String,
    /// Its arguments and result, as strace wrote them.
    pub text: String,
    /// Every string among the arguments.
    pub strings: Vec<Vec<u8>>,
}

impl Call {
    /// Whether it succeeded.
    pub fn succeeded(&self) -> bool {
        self.text.rsplit_once(" = ").is_some_and(|(_, result)| !result.starts_with('-'))
    }

    /// A string argument as a path.
    pub fn path(&self, number: usize) -> PathBuf {
        PathBuf::from(OsString::from_vec(self.strings[number].clone()))
    }

    /// Whether it opened a file for writing.
    pub fn opens_to_write(&self) -> bool {
        let opens = ["open", "openat", "openat2", "creat"].contains(&self.name.as_str());
        opens && ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TMPFILE"].iter().any(|flag| self.text.contains(flag))
    }
}

/// Runs a program under strace; returns how it ended and what it did, in order, children and threads included.
pub fn traced(program: Program) -> (Outcome, Vec<Call>) {
    let logs = tempfile::tempdir().unwrap();
    // A log for each thread: then no call is torn apart by another's.
    let strace = ["strace", "-ff", "-ttt", "-xx", "-s", "16777216", "-e", CALLS, "-e", "signal=none", "-o"];
    let log = logs.path().join("log");
    let ended =
        program.behind(strace.map(OsStr::new).into_iter().chain([log.as_os_str(), OsStr::new("--")])).run();
    let mut calls = Vec::new();
    for log in std::fs::read_dir(logs.path()).unwrap() {
        let log = std::fs::read_to_string(log.unwrap().path()).unwrap();
        calls.extend(log.lines().filter_map(call));
    }
    calls.sort_by(|one, other| one.time.cmp(&other.time));
    assert!(!calls.is_empty(), "strace saw nothing: {}", ended.stderr);
    (ended, calls)
}

/// `1700000000.000001 write(3, "\x41", 1) = 1`
fn call(line: &str) -> Option<Call> {
    let (time, rest) = line.split_once(' ')?;
    let (name, text) = rest.split_once('(')?;
    let strings = text.split('"').skip(1).step_by(2).map(unescaped).collect();
    Some(Call { time: time.to_owned(), name: name.to_owned(), text: text.to_owned(), strings })
}

/// With `-xx` every byte is `\xHH`.
fn unescaped(text: &str) -> Vec<u8> {
    text.split("\\x").skip(1).map(|digits| u8::from_str_radix(digits, 16).unwrap()).collect()
}

/// Secrets that only the test knows, and how to find them.
pub struct Markers {
    /// By their first eight bytes, the rest of what must follow.
    needles: HashMap<[u8; 8], Vec<u8>>,
}

impl Markers {
    /// Cuts `secret`, which must be random, into markers of 32 bytes, and looks for each half of each of them, as it is
    /// and in hexadecimal: half a marker is found where a write ends in the middle of one.
    pub fn of(secret: &[u8]) -> Self {
        let mut needles = HashMap::new();
        for half in secret.chunks_exact(16) {
            let hexadecimal = hex::encode(half);
            for needle in [half, hexadecimal.as_bytes(), hexadecimal.to_uppercase().as_bytes()] {
                needles.insert(needle[..8].try_into().unwrap(), needle[8..].to_vec());
            }
        }
        Self { needles }
    }

    /// How many are in `bytes`.
    pub fn count(&self, bytes: &[u8]) -> usize {
        let at = |&(at, window): &(usize, &[u8])| {
            let first: [u8; 8] = window.try_into().unwrap();
            self.needles.get(&first).is_some_and(|rest| bytes[at + 8..].starts_with(rest))
        };
        bytes.windows(8).enumerate().filter(at).count()
    }

    /// How many left the process.
    pub fn leaked(&self, calls: &[Call]) -> usize {
        let strings = calls.iter().flat_map(|call| &call.strings);
        strings.map(|bytes| self.count(bytes)).sum()
    }
}

/// Fails the test if bytes may have left a process unseen.
pub fn assert_nothing_is_invisible(calls: &[Call]) {
    for call in calls {
        assert!(!INVISIBLE.contains(&call.name.as_str()), "{call:?}");
        let shared =
            call.name == "mmap" && call.text.contains("MAP_SHARED") && call.text.contains("PROT_WRITE");
        assert!(!shared, "{call:?}");
        let cut = WRITES.contains(&call.name.as_str()) && call.text.contains("\"...");
        assert!(!cut, "strace cut a buffer short");
    }
}

/// Every file some call opened for writing, created or named.
pub fn written_paths(calls: &[Call]) -> HashSet<PathBuf> {
    let mut paths = HashSet::new();
    for call in calls.iter().filter(|call| call.succeeded()) {
        let renames = ["rename", "link", "symlink", "mk"].iter().any(|verb| call.name.starts_with(verb));
        if call.opens_to_write() || renames {
            paths.extend((0..call.strings.len()).map(|number| call.path(number)));
        }
    }
    paths
}

//! A terminal, and a user at it who answers questions.

use super::process::PATIENCE;
use super::program::{Drain, Program};
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A program that runs on a terminal: its standard input and error and /dev/tty, but not its standard output.
pub struct Dialogue {
    child: Child,
    stdout: Drain,
    terminal: File,
    shown: Receiver<String>,
    screen: String,
    /// What of the screen was read already.
    read: usize,
}

impl Dialogue {
    /// Begins.
    pub fn begin(program: &Program) -> Self {
        let (terminal, user_side) = open();
        let mut command = program.command(&["--ctty"]);
        command.stdin(user_side.try_clone().unwrap()).stderr(user_side).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // The command holds the terminal's other side, whose end is only seen when no process does.
        drop(command);
        let shown = show(terminal.try_clone().unwrap());
        let stdout: ChildStdout = child.stdout.take().unwrap();
        Self { child, stdout: Drain::new(stdout), terminal, shown, screen: String::new(), read: 0 }
    }

    /// Waits for the question, and for the echo to be off, and answers it. The answer must not show.
    pub fn answer(&mut self, question: &str, answer: &str) {
        let begun = Instant::now();
        let found = loop {
            if let Some(found) = self.screen[self.read..].find(question) {
                break found;
            }
            let left = PATIENCE.saturating_sub(begun.elapsed());
            match self.shown.recv_timeout(left) {
                Ok(more) => self.screen.push_str(&more),
                Err(error) => panic!("no {question:?} ({error}) in:\n{}", self.screen),
            }
        };
        self.read += found + question.len();
        while tcgetattr(&self.terminal).unwrap().local_modes.contains(LocalModes::ECHO) {
            assert!(begun.elapsed() < PATIENCE, "echo stays on at {question:?}");
            sleep(Duration::from_millis(1));
        }
        self.terminal.write_all(format!("{answer}\n").as_bytes()).unwrap();
    }

    /// Waits for the end: the exit code, standard output, and all that was on the screen.
    pub fn end(mut self) -> (i32, Vec<u8>, String) {
        if !self.stdout.ends_in_time() {
            self.child.kill().unwrap();
        }
        let status = self.child.wait().unwrap();
        while let Ok(more) = self.shown.recv_timeout(PATIENCE) {
            self.screen.push_str(&more);
        }
        let code = status.code().unwrap_or_else(|| panic!("{status}:\n{}", self.screen));
        let modes = tcgetattr(&self.terminal).unwrap().local_modes;
        assert!(modes.contains(LocalModes::ECHO), "no echo after:\n{}", self.screen);
        (code, self.stdout.all(), self.screen)
    }
}

/// Runs a program whose standard streams are all a terminal of so many columns: the exit code, and all that was on the screen.
pub fn run(program: &Program, columns: u16) -> (i32, String) {
    let (terminal, user_side) = open_with(columns);
    let shown = show(terminal);
    let mut command = program.command(&["--ctty"]);
    command.stdin(user_side.try_clone().unwrap()).stdout(user_side.try_clone().unwrap()).stderr(user_side);
    let mut child = command.spawn().unwrap();
    // The command holds the terminal's other side, whose end is only seen when no process does.
    drop(command);
    let mut screen = String::new();
    loop {
        match shown.recv_timeout(PATIENCE) {
            Ok(more) => screen.push_str(&more),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                child.kill().unwrap();
                panic!("no end of:\n{screen}");
            }
        }
    }
    let status = child.wait().unwrap();
    (status.code().unwrap_or_else(|| panic!("{status}:\n{screen}")), screen)
}

/// A new terminal of 80 columns: the user's side, and that of the programs.
pub fn open() -> (File, File) {
    open_with(80)
}

fn open_with(columns: u16) -> (File, File) {
    let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&controller).unwrap();
    unlockpt(&controller).unwrap();
    let name = std::ffi::OsString::from_vec(ptsname(&controller, Vec::new()).unwrap().into_bytes());
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let user_side = rustix::fs::open(PathBuf::from(name), flags, Mode::empty()).unwrap();
    tcsetwinsize(&user_side, Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    (File::from(controller), File::from(user_side))
}

/// Sends on what appears on the terminal, until no process holds its other side.
pub fn show(mut terminal: File) -> Receiver<String> {
    let (send, shown) = channel();
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        loop {
            match terminal.read(&mut bytes) {
                Ok(length) if length > 0 => {
                    let _ = send.send(String::from_utf8_lossy(&bytes[..length]).into_owned());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // The end of a terminal is an error (EIO).
                _ => return,
            }
        }
    });
    shown
}

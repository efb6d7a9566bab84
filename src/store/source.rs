//! Input files that the operator named: regular files, devices and pipes.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use rustix::fs::{FileType, Mode, OFlags, fcntl_getfl, fcntl_setfl};

/// How long to wait for the writer of a named pipe. The operator usually starts the writer just before or after.
const PATIENCE: Duration = Duration::from_secs(5);

/// Opens `path` for reading. It waits for nothing but the writer of a named pipe, a few seconds at most. Later reads may
/// block, as on standard input.
///
/// # Errors
/// The error of the system, and [`io::ErrorKind::TimedOut`] for a pipe without a writer.
pub fn open(path: &Path) -> io::Result<File> {
    if FileType::from_raw_mode(rustix::fs::stat(path)?.st_mode) == FileType::Fifo {
        return open_pipe(path);
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty())?;
    fcntl_setfl(&file, fcntl_getfl(&file)? - OFlags::NONBLOCK)?;
    Ok(File::from(file))
}

/// Only a blocking open reports that there is a writer. It gets its own thread, which is left behind if no writer comes.
fn open_pipe(path: &Path) -> io::Result<File> {
    tracing::debug!("waiting until a program opens {} for writing", path.display());
    let (done, opened) = mpsc::channel();
    let pipe = path.to_owned();
    // The receiver may be gone.
    std::thread::Builder::new().spawn(move || drop(done.send(File::open(pipe))))?;
    opened.recv_timeout(PATIENCE).unwrap_or_else(|_| {
        let message = format!(
            "it is a named pipe, and no program has opened it for writing within {} s",
            PATIENCE.as_secs()
        );
        Err(io::Error::new(io::ErrorKind::TimedOut, message))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::process::Command;
    use std::time::Instant;

    #[test]
    fn a_pipe_waits_for_its_writer_but_not_for_ever() {
        let place = tempfile::tempdir().unwrap();
        let pipe = place.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let writer = pipe.clone();
        let writing = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(200));
            std::fs::write(writer, "late").unwrap();
        });
        let mut text = String::new();
        open(&pipe).unwrap().read_to_string(&mut text).unwrap();
        writing.join().unwrap();
        assert_eq!(text, "late");
        let began = Instant::now();
        assert_eq!(open(&pipe).unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(began.elapsed() < 3 * PATIENCE);
    }

    #[test]
    fn what_is_opened_reads_as_ever() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("file");
        std::fs::write(&path, "content").unwrap();
        let mut file = open(&path).unwrap();
        assert!(!fcntl_getfl(&file).unwrap().contains(OFlags::NONBLOCK));
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "content");
        assert_eq!(open(&place.path().join("missing")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}

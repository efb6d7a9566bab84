//! How many of several archives were as they should be.

use super::text::units::count;
use crate::cli::exit::Exit;

/// Counts the ends of one command with several archives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tally {
    /// The worst exit code.
    pub(crate) worst: Exit,
    passed: u64,
    partly: u64,
    failed: u64,
}

impl Default for Tally {
    fn default() -> Self {
        Self { worst: Exit::Done, passed: 0, partly: 0, failed: 0 }
    }
}

impl Tally {
    /// Adds the end of one archive.
    pub(crate) fn add(&mut self, exit: Exit) {
        match exit {
            Exit::Done => self.passed += 1,
            Exit::Partly => self.partly += 1,
            _ => self.failed += 1,
        }
        self.worst = self.worst.worse(exit);
    }

    /// `3 archives: 1 passed, 2 failed`; `None` for a single one, whose result says it all.
    pub(super) fn text(self) -> Option<String> {
        let all = self.passed + self.partly + self.failed;
        let parts = [(self.passed, "passed"), (self.partly, "not fully proved"), (self.failed, "failed")];
        let parts = parts.into_iter().filter(|(number, _)| *number > 0);
        let parts: Vec<String> = parts.map(|(number, what)| format!("{number} {what}")).collect();
        (all > 1).then(|| format!("{}: {}", count(all, "archive"), parts.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_archives_are_counted_and_one_is_not() {
        let mut tally = Tally::default();
        assert_eq!((tally.text(), tally.worst), (None, Exit::Done));
        tally.add(Exit::Done);
        assert_eq!(tally.text(), None);
        tally.add(Exit::Done);
        assert_eq!(tally.text().unwrap(), "2 archives: 2 passed");
        for exit in [Exit::Damaged, Exit::NotFound, Exit::Partly] {
            tally.add(exit);
        }
        assert_eq!(tally.text().unwrap(), "5 archives: 2 passed, 1 not fully proved, 2 failed");
        assert_eq!(tally.worst, Exit::Damaged);
    }
}

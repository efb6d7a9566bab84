//! Warnings of one kind are shown a few times, and then counted: a database or a server can be wrong 200,000 times in the
//! same way.

use std::fmt::Write as _;

/// So many of one kind are shown.
const SHOWN: u64 = 10;

/// What was warned of so far, by kind.
pub(super) struct Repeats<K>(Vec<Repeat<K>>);

struct Repeat<K> {
    kind: K,
    first: String,
    shown: u64,
    left_out: u64,
}

impl<K> Default for Repeats<K> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: PartialEq> Repeats<K> {
    /// Takes note of one more warning; false where it is one too many of its kind to be shown.
    pub(super) fn shows(&mut self, kind: K, text: &str) -> bool {
        let known = self.0.iter_mut().find(|known| known.kind == kind);
        let Some(known) = known else {
            self.0.push(Repeat { kind, first: text.to_owned(), shown: 1, left_out: 0 });
            return true;
        };
        if known.shown < SHOWN {
            known.shown += 1;
            return true;
        }
        known.left_out += 1;
        false
    }

    /// How many were left out since the last time, a line for each kind.
    pub(super) fn take_left_out(&mut self) -> String {
        let mut lines = String::new();
        for kind in self.0.iter_mut().filter(|kind| kind.left_out > 0) {
            let left_out = std::mem::take(&mut kind.left_out);
            let _ = writeln!(lines, "etcd-seal: warning: … and {left_out} more like it: {}", kind.first);
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_of_each_kind_are_shown_and_the_others_counted() {
        let mut repeats = Repeats::default();
        let shown = (0..200_000).filter(|number| repeats.shows('a', &format!("alarm {number}"))).count();
        assert_eq!(shown, 10);
        assert!(repeats.shows('b', "another"));
        let left_out = "etcd-seal: warning: … and 199990 more like it: alarm 0\n";
        assert_eq!((repeats.take_left_out().as_str(), repeats.take_left_out().as_str()), (left_out, ""));
        assert!(!repeats.shows('a', "later"), "the kind has been shown often enough");
        assert_eq!(repeats.take_left_out(), "etcd-seal: warning: … and 1 more like it: alarm 0\n");
    }
}

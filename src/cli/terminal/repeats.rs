//! Shows the first few warnings of one kind and counts the others: a database or a server can be wrong 200,000 times in the
//! same way.

use std::fmt::Write as _;

/// Warnings of one kind that are shown.
const SHOWN: u64 = 10;

/// The warnings so far, by kind.
pub(crate) struct Repeats<K>(Vec<Repeat<K>>);

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
    /// Records a warning; false if too many of its kind were shown already.
    pub(crate) fn shows(&mut self, kind: K, text: &str) -> bool {
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

    /// The number of warnings left out since the last call, one line per kind, each after `label`.
    pub(crate) fn take_left_out(&mut self, label: &str) -> String {
        let mut lines = String::new();
        for kind in self.0.iter_mut().filter(|kind| kind.left_out > 0) {
            let left_out = std::mem::take(&mut kind.left_out);
            let _ = writeln!(lines, "{label}… and {left_out} more like it: {}", kind.first);
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
        let left_out = "warning: … and 199990 more like it: alarm 0\n";
        assert_eq!(repeats.take_left_out("warning: "), left_out);
        assert_eq!(repeats.take_left_out("warning: "), "");
        assert!(!repeats.shows('a', "later"), "the kind has been shown often enough");
        assert_eq!(repeats.take_left_out("warning: "), "warning: … and 1 more like it: alarm 0\n");
    }
}

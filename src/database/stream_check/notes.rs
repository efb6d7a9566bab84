//! All notes of a database, in bounded memory.

use std::collections::{BTreeSet, HashMap};

use super::note::{Note, Noted};
use super::other_note::OtherNote;

/// Pages that have a note of their own, eight bytes each: those of 8 GiB at the usual 4 KiB a page, the largest database
/// that etcd recommends. Of the pages behind them, the branches and the newest leaves have one, up to the two limits below.
pub(super) const NOTES_MAX: usize = 2 << 20;
/// The most branches and empty leaves behind those pages: the number in a database of 256 GiB.
pub(super) const FAR_NOTES_MAX: usize = 1 << 17;
/// The most leaves of keys behind those pages. No stale leaf holds a newer key than the last leaf.
pub(super) const FAR_LEAVES_MAX: usize = 1 << 12;
/// The most bytes of the notes of leaves of buckets. An hour of stale copies takes less.
pub(super) const BUCKETS_SIZE_MAX: usize = 12 << 20;
/// The most bytes of all other notes. etcd rewrites such pages only when its members change.
pub(super) const OTHERS_SIZE_MAX: usize = 4 << 20;

/// The notes of the pages.
#[derive(Default)]
pub(super) struct Notes {
    /// By page number.
    pub(super) near: Vec<Note>,
    /// Those of the branches and empty leaves behind the first [`NOTES_MAX`] pages.
    far: HashMap<u64, Note>,
    /// The newest leaves of keys behind those pages: the last revision and the page number.
    pub(super) far_leaves: BTreeSet<(i64, u64)>,
    /// Those that need more than eight bytes, by page number.
    others: HashMap<u64, OtherNote>,
    pub(super) buckets_size: usize,
    others_size: usize,
}

impl Notes {
    /// Stores the note of page `id`.
    pub(super) fn set(&mut self, id: u64, noted: &Noted) {
        match (usize::try_from(id), noted) {
            (Ok(at), Noted::Nothing) if at >= self.near.len() => {}
            (Ok(at), _) if at < NOTES_MAX => {
                if at >= self.near.len() {
                    self.near.resize(at + 1, Note::default());
                }
                self.near[at] = Note::new(noted);
            }
            (_, Noted::Nothing) => {}
            (_, Noted::Keys(revision)) => {
                self.far_leaves.insert((*revision, id));
                if self.far_leaves.len() > FAR_LEAVES_MAX {
                    self.far_leaves.pop_first();
                }
            }
            _ if self.far.len() < FAR_NOTES_MAX => drop(self.far.insert(id, Note::new(noted))),
            _ => {}
        }
    }

    /// The note of page `id`.
    pub(super) fn get(&self, id: u64) -> Noted {
        let near = usize::try_from(id).ok().filter(|at| *at < NOTES_MAX);
        if let Some(at) = near {
            return self.near.get(at).map_or(Noted::Nothing, |note| note.get());
        }
        let leaf = self.far_leaves.iter().rev().find(|(_, leaf)| *leaf == id);
        let branch = || self.far.get(&id).map_or(Noted::Nothing, |note| note.get());
        leaf.map_or_else(branch, |(revision, _)| Noted::Keys(*revision))
    }

    /// Whether page `id` may be part of the tree of keys.
    pub(super) fn is_known(&self, id: u64) -> bool {
        let near = usize::try_from(id).ok().filter(|at| *at < NOTES_MAX);
        near.is_none_or(|at| self.near.get(at).is_some_and(|note| !matches!(note.get(), Noted::Nothing)))
    }

    /// Stores the note for the complete page `id`, if there is room. There always is for the root.
    pub(super) fn set_other(&mut self, id: u64, page: &[u8], is_root: bool) {
        let Some(note) = OtherNote::of(page) else { return };
        let (sum, limit) = match note {
            OtherNote::Buckets(_) => (&mut self.buckets_size, BUCKETS_SIZE_MAX),
            _ => (&mut self.others_size, OTHERS_SIZE_MAX),
        };
        let size = note.size();
        if *sum + size <= limit || is_root {
            *sum += size;
            self.others.insert(id, note);
        }
    }

    /// The note of page `id` that needs more than eight bytes.
    pub(super) fn other(&self, id: u64) -> Option<&OtherNote> {
        self.others.get(&id)
    }

    /// The number of notes that need more than eight bytes.
    pub(super) fn other_count(&self) -> usize {
        self.others.len()
    }
}

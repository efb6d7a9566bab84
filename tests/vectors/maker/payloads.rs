//! What is wrong with payloads.

use super::seal::{SEALED_CHUNK_SIZE, payload_at};
use super::{Maker, SECOND_KEY, Vector, snapshot};

const DAMAGED: &str = "payload_damaged";

impl Maker {
    pub(super) fn payloads(&self) -> Vec<Vector> {
        let mut vectors = self.flipped_chunks();
        vectors.extend(self.cut_payloads());
        vectors.extend(self.longer_payloads());
        vectors
    }

    fn flipped_chunks(&self) -> Vec<Vector> {
        let two = self.archive(&self.layers(snapshot::noise(18)));
        let three = self.archive(&self.layers(snapshot::noise(34)));
        let flipped = |title, archive: &[u8], number| {
            let begin = payload_at(archive) + number * SEALED_CHUNK_SIZE;
            let end = archive.len().min(begin + SEALED_CHUNK_SIZE);
            let mut bytes = archive.to_vec();
            bytes[begin + 9] ^= 1;
            Vector::failure_at_the_ends(title, DAMAGED, bytes).damaged(begin, end)
        };
        let mut middle = flipped("chunk-middle-flipped: a bit of the second of three chunks", &three, 1);
        middle.entry.inspect = super::Inspect::Success { foreign: false };
        vec![
            flipped("chunk-first-flipped: a bit of the first of two chunks", &two, 0),
            middle,
            flipped("chunk-last-flipped: a bit of the last of two chunks", &two, 1),
        ]
    }

    fn cut_payloads(&self) -> Vec<Vector> {
        let small = self.archive(&self.small());
        let two = self.archive(&self.layers(snapshot::noise(18)));
        let payload = payload_at(&small);
        let chunk_end = payload_at(&two) + SEALED_CHUNK_SIZE;
        let cut = |title, archive: &[u8], length: usize| {
            Vector::failure_at_the_ends(title, DAMAGED, archive[..length].to_vec())
        };
        vec![
            cut("cut-inside-chunk: cut inside a chunk, by one byte", &small, small.len() - 1)
                .damaged(payload, small.len() - 1),
            cut("cut-at-chunk-end: cut at the end of the first of two chunks", &two, chunk_end)
                .damaged(chunk_end, chunk_end + 1),
            cut("cut-inside-tag: cut where no chunk can end", &small, payload + 15)
                .damaged(payload + 15, payload + 16)
                .look_fails(DAMAGED),
            Vector::failure_for_all(
                "payload-empty: a payload of nothing, which age allows",
                "not_a_snapshot",
                self.seal_inside(&self.small(), b""),
            ),
            cut("cut-after-header: header and nonce alone", &small, payload)
                .damaged(payload, payload + 1)
                .look_fails(DAMAGED),
            Vector::failure_at_the_ends(
                "cut-after-header-wrong-identity: header and nonce alone, opened with an identity it was not made for",
                "no_matching_identity",
                small[..payload].to_vec(),
            )
            .look_fails(DAMAGED)
            .with_key(SECOND_KEY),
        ]
    }

    fn longer_payloads(&self) -> Vec<Vector> {
        let small = self.archive(&self.small());
        let full = self.archive(&self.full_chunk());
        let payload = payload_at(&small);
        let longer = |title, archive: &[u8], tail: &[u8]| {
            Vector::failure_at_the_ends(title, DAMAGED, [archive, tail].concat())
        };
        vec![
            longer("byte-appended: one byte more", &small, &[0]).damaged(payload, small.len() + 1),
            longer("byte-appended-to-full-chunk: one byte behind a last chunk that is full", &full, &[0])
                .damaged(full.len(), full.len() + 1)
                .look_fails(DAMAGED),
            longer("two-archives: the same archive twice in one file", &small, &small)
                .damaged(payload, 2 * small.len()),
        ]
    }
}

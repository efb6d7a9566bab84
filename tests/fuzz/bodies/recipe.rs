//! A plaintext that is right but for what a recipe says, layer by layer.

use serde_json::{Value, json};

use super::layers::{Frame, Layers, concat, document, entries, pack, seek_table, skippable};
use super::snapshot::{DIGEST_SIZE, database, with_digest};

/// What is to be sealed.
pub(crate) struct Made {
    pub(crate) description: Option<Vec<u8>>,
    pub(crate) plaintext: Vec<u8>,
    /// Nothing was made wrong.
    pub(crate) right: bool,
}

/// Each step takes its bytes from the front; where there are none left, everything is as it should be.
pub(crate) struct Recipe<'a>(pub(crate) &'a [u8]);

const FRAME_SIZES: [usize; 4] = [65_536, 131_072, 262_144, 16 << 20];

impl Recipe<'_> {
    fn byte(&mut self) -> u8 {
        self.0.split_off_first().copied().unwrap_or(0)
    }

    fn number(&mut self) -> u32 {
        u32::from_le_bytes([self.byte(), self.byte(), self.byte(), self.byte()])
    }

    /// One of `count` things; the first where nothing is left.
    fn below(&mut self, count: usize) -> usize {
        usize::from(self.byte()) % count.max(1)
    }

    fn bytes(&mut self) -> Vec<u8> {
        let length = usize::from(self.byte()).min(self.0.len());
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        taken.to_vec()
    }

    /// The whole plaintext.
    pub(crate) fn make(mut self) -> Made {
        let frame_size = FRAME_SIZES[self.below(FRAME_SIZES.len())];
        let (snapshot, absent) = self.snapshot();
        let mut layers = Layers::of(snapshot, frame_size, &[]);
        if absent {
            layers.trailer["digest"] = json!("absent");
            layers.trailer["database_sha256"] = json!(sha256(&layers.snapshot));
        }
        let mut right = true;
        if self.below(4) == 1 {
            for document in [&mut layers.description, &mut layers.manifest] {
                document.as_object_mut().expect("an object").remove("snapshot_size");
            }
        }
        for _ in 0..self.below(4) {
            right = false;
            let field = FIELDS[self.below(FIELDS.len())];
            let value = self.value();
            match self.below(4) {
                0 => layers.set(field, &value),
                1 => layers.manifest[field] = value,
                2 => layers.description[field] = value,
                _ => layers.trailer[field] = value,
            }
        }
        let description = match self.below(4) {
            0 => Some(layers.description.to_string().into_bytes()),
            1 => None,
            _ => {
                right = false;
                Some(self.bytes())
            }
        };
        let mut frames = layers.joined();
        for _ in 0..self.below(4) {
            right = false;
            self.spoil(&mut frames);
        }
        let mut table = entries(&frames);
        let descriptor = self.byte() & 0x7F;
        for _ in 0..self.below(4) {
            right = false;
            self.spoil_table(&mut table);
        }
        let mut plaintext = [concat(&frames), seek_table(&table, descriptor)].concat();
        let tail = self.bytes();
        right = right && descriptor == 0 && tail.is_empty();
        plaintext.extend(tail);
        while !self.0.is_empty() {
            let (at, change) = (self.number() as usize % plaintext.len().max(1), self.byte());
            right = right && change == 0;
            if let Some(byte) = plaintext.get_mut(at) {
                *byte ^= change;
            }
        }
        Made { description, plaintext, right }
    }

    /// With etcd's digest, or a copied file without it.
    fn snapshot(&mut self) -> (Vec<u8>, bool) {
        let pages = 3 + self.below(63);
        let (kind, fill) = (self.below(3), self.byte());
        let database = database(pages, |at| match kind {
            0 => fill,
            1 => fill.wrapping_add((at / 64).to_le_bytes()[0]),
            _ => fill ^ ((at as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40).to_le_bytes()[0],
        });
        if self.below(4) != 1 {
            return (with_digest(database), false);
        }
        let surplus = self.below(4) * 512;
        // `Layers` takes the last bytes for a digest; they are zeros of the copied file here.
        let mut copied = database;
        copied.extend(vec![0; surplus]);
        debug_assert!(copied.len() > DIGEST_SIZE);
        (copied, true)
    }

    fn value(&mut self) -> Value {
        match self.below(10) {
            0 => Value::Null,
            1 => json!(0),
            2 => json!(u64::MAX),
            3 => json!(i64::MIN),
            4 => json!(self.number()),
            5 => json!(1e300),
            6 => json!(String::from_utf8_lossy(&self.bytes())),
            7 => json!([{"format_version": 2}]),
            8 => json!("x".repeat(self.number() as usize % 70_000)),
            _ => json!(65_536 << self.below(16)),
        }
    }

    fn spoil(&mut self, frames: &mut Vec<Frame>) {
        let at = self.below(frames.len());
        let other = self.below(frames.len());
        match self.below(9) {
            _ if frames.is_empty() => {}
            0 => drop(frames.remove(at)),
            1 => frames.insert(other, frames[at].clone()),
            2 => frames.swap(at, other),
            3 => frames.insert(at, pack(&vec![self.byte(); self.number() as usize % (1 << 20)])),
            4 => frames.insert(at, document(0x184D_2A50 + u32::from(self.byte() & 15), &self.bytes())),
            5 => frames.insert(at, Frame { bytes: self.bytes(), content: self.number() }),
            6 => {
                let length = self.number() as usize % (frames[at].bytes.len() + 1);
                frames[at].bytes.truncate(length);
            }
            7 => {
                let place = self.number() as usize % frames[at].bytes.len().max(1);
                let change = self.byte();
                if let Some(byte) = frames[at].bytes.get_mut(place) {
                    *byte ^= change;
                }
            }
            _ => frames[at].bytes.extend(skippable(0x184D_2A5E, &self.bytes())),
        }
    }

    fn spoil_table(&mut self, table: &mut Vec<(u32, u32)>) {
        let at = self.below(table.len());
        match self.below(5) {
            _ if table.is_empty() => {}
            0 => drop(table.remove(at)),
            1 => table.insert(at, (self.number(), self.number())),
            2 => table[at].0 = self.number(),
            3 => table[at].1 = self.number(),
            _ => {
                let by = u32::from(self.byte());
                table[at].0 = table[at].0.wrapping_add(by);
                if let Some(next) = table.get_mut(at + 1) {
                    next.0 = next.0.wrapping_sub(by);
                }
            }
        }
    }
}

const FIELDS: [&str; 14] = [
    "format",
    "format_version",
    "frame_size",
    "snapshot_size",
    "level",
    "source",
    "sealed_at",
    "tool",
    "cluster_id",
    "database_sha256",
    "digest",
    "status_after",
    "recipients",
    "later",
];

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    hex::encode(sha2::Sha256::digest(bytes))
}

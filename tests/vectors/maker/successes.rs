//! What opens.

use age::Recipient;
use age::armor::Format;
use age::secrecy::SecretString;
use serde_json::json;

use super::index::Foreign;
use super::layers::{FRAME_SIZE, Layers, skippable};
use super::seal::{With, description_stanza, seal, seal_as, stanza};
use super::snapshot::{self, PAGE_SIZE};
use super::{Maker, PASSPHRASE, SECOND_KEY, Vector};

/// Low, so that a vector is quick to open. etcd-seal itself writes 18.
const WORK_FACTOR: u8 = 10;
/// Archives have at most this many stanzas.
const STANZAS_MAX: usize = 256;
const DESCRIPTION_SIZE_MAX: usize = 2048;

impl Maker {
    pub(super) fn successes(&self) -> Vec<Vector> {
        let mut vectors = self.successful_layers();
        vectors.extend(self.successful_headers());
        vectors.extend(self.successful_documents());
        vectors
    }

    fn success(&self, title: &str, layers: &Layers) -> Vector {
        Vector::success(title, layers, self.archive(layers))
    }

    fn successful_layers(&self) -> Vec<Vector> {
        let one = self.layers_of(snapshot::zeros(40), 4 * FRAME_SIZE);
        let chunks = self.layers(snapshot::noise(34));
        let full = self.full_chunk();
        vec![
            self.success("one-frame: a snapshot in a single frame shorter than frame_size", &one),
            self.success("several-frames: a snapshot in three frames of 64 KiB", &self.several()),
            self.success("several-chunks: a payload of three chunks, incompressible", &chunks),
            self.success("last-chunk-full: a payload whose last chunk is exactly full", &full),
            self.success(
                "last-frame-full: a copied database file of exactly two frames, without etcd's digest",
                &self.absent_digest(snapshot::database(32, |_| 0)),
            ),
            self.success(
                "digest-absent: a copied database file that is longer than its high-water mark, without etcd's digest",
                &self.absent_digest([snapshot::database(3, |_| 0), vec![0; 512]].concat()),
            ),
        ]
    }

    /// A plaintext of exactly one chunk, made so by the length of the note.
    pub(super) fn full_chunk(&self) -> Layers {
        let mut layers = self.layers(snapshot::noise(17));
        let note = layers.manifest["note"].as_str().unwrap().len();
        let missing = FRAME_SIZE - layers.plaintext().len();
        layers.manifest["note"] = json!("x".repeat(note + missing));
        assert_eq!(layers.plaintext().len(), FRAME_SIZE);
        layers
    }

    fn absent_digest(&self, database: Vec<u8>) -> Layers {
        let size = database.len();
        // The last bytes of the database are taken for a digest here, which the lines below put right.
        let mut layers = self.layers(database);
        let sha256 = <sha2::Sha256 as sha2::Digest>::digest(&layers.snapshot);
        layers.trailer["database_sha256"] = json!(hex::encode(sha256));
        layers.trailer["digest"] = json!("absent");
        layers.trailer["status_after"]["database_size"] = json!(size);
        layers.set("source", &json!("file"));
        layers
    }

    fn successful_headers(&self) -> Vec<Vector> {
        let layers = self.small();
        let plaintext = layers.plaintext();
        let ours = || description_stanza(layers.description.to_string().as_bytes());
        let success = |title, bytes| Vector::success(title, &layers, bytes);
        let two = |last: Vec<_>| {
            let last = With { before: vec![], recipient: &self.second, after: last };
            seal(&[&self.first as &dyn Recipient, &last], &plaintext)
        };
        let crowd = (0..STANZAS_MAX - 3).map(|_| stanza("a", &[], &[]));
        let crowd = std::iter::once(ours()).chain(crowd).collect();
        let unknown: Vec<&str> =
            std::iter::once("X25519").chain(std::iter::repeat_n("a", STANZAS_MAX - 3)).collect();
        let mut passphrase = age::scrypt::Recipient::new(SecretString::from(PASSPHRASE));
        passphrase.set_work_factor(WORK_FACTOR);
        vec![
            success(
                "no-description: without a description stanza",
                self.seal_with(vec![], vec![], &plaintext),
            )
            .not_described(),
            success(
                "passphrase: of a passphrase, which leaves no room for a description",
                seal(&[&passphrase as &dyn Recipient], &plaintext),
            )
            .with_passphrase(PASSPHRASE),
            success("two-recipients: for two recipients, opened by the first", two(vec![ours()]))
                .stanzas(&["X25519", "X25519"]),
            success("two-recipients-second: for two recipients, opened by the second", two(vec![ours()]))
                .stanzas(&["X25519", "X25519"])
                .with_key(SECOND_KEY),
            success(
                "grease-before-description: grease between the recipient and the description",
                self.seal_with(vec![], vec![stanza("x-grease", &["y"], &[7; 40]), ours()], &plaintext),
            ),
            success(
                "description-first: the description before the recipient",
                self.seal_with(vec![ours()], vec![], &plaintext),
            ),
            success(
                "unknown-recipient: a recipient of an unknown type before the one that matches",
                self.seal_with(vec![stanza("later", &["a", "b"], &[1; 48])], vec![ours()], &plaintext),
            )
            .stanzas(&["later", "X25519"]),
            success(
                "stanzas-256: as many stanzas as there may be, grease and description included",
                self.seal_with(vec![], crowd, &plaintext),
            )
            .stanzas(&unknown),
        ]
    }

    fn successful_documents(&self) -> Vec<Vector> {
        let mut unknown = self.small();
        unknown.set("later", &json!({"fact": [1, {"deep": "x"}], "other": null}));
        unknown.trailer["later"] = json!("y");
        let mut absent = self.small();
        for document in [&mut absent.description, &mut absent.manifest] {
            document.as_object_mut().unwrap().remove("snapshot_size");
        }
        vec![
            self.success(
                "unknown-fields: fields that version 1 does not know, the same in description and manifest",
                &unknown,
            ),
            self.success("snapshot-size-unknown: the size is known to the trailer alone", &absent),
            self.success(
                "description-2048-bytes: the largest description",
                &self.with_description_of(DESCRIPTION_SIZE_MAX),
            ),
            self.success(
                "description-whole-lines: a description of a multiple of 48 bytes: its stanza ends with an empty line",
                &self.with_description_of(48 * 12),
            ),
        ]
    }

    /// A description padded to `size` by a field that version 1 does not know.
    pub(super) fn with_description_of(&self, size: usize) -> Layers {
        let mut layers = self.small();
        layers.set("later", &json!(""));
        let missing = size - layers.description.to_string().len();
        layers.set("later", &json!("x".repeat(missing)));
        assert_eq!(layers.description.to_string().len(), size);
        layers
    }

    /// What others make, and what is wrong with some of it.
    pub(super) fn others(&self) -> Vec<Vector> {
        let snapshot = snapshot::zeros(40);
        let zstd = encode(&snapshot);
        let (first, second) = snapshot.split_at(70_000);
        let parallel =
            [skippable(0x184D_2A50, &u32::try_from(zstd.len()).unwrap().to_le_bytes()), zstd.clone()]
                .concat();
        let other = |title, content: &[u8], armored, compressed| {
            let format = if armored { Format::AsciiArmor } else { Format::Binary };
            let bytes = seal_as(&[&self.first as &dyn Recipient], content, format);
            Vector::foreign(title, &snapshot, Foreign { armored, zstd: compressed }, bytes)
        };
        let small = snapshot::zeros(3);
        let bare = &small[..3 * PAGE_SIZE];
        let mut vectors = vec![
            other("foreign-zstd: age and zstd without anything of ours", &zstd, false, true),
            other(
                "foreign-two-frames: two zstd frames",
                &[encode(first), encode(second)].concat(),
                false,
                true,
            ),
            other(
                "foreign-skippable: a skippable frame before the data, as of pzstd",
                &parallel,
                false,
                true,
            ),
            other("foreign-armored: zstd in an armoured file", &zstd, true, true),
            other(
                "foreign-numbers-of-ours: skippable frames with the numbers of manifest and trailer, but no object in them",
                &[zstd.clone(), skippable(0x184D_2A51, b""), skippable(0x184D_2A50, b"[{}]")].concat(),
                false,
                true,
            ),
            Vector::foreign(
                "foreign-plain: not compressed",
                &small,
                Foreign { armored: false, zstd: false },
                self.seal_with(vec![], vec![], &small),
            ),
            Vector::foreign(
                "foreign-digest-absent-allowed: without etcd's digest, which the operator allowed",
                bare,
                Foreign { armored: false, zstd: true },
                self.seal_with(vec![], vec![], &encode(bare)),
            )
            .without_digest()
            .allowing_missing_digest(),
        ];
        vectors.extend(self.bad_others(&small, &zstd));
        vectors
    }

    /// One frame with 80 MiB of zeros and, behind them, pages that do not compress: what the whole frame may hold, its first
    /// blocks may not.
    fn expanding(&self) -> Vector {
        let content = encode(&snapshot::zeros_and_noise(20_480, 8));
        let bytes = self.seal_with(vec![], vec![], &content);
        assert!(content.len() > 20 * 1024, "{} bytes", content.len());
        Vector::failure(
            "foreign-expands: a frame whose first blocks hold more than they may; all of it together would not",
            "structure_damaged",
            bytes,
        )
        .not_ours()
    }

    fn bad_others(&self, small: &[u8], zstd: &[u8]) -> Vec<Vector> {
        let mut flipped = small.to_vec();
        flipped[9000] ^= 1;
        let mut armored = seal_as(&[&self.first as &dyn Recipient], zstd, Format::AsciiArmor);
        let middle = armored.len() * 3 / 4;
        armored[middle] = b'!';
        let failure = |title, kind, content: &[u8]| {
            Vector::failure(title, kind, self.seal_with(vec![], vec![], content)).not_ours()
        };
        let bare = encode(&small[..3 * PAGE_SIZE]);
        let tail = [zstd, b"tail"].concat();
        vec![
            failure("foreign-digest-absent: without etcd's digest", "digest_absent", &bare),
            failure("foreign-digest-wrong: etcd's digest is wrong", "digest_mismatch", &encode(&flipped)),
            failure(
                "foreign-digest-wrong-allowed: a wrong digest is never allowed",
                "digest_mismatch",
                &encode(&flipped),
            )
            .allowing_missing_digest(),
            failure("foreign-cut: the zstd frame is cut", "structure_damaged", &zstd[..zstd.len() - 1]),
            failure("foreign-tail: something behind the zstd frame", "structure_damaged", &tail),
            failure("foreign-letter: no snapshot but text", "not_a_snapshot", b"a letter to somebody"),
            failure("foreign-nothing: an empty payload", "not_a_snapshot", b"")
                .inspect_fails("not_a_snapshot")
                .look_fails("not_a_snapshot"),
            failure(
                "foreign-then-trailer-like: a frame with the number of a trailer, and an object in it",
                "structure_damaged",
                &[zstd, &skippable(0x184D_2A51, br#"{"a":1}"#)].concat(),
            ),
            failure(
                "foreign-then-trailer: a frame that is a trailer of version 1",
                "structure_damaged",
                &[zstd, &skippable(0x184D_2A51, self.small().trailer.to_string().as_bytes())].concat(),
            ),
            failure(
                "foreign-then-manifest-like: a frame with the number of a manifest, and an object in it, behind the data",
                "structure_damaged",
                &[zstd, &skippable(0x184D_2A50, b"{}")].concat(),
            ),
            failure(
                "foreign-skippable-cut: a skippable frame is cut",
                "structure_damaged",
                &[zstd, &skippable(0x184D_2A5A, b"abc")[..10]].concat(),
            ),
            self.expanding(),
            Vector::failure_for_all(
                "foreign-armor-malformed: a byte of the armour is none of Base64",
                "payload_damaged",
                armored,
            ),
        ]
    }
}

/// A stream as the zstd program makes it: its size unknown, so no single segment, and with a checksum.
fn encode(content: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 3).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

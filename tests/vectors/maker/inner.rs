//! What is wrong inside the encryption: only a holder of the key, or a defective program, can have made these.

use serde_json::{Value, json};
use zstd::zstd_safe::CParameter::{ChecksumFlag, ContentSizeFlag, WindowLog};

use super::layers::{
    FRAME_SIZE, Frame, Layers, MANIFEST_MAGIC, TRAILER_MAGIC, concat, document, entries, pack, pack_with,
    seek_table, with_seek_table,
};
use super::snapshot::{self, Meta, PAGE_SIZE};
use super::{Maker, Vector};

const DAMAGED: &str = "structure_damaged";
const MISMATCH: &str = "contents_mismatch";

impl Maker {
    pub(super) fn inner(&self) -> Vec<Vector> {
        let mut vectors = self.manifests();
        vectors.extend(self.frame_headers());
        vectors.extend(self.frame_orders());
        vectors.extend(self.trailers());
        vectors.extend(self.seek_tables());
        vectors.extend(self.snapshots());
        vectors.extend(self.claims());
        vectors
    }

    /// Three frames whose manifest, trailer and seek table do not show what is wrong.
    fn within(&self, title: &str, layers: &Layers, plaintext: &[u8]) -> Vector {
        Vector::failure(title, DAMAGED, self.seal_inside(layers, plaintext))
    }

    /// Wrong where manifest, trailer or seek table show it.
    fn at_the_ends(&self, title: &str, layers: &Layers, plaintext: &[u8]) -> Vector {
        self.within(title, layers, plaintext).inspect_fails(DAMAGED)
    }

    /// The same, where the layers themselves are wrong.
    fn ends_of(&self, title: &str, layers: &Layers) -> Vector {
        self.at_the_ends(title, layers, &layers.plaintext())
    }

    fn manifests(&self) -> Vec<Vector> {
        let layers = self.small();
        let frames = layers.joined();
        let text = layers.manifest.to_string();
        let with_manifest = |title, manifest: String| {
            let mut frames = frames.clone();
            frames[0] = document(MANIFEST_MAGIC, manifest.as_bytes());
            self.at_the_ends(title, &layers, &with_seek_table(&frames))
        };
        let changed = |from: &str, to: &str| {
            assert!(text.contains(from));
            text.replace(from, to)
        };
        let twice = [&frames[..1], &frames].concat();
        let lost = with_seek_table(&frames[1..]);
        vec![
            with_manifest(
                "manifest-disagrees: manifest and description disagree",
                changed(r#""cluster_name":"vectors""#, r#""cluster_name":"victors""#),
            ),
            with_manifest(
                "manifest-lacks-field: a field of the description is not in the manifest",
                changed(r#""etcd_version":"3.5.16","#, ""),
            ),
            self.unknown_field_disagrees(),
            with_manifest(
                "manifest-duplicate-key: a key twice in the manifest",
                text.replacen('{', r#"{"note":"a","#, 1),
            ),
            with_manifest(
                "manifest-duplicate-deep: a key twice inside an unknown field",
                text.replacen('{', r#"{"later":[{"a":1,"a":1}],"#, 1),
            ),
            with_manifest("manifest-no-json: a manifest that is no JSON", "{manifest}".to_owned()),
            with_manifest(
                "manifest-white-space-first: white space before the manifest",
                format!(" {text}"),
            ),
            self.at_the_ends("manifest-missing: no manifest, but a description", &layers, &lost),
            Vector::failure(
                "manifest-missing-no-description: no manifest, no description; the trailer alone gives it away",
                DAMAGED,
                self.seal_with(vec![], vec![], &lost),
            )
            .not_ours(),
            self.at_the_ends("manifest-twice: two manifests", &layers, &with_seek_table(&twice)),
            self.impossible_frame_size(),
        ]
    }

    fn unknown_field_disagrees(&self) -> Vector {
        let mut layers = self.small();
        layers.description["later"] = json!(1);
        layers.manifest["later"] = json!(2);
        self.ends_of("manifest-disagrees-unknown: an unknown field differs", &layers)
    }

    fn impossible_frame_size(&self) -> Vector {
        let mut layers = self.small();
        layers.manifest["frame_size"] = json!(65_537);
        let bytes = self.seal_with(vec![], vec![], &layers.plaintext());
        Vector::failure_at_the_ends("manifest-frame-size: an impossible frame_size", DAMAGED, bytes)
            .not_described()
    }

    fn frame_headers(&self) -> Vec<Vector> {
        let layers = self.small();
        let with_frame = |title, frame: Frame| {
            let layers = Layers { frames: vec![frame], ..layers.clone() };
            self.within(title, &layers, &layers.plaintext())
        };
        let packed_with = |parameter| pack_with(&layers.snapshot, &[parameter]);
        let good = pack(&layers.snapshot);
        let mut checksum = good.clone();
        *checksum.bytes.last_mut().unwrap() ^= 1;
        // In a single segment the dictionary's id follows the descriptor; bit 0 says that it has one byte.
        let mut dictionary = good.clone();
        dictionary.bytes[4] |= 1;
        dictionary.bytes.insert(5, 7);
        // Behind the descriptor, a content size of two bytes, then the blocks: many that are raw and empty.
        let mut padded = good.clone();
        assert_eq!(padded.bytes[4] >> 6, 1);
        padded.bytes.splice(7..7, [0; 15_000]);
        let mut large = self.layers_of(snapshot::zeros(20), 2 * FRAME_SIZE);
        large.set("frame_size", &json!(FRAME_SIZE));
        vec![
            with_frame("frame-without-checksum: a frame without checksum", packed_with(ChecksumFlag(false))),
            with_frame(
                "frame-without-size: a frame without content size",
                packed_with(ContentSizeFlag(false)),
            ),
            with_frame("frame-with-window: a frame that is not a single segment", packed_with(WindowLog(10))),
            with_frame("frame-with-dictionary: a frame that names a dictionary", dictionary),
            with_frame("frame-checksum-wrong: a frame whose checksum is wrong", checksum),
            with_frame("frame-padded: a frame larger than its content can ever need", padded),
            self.ends_of("frame-too-large: a frame that holds more than frame_size", &large),
        ]
    }

    fn frame_orders(&self) -> Vec<Vector> {
        let several = self.several();
        let frames = several.joined();
        let (first, rest) = several.snapshot.split_at(FRAME_SIZE);
        let (second, third) = rest.split_at(40_000);
        let short = Layers { frames: [first, second, third].map(pack).to_vec(), ..several.clone() };
        let none = Layers { frames: vec![], ..several.clone() };
        let mut empty = several.clone();
        empty.frames.push(pack(b""));
        let mut unknown = frames.clone();
        unknown.insert(2, document(0x184D_2A52, b"unknown"));
        let mut no_frame = frames.clone();
        no_frame.insert(2, Frame { bytes: b"no frame".to_vec(), content: 0 });
        let mut missing = several.clone();
        missing.frames.remove(1);
        let mut repeated = several.clone();
        repeated.frames.insert(1, several.frames[0].clone());
        let with = |title, frames| self.at_the_ends(title, &several, &with_seek_table(frames));
        vec![
            self.ends_of("frame-short: a short frame that is not the last", &short),
            self.ends_of("frames-none: no frame at all", &none),
            self.ends_of("frame-empty: a last frame of nothing", &empty),
            self.ends_of("frame-missing: a frame is missing", &missing),
            self.ends_of("frame-repeated: a frame is there twice", &repeated),
            with("frame-unknown: an unknown skippable frame between the data", &unknown),
            with("frame-no-frame: something that is no frame between the data", &no_frame),
            self.swapped(),
        ]
    }

    /// Every frame is right, and all of them together are not.
    fn swapped(&self) -> Vector {
        let mut layers = self.several();
        layers.frames.swap(0, 1);
        let bytes = self.archive(&layers);
        Vector::failure("frames-swapped: two frames in the wrong order", "not_a_snapshot", bytes)
    }

    fn trailers(&self) -> Vec<Vector> {
        let layers = self.small();
        let with = |name: &str, value: Value| {
            let mut layers = layers.clone();
            layers.trailer[name] = value;
            layers.plaintext()
        };
        let size = layers.snapshot.len();
        let frames = layers.joined();
        let last = frames.len() - 1;
        let text = layers.trailer.to_string();
        let mut twice = frames.clone();
        twice.push(frames[last].clone());
        let mut duplicate = frames.clone();
        duplicate[last] =
            document(TRAILER_MAGIC, text.replacen('{', r#"{"digest":"verified","#, 1).as_bytes());
        let zeros = "0".repeat(64);
        let ends = |title, plaintext: Vec<u8>| self.at_the_ends(title, &layers, &plaintext);
        let within = |title, plaintext: Vec<u8>| self.within(title, &layers, &plaintext);
        vec![
            ends("trailer-missing: no trailer", with_seek_table(&frames[..last])),
            ends("trailer-twice: two trailers", with_seek_table(&twice)),
            ends("trailer-duplicate-key: a key twice in the trailer", with_seek_table(&duplicate)),
            ends("trailer-size: the trailer tells another size", with("snapshot_size", json!(size + 1))),
            within(
                "trailer-sha256: the trailer tells another SHA-256",
                with("database_sha256", json!(zeros)),
            ),
            within(
                "trailer-absent: the trailer calls the digest absent, but it is there",
                with("digest", json!("absent")),
            ),
            ends(
                "trailer-digest-unknown: the trailer calls the digest something else",
                with("digest", json!("assumed")),
            ),
            self.manifest_size(),
        ]
    }

    fn manifest_size(&self) -> Vector {
        let mut layers = self.small();
        layers.set("snapshot_size", &json!(layers.snapshot.len() + 512));
        self.ends_of("manifest-size: the manifest tells another size than the trailer", &layers)
    }

    fn seek_tables(&self) -> Vec<Vector> {
        let layers = self.several();
        let frames = layers.joined();
        let data = concat(&frames);
        let right = entries(&frames);
        let with_table = |title, table: &[u8]| self.at_the_ends(title, &layers, &[&data[..], table].concat());
        let with_changed = |title, change: fn(&mut Vec<(u32, u32)>)| {
            let mut entries = right.clone();
            change(&mut entries);
            with_table(title, &seek_table(&entries, 0))
        };
        let table = seek_table(&right, 0);
        let mut magic = table.clone();
        *magic.last_mut().unwrap() ^= 1;
        let mut shifted =
            with_changed("seek-table-shifted: two sizes are off, their sum is right", |entries| {
                entries[1].0 += 1;
                entries[2].0 -= 1;
            });
        shifted.entry.inspect = super::Inspect::Success { foreign: false };
        vec![
            shifted,
            with_changed("seek-table-off-by-one: the size of a frame is off by one", |entries| {
                entries[1].0 += 1;
            }),
            with_changed("seek-table-content: the content of a frame is off by one", |entries| {
                entries[1].1 -= 1;
            }),
            with_changed("seek-table-content-shifted: two contents are off, their sum is right", |entries| {
                entries[1].1 -= 1;
                entries[3].1 += 1;
            }),
            with_changed("seek-table-few: too few entries", |entries| entries.truncate(4)),
            with_changed("seek-table-no-documents: entries for the data alone", |entries| {
                entries.pop();
                entries.remove(0);
            }),
            with_table("seek-table-missing: no seek table", b""),
            with_table("seek-table-checksums: a descriptor with Checksum_Flag", &seek_table(&right, 0x80)),
            with_table("seek-table-magic: another magic number at the end", &magic),
            with_table("seek-table-cut: the last byte is missing", &table[..table.len() - 1]),
            with_table("seek-table-twice: two seek tables", &[&table[..], &table].concat()),
            with_table("after-seek-table: a byte behind the seek table", &[&table[..], &[0]].concat()),
            with_table(
                "frame-after-seek-table: a frame behind the seek table",
                &[&table[..], &pack(b"more").bytes].concat(),
            ),
        ]
    }

    fn snapshots(&self) -> Vec<Vector> {
        let mut wrong = snapshot::zeros(3);
        wrong[9000] ^= 1;
        let text = snapshot::with_digest(b"a letter to somebody, not a database\n".repeat(200));
        let cut = snapshot::with_digest(snapshot::database(3, |_| 0)[..2 * PAGE_SIZE + 100].to_vec());
        let mut meta = snapshot::database(3, |_| 0);
        meta[40] ^= 1;
        let (meta, none) = (snapshot::with_digest(meta), "not_a_snapshot");
        let sealed =
            |title, kind, snapshot| Vector::failure(title, kind, self.archive(&self.layers(snapshot)));
        vec![
            sealed(
                "snapshot-digest-wrong: right in every layer, but etcd's digest is not",
                "digest_mismatch",
                wrong,
            ),
            sealed("snapshot-no-database: right in every layer, but no snapshot", none, text),
            sealed("snapshot-meta-page: the checksum of the first meta page is wrong", none, meta),
            sealed("snapshot-length: shorter than its first page says", "snapshot_length", cut),
        ]
    }

    /// A database of which nothing is claimed, so that no claim is the reason that it is refused.
    fn unclaimed(&self, database: Vec<u8>) -> Layers {
        let mut layers = self.layers(snapshot::with_digest(database));
        for name in ["revision", "member_id"] {
            layers.description.as_object_mut().unwrap().remove(name);
            layers.manifest.as_object_mut().unwrap().remove(name);
        }
        for name in ["contents", "status_after"] {
            layers.trailer.as_object_mut().unwrap().remove(name);
        }
        layers
    }

    fn bad_pages(&self, title: &str, kind: &str, database: Vec<u8>) -> Vector {
        Vector::failure(title, kind, self.archive(&self.unclaimed(database)))
    }

    fn good_pages(&self, title: &str, database: Vec<u8>) -> Vector {
        let layers = self.unclaimed(database);
        Vector::success(title, &layers, self.archive(&layers))
    }

    /// The page from which a database is known.
    pub(super) fn first_pages(&self) -> Vec<Vector> {
        let small = |page_size, pages| {
            let first = Meta::of(0, page_size, pages).page();
            [first, vec![0; pages * page_size]].concat()[..(pages * page_size).max(80)].to_vec()
        };
        let none = "not_a_snapshot";
        vec![
            self.bad_pages("page-size-256: pages of 256 bytes", none, snapshot::database_of(256, 64, |_| 0)),
            self.bad_pages("page-size-6144: a page size that is no power of two", none, small(6144, 4)),
            self.bad_pages("page-size-131072: pages of 128 KiB", none, small(131_072, 2)),
            self.good_pages("page-size-512: pages of 512 bytes", snapshot::database_of(512, 4, |_| 0)),
            self.good_pages("page-size-65536: pages of 64 KiB", snapshot::database_of(65_536, 3, |_| 0)),
            self.bad_pages("high-water-mark-1: a database of one page", none, small(PAGE_SIZE, 1)),
            self.bad_pages("first-page-number: a first page with another number", none, {
                let mut database = snapshot::database(3, |_| 0);
                database[0] = 1;
                database
            }),
        ]
    }

    /// The page that may count in place of the first.
    pub(super) fn second_pages(&self) -> Vec<Vector> {
        let none = "not_a_snapshot";
        let second = |change: &dyn Fn(&mut Meta)| {
            let mut meta = Meta { transaction: 9, ..Meta::of(1, PAGE_SIZE, 3) };
            change(&mut meta);
            let mut database = snapshot::database(3, |_| 0);
            database[PAGE_SIZE..PAGE_SIZE + 80].copy_from_slice(&meta.page()[..80]);
            database
        };
        vec![
            self.good_pages(
                "second-page-high-water-mark-0: a newer second page with an impossible high-water mark, which is ignored",
                second(&|meta| meta.high_water_mark = 0),
            ),
            self.good_pages(
                "second-page-other-size: a newer second page with another page size, which is ignored",
                second(&|meta| (meta.page_size, meta.high_water_mark) = (8192, 7)),
            ),
            self.good_pages(
                "second-page-older: an older second page, which is ignored",
                second(&|meta| (meta.transaction, meta.high_water_mark) = (7, 9)),
            ),
            self.bad_pages(
                "second-page-newer: the newer second page counts more pages",
                "snapshot_length",
                second(&|meta| meta.high_water_mark = 4),
            ),
            self.bad_pages(
                "second-page-number: a second page with another number",
                none,
                second(&|meta| meta.id = 2),
            ),
            self.bad_pages(
                "second-page-type: a second page that calls itself a leaf",
                none,
                second(&|meta| meta.flags = 2),
            ),
        ]
    }

    /// What manifest and trailer say of the database, and the database does not bear out.
    fn claims(&self) -> Vec<Vector> {
        let sealed = |title, change: &dyn Fn(&mut Layers)| {
            let mut layers = self.small();
            change(&mut layers);
            Vector::failure(title, MISMATCH, self.archive(&layers))
        };
        let at_the_ends = |title, change: &dyn Fn(&mut Layers)| sealed(title, change).inspect_fails(MISMATCH);
        let other_member = json!("0123456789abcdef");
        let mut unreadable = snapshot::database(3, |_| 0);
        // The flags of the page of buckets, which is no leaf any more.
        unreadable[2 * PAGE_SIZE + 8] = 0;
        let unreadable = self.layers(snapshot::with_digest(unreadable));
        vec![
            at_the_ends(
                "claims-revision: the database ends before the revision of the manifest",
                &|layers| {
                    layers.set("revision", &json!(43));
                },
            ),
            at_the_ends("claims-revision-after: the database ends behind the revision after it", &|layers| {
                layers.trailer["status_after"]["revision"] = json!(41);
            }),
            at_the_ends("claims-member: the member is none of those in the database", &|layers| {
                layers.set("member_id", &other_member);
            }),
            at_the_ends("claims-size: the snapshot is larger than the database after it", &|layers| {
                layers.trailer["status_after"]["database_size"] = json!(3 * PAGE_SIZE - 1);
            }),
            sealed("claims-contents: the trailer knows of a compaction that the database lacks", &|layers| {
                layers.trailer["contents"]["compact_revision"] = json!(7);
            }),
            Vector::failure(
                "claims-unreadable: the database has no buckets, and so no revision",
                MISMATCH,
                self.archive(&unreadable),
            ),
        ]
    }

    pub(super) fn large_documents(&self) -> Vec<Vector> {
        const LIMIT: usize = 64 * 1024;
        let with_manifest_of = |size: usize| {
            let mut layers = self.small();
            let missing = size - layers.manifest.to_string().len();
            layers.manifest["note"] = json!("x".repeat("a test vector".len() + missing));
            layers
        };
        let with_trailer_of = |size: usize| {
            let mut layers = self.small();
            layers.trailer["later"] = json!("");
            let missing = size - layers.trailer.to_string().len();
            layers.trailer["later"] = json!("x".repeat(missing));
            layers
        };
        let made = |layers: &Layers| self.archive(layers);
        let too_large = |title, layers: &Layers| Vector::failure_at_the_ends(title, DAMAGED, made(layers));
        let (manifest, trailer) = (with_manifest_of(LIMIT), with_trailer_of(LIMIT));
        vec![
            Vector::success("manifest-largest: the largest manifest", &manifest, made(&manifest)),
            Vector::success("trailer-largest: the largest trailer", &trailer, made(&trailer)),
            too_large("manifest-too-large: too large a manifest", &with_manifest_of(LIMIT + 1)),
            too_large("trailer-too-large: too large a trailer", &with_trailer_of(LIMIT + 1)),
        ]
    }
}

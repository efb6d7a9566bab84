//! What is wrong inside the encryption: only a holder of the key, or a defective program, can have made these.

use serde_json::{Value, json};
use zstd::zstd_safe::CParameter;

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
    fn within(&self, file: &str, what: &str, layers: &Layers, plaintext: &[u8]) -> Vector {
        Vector::failure(file, what, DAMAGED, self.seal_inside(layers, plaintext))
    }

    /// Wrong where manifest, trailer or seek table show it.
    fn at_the_ends(&self, file: &str, what: &str, layers: &Layers, plaintext: &[u8]) -> Vector {
        self.within(file, what, layers, plaintext).inspect_fails(DAMAGED)
    }

    fn manifests(&self) -> Vec<Vector> {
        let layers = self.small();
        let frames = layers.joined();
        let text = layers.manifest.to_string();
        let with_manifest = |file, what, manifest: &[u8]| {
            let mut frames = frames.clone();
            frames[0] = document(MANIFEST_MAGIC, manifest);
            self.at_the_ends(file, what, &layers, &with_seek_table(&frames))
        };
        let changed = |from: &str, to: &str| {
            assert!(text.contains(from));
            text.replace(from, to)
        };
        let twice = [&frames[..1], &frames].concat();
        let lost = with_seek_table(&frames[1..]);
        vec![
            with_manifest(
                "manifest-disagrees.age",
                "manifest and description disagree",
                changed(r#""cluster_name":"vectors""#, r#""cluster_name":"victors""#).as_bytes(),
            ),
            with_manifest(
                "manifest-lacks-field.age",
                "a field of the description is not in the manifest",
                changed(r#""etcd_version":"3.5.16","#, "").as_bytes(),
            ),
            self.unknown_field_disagrees(),
            with_manifest(
                "manifest-duplicate-key.age",
                "a key twice in the manifest",
                text.replacen('{', r#"{"note":"a","#, 1).as_bytes(),
            ),
            with_manifest(
                "manifest-duplicate-deep.age",
                "a key twice inside an unknown field",
                text.replacen('{', r#"{"later":[{"a":1,"a":1}],"#, 1).as_bytes(),
            ),
            with_manifest("manifest-no-json.age", "a manifest that is no JSON", b"{manifest}"),
            with_manifest(
                "manifest-white-space-first.age",
                "white space before the manifest",
                format!(" {text}").as_bytes(),
            ),
            self.at_the_ends("manifest-missing.age", "no manifest, but a description", &layers, &lost),
            Vector::failure(
                "manifest-missing-no-description.age",
                "no manifest, no description; the trailer alone gives it away",
                DAMAGED,
                self.seal_with(vec![], vec![], &lost),
            )
            .not_ours(),
            self.at_the_ends("manifest-twice.age", "two manifests", &layers, &with_seek_table(&twice)),
            self.impossible_frame_size(),
        ]
    }

    fn unknown_field_disagrees(&self) -> Vector {
        let mut layers = self.small();
        layers.description["later"] = json!(1);
        layers.manifest["later"] = json!(2);
        let plaintext = layers.plaintext();
        self.at_the_ends("manifest-disagrees-unknown.age", "an unknown field differs", &layers, &plaintext)
    }

    fn impossible_frame_size(&self) -> Vector {
        let mut layers = self.small();
        layers.manifest["frame_size"] = json!(65_537);
        let bytes = self.seal_with(vec![], vec![], &layers.plaintext());
        Vector::failure_at_the_ends("manifest-frame-size.age", "an impossible frame_size", DAMAGED, bytes)
            .not_described()
    }

    fn frame_headers(&self) -> Vec<Vector> {
        let layers = self.small();
        let with_frame = |file, what, frame: Frame| {
            let layers = Layers { frames: vec![frame], ..layers.clone() };
            self.within(file, what, &layers, &layers.plaintext())
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
            with_frame(
                "frame-without-checksum.age",
                "a frame without checksum",
                packed_with(CParameter::ChecksumFlag(false)),
            ),
            with_frame(
                "frame-without-size.age",
                "a frame without content size",
                packed_with(CParameter::ContentSizeFlag(false)),
            ),
            with_frame(
                "frame-with-window.age",
                "a frame that is not a single segment",
                packed_with(CParameter::WindowLog(10)),
            ),
            with_frame("frame-with-dictionary.age", "a frame that names a dictionary", dictionary),
            with_frame("frame-checksum-wrong.age", "a frame whose checksum is wrong", checksum),
            with_frame("frame-padded.age", "a frame larger than its content can ever need", padded),
            self.at_the_ends(
                "frame-too-large.age",
                "a frame that holds more than frame_size",
                &large,
                &large.plaintext(),
            ),
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
        vec![
            self.at_the_ends(
                "frame-short.age",
                "a short frame that is not the last",
                &short,
                &short.plaintext(),
            ),
            self.at_the_ends("frames-none.age", "no frame at all", &none, &none.plaintext()),
            self.at_the_ends("frame-empty.age", "a last frame of nothing", &empty, &empty.plaintext()),
            self.at_the_ends("frame-missing.age", "a frame is missing", &missing, &missing.plaintext()),
            self.at_the_ends(
                "frame-repeated.age",
                "a frame is there twice",
                &repeated,
                &repeated.plaintext(),
            ),
            self.at_the_ends(
                "frame-unknown.age",
                "an unknown skippable frame between the data",
                &several,
                &with_seek_table(&unknown),
            ),
            self.at_the_ends(
                "frame-no-frame.age",
                "something that is no frame between the data",
                &several,
                &with_seek_table(&no_frame),
            ),
            self.swapped(),
        ]
    }

    /// Every frame is right, and all of them together are not.
    fn swapped(&self) -> Vector {
        let mut layers = self.several();
        layers.frames.swap(0, 1);
        Vector::failure(
            "frames-swapped.age",
            "two frames in the wrong order",
            "not_a_snapshot",
            self.archive(&layers),
        )
    }

    fn trailers(&self) -> Vec<Vector> {
        let layers = self.small();
        let with = |name: &str, value: &Value| {
            let mut layers = layers.clone();
            layers.trailer[name] = value.clone();
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
        vec![
            self.at_the_ends("trailer-missing.age", "no trailer", &layers, &with_seek_table(&frames[..last])),
            self.at_the_ends("trailer-twice.age", "two trailers", &layers, &with_seek_table(&twice)),
            self.at_the_ends(
                "trailer-duplicate-key.age",
                "a key twice in the trailer",
                &layers,
                &with_seek_table(&duplicate),
            ),
            self.at_the_ends(
                "trailer-size.age",
                "the trailer tells another size",
                &layers,
                &with("snapshot_size", &json!(size + 1)),
            ),
            self.within(
                "trailer-sha256.age",
                "the trailer tells another SHA-256",
                &layers,
                &with("database_sha256", &json!(zeros)),
            ),
            self.within(
                "trailer-absent.age",
                "the trailer calls the digest absent, but it is there",
                &layers,
                &with("digest", &json!("absent")),
            ),
            self.at_the_ends(
                "trailer-digest-unknown.age",
                "the trailer calls the digest something else",
                &layers,
                &with("digest", &json!("assumed")),
            ),
            self.manifest_size(),
        ]
    }

    fn manifest_size(&self) -> Vector {
        let mut layers = self.small();
        layers.set("snapshot_size", &json!(layers.snapshot.len() + 512));
        let plaintext = layers.plaintext();
        self.at_the_ends(
            "manifest-size.age",
            "the manifest tells another size than the trailer",
            &layers,
            &plaintext,
        )
    }

    fn seek_tables(&self) -> Vec<Vector> {
        let layers = self.several();
        let frames = layers.joined();
        let data = concat(&frames);
        let right = entries(&frames);
        let with_table =
            |file, what, table: &[u8]| self.at_the_ends(file, what, &layers, &[&data[..], table].concat());
        let changed = |change: fn(&mut Vec<(u32, u32)>)| {
            let mut entries = right.clone();
            change(&mut entries);
            seek_table(&entries, 0)
        };
        let table = seek_table(&right, 0);
        let mut magic = table.clone();
        *magic.last_mut().unwrap() ^= 1;
        let mut shifted = with_table(
            "seek-table-shifted.age",
            "two sizes are off, their sum is right",
            &changed(|entries| {
                entries[1].0 += 1;
                entries[2].0 -= 1;
            }),
        );
        shifted.entry.inspect = super::Inspect::Success { foreign: false };
        vec![
            shifted,
            with_table(
                "seek-table-off-by-one.age",
                "the size of a frame is off by one",
                &changed(|entries| entries[1].0 += 1),
            ),
            with_table(
                "seek-table-content.age",
                "the content of a frame is off by one",
                &changed(|entries| entries[1].1 -= 1),
            ),
            with_table(
                "seek-table-content-shifted.age",
                "two contents are off, their sum is right",
                &changed(|entries| {
                    entries[1].1 -= 1;
                    entries[3].1 += 1;
                }),
            ),
            with_table("seek-table-few.age", "too few entries", &changed(|entries| entries.truncate(4))),
            with_table(
                "seek-table-no-documents.age",
                "entries for the data alone",
                &changed(|entries| {
                    entries.pop();
                    entries.remove(0);
                }),
            ),
            with_table("seek-table-missing.age", "no seek table", b""),
            with_table(
                "seek-table-checksums.age",
                "a descriptor with Checksum_Flag",
                &seek_table(&right, 0x80),
            ),
            with_table("seek-table-magic.age", "another magic number at the end", &magic),
            with_table("seek-table-cut.age", "the last byte is missing", &table[..table.len() - 1]),
            with_table("seek-table-twice.age", "two seek tables", &[&table[..], &table].concat()),
            with_table("after-seek-table.age", "a byte behind the seek table", &[&table[..], &[0]].concat()),
            with_table(
                "frame-after-seek-table.age",
                "a frame behind the seek table",
                &[&table[..], &pack(b"more").bytes].concat(),
            ),
        ]
    }

    fn snapshots(&self) -> Vec<Vector> {
        let mut wrong = snapshot::zeros(3);
        wrong[9000] ^= 1;
        let text = b"a letter to somebody, not a database\n".repeat(200);
        let cut = snapshot::with_digest(snapshot::database(3, |_| 0)[..2 * PAGE_SIZE + 100].to_vec());
        let mut meta = snapshot::database(3, |_| 0);
        meta[40] ^= 1;
        let sealed = |file, what, kind, snapshot| {
            Vector::failure(file, what, kind, self.archive(&self.layers(snapshot)))
        };
        vec![
            sealed(
                "snapshot-digest-wrong.age",
                "right in every layer, but etcd's digest is not",
                "digest_mismatch",
                wrong,
            ),
            sealed(
                "snapshot-no-database.age",
                "right in every layer, but no snapshot",
                "not_a_snapshot",
                snapshot::with_digest(text),
            ),
            sealed(
                "snapshot-meta-page.age",
                "the checksum of the first meta page is wrong",
                "not_a_snapshot",
                snapshot::with_digest(meta),
            ),
            sealed("snapshot-length.age", "shorter than its first page says", "snapshot_length", cut),
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

    fn bad_pages(&self, file: &str, what: &str, kind: &str, database: Vec<u8>) -> Vector {
        Vector::failure(file, what, kind, self.archive(&self.unclaimed(database)))
    }

    fn good_pages(&self, file: &str, what: &str, database: Vec<u8>) -> Vector {
        let layers = self.unclaimed(database);
        Vector::success(file, what, &layers, self.archive(&layers))
    }

    /// The page from which a database is known.
    pub(super) fn first_pages(&self) -> Vec<Vector> {
        let small = |page_size, pages| {
            let first = Meta::of(0, page_size, pages).page();
            [first, vec![0; pages * page_size]].concat()[..(pages * page_size).max(80)].to_vec()
        };
        let none = "not_a_snapshot";
        vec![
            self.bad_pages(
                "page-size-256.age",
                "pages of 256 bytes",
                none,
                snapshot::database_of(256, 64, |_| 0),
            ),
            self.bad_pages("page-size-6144.age", "a page size that is no power of two", none, small(6144, 4)),
            self.bad_pages("page-size-131072.age", "pages of 128 KiB", none, small(131_072, 2)),
            self.good_pages("page-size-512.age", "pages of 512 bytes", snapshot::database_of(512, 4, |_| 0)),
            self.good_pages(
                "page-size-65536.age",
                "pages of 64 KiB",
                snapshot::database_of(65_536, 3, |_| 0),
            ),
            self.bad_pages("high-water-mark-1.age", "a database of one page", none, small(PAGE_SIZE, 1)),
            self.bad_pages("first-page-number.age", "a first page with another number", none, {
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
                "second-page-high-water-mark-0.age",
                "a newer second page with an impossible high-water mark, which is ignored",
                second(&|meta| meta.high_water_mark = 0),
            ),
            self.good_pages(
                "second-page-other-size.age",
                "a newer second page with another page size, which is ignored",
                second(&|meta| (meta.page_size, meta.high_water_mark) = (8192, 7)),
            ),
            self.good_pages(
                "second-page-older.age",
                "an older second page, which is ignored",
                second(&|meta| {
                    (meta.transaction, meta.high_water_mark) = (7, 9);
                }),
            ),
            self.bad_pages(
                "second-page-newer.age",
                "the newer second page counts more pages",
                "snapshot_length",
                second(&|meta| {
                    meta.high_water_mark = 4;
                }),
            ),
            self.bad_pages(
                "second-page-number.age",
                "a second page with another number",
                none,
                second(&|meta| meta.id = 2),
            ),
            self.bad_pages(
                "second-page-type.age",
                "a second page that calls itself a leaf",
                none,
                second(&|meta| meta.flags = 2),
            ),
        ]
    }

    /// What manifest and trailer say of the database, and the database does not bear out.
    fn claims(&self) -> Vec<Vector> {
        let sealed = |file, what, change: &dyn Fn(&mut Layers)| {
            let mut layers = self.small();
            change(&mut layers);
            Vector::failure(file, what, MISMATCH, self.archive(&layers))
        };
        let at_the_ends =
            |file, what, change: &dyn Fn(&mut Layers)| sealed(file, what, change).inspect_fails(MISMATCH);
        let other_member = json!("0123456789abcdef");
        let mut unreadable = snapshot::database(3, |_| 0);
        // The flags of the page of buckets, which is no leaf any more.
        unreadable[2 * PAGE_SIZE + 8] = 0;
        let unreadable = self.layers(snapshot::with_digest(unreadable));
        vec![
            at_the_ends(
                "claims-revision.age",
                "the database ends before the revision of the manifest",
                &|layers| {
                    layers.set("revision", &json!(43));
                },
            ),
            at_the_ends(
                "claims-revision-after.age",
                "the database ends behind the revision after it",
                &|layers| {
                    layers.trailer["status_after"]["revision"] = json!(41);
                },
            ),
            at_the_ends("claims-member.age", "the member is none of those in the database", &|layers| {
                layers.set("member_id", &other_member);
            }),
            at_the_ends("claims-size.age", "the snapshot is larger than the database after it", &|layers| {
                layers.trailer["status_after"]["database_size"] = json!(3 * PAGE_SIZE - 1);
            }),
            sealed(
                "claims-contents.age",
                "the trailer knows of a compaction that the database lacks",
                &|layers| {
                    layers.trailer["contents"]["compact_revision"] = json!(7);
                },
            ),
            Vector::failure(
                "claims-unreadable.age",
                "the database has no buckets, and so no revision",
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
        let (manifest, trailer) = (with_manifest_of(LIMIT), with_trailer_of(LIMIT));
        vec![
            Vector::success("manifest-largest.age", "the largest manifest", &manifest, made(&manifest)),
            Vector::success("trailer-largest.age", "the largest trailer", &trailer, made(&trailer)),
            Vector::failure_at_the_ends(
                "manifest-too-large.age",
                "too large a manifest",
                DAMAGED,
                made(&with_manifest_of(LIMIT + 1)),
            ),
            Vector::failure_at_the_ends(
                "trailer-too-large.age",
                "too large a trailer",
                DAMAGED,
                made(&with_trailer_of(LIMIT + 1)),
            ),
        ]
    }
}

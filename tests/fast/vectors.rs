//! The test vectors of the archive format: files that must open for ever, and files that must be refused for ever.
//!
//! tests/vectors/README.md explains them. They are made again only where `ETCD_SEAL_WRITE_VECTORS` is set.

#[path = "../vectors/maker/mod.rs"]
mod maker;

use std::collections::BTreeSet;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use harness::can;
use harness::needs;
use harness::sandbox::Sandbox;

use self::maker::example::Example;
use self::maker::index::{Entry, Foreign, Index, Inspect, Look, Open};
use self::maker::{KEY, Maker, SECOND_KEY, Vector};
use age::secrecy::{ExposeSecret as _, SecretString};
use etcd_seal::Watch;
use etcd_seal::low_level::archive::frame::{FramePacker, MANIFEST_MAGIC, TRAILER_MAGIC, skippable};
use etcd_seal::low_level::archive::header::seal;
use etcd_seal::low_level::archive::manifest::{Digest, Trailer, parse, parse_manifest, to_json};
use etcd_seal::low_level::archive::payload::{PayloadKey, Position, TAG_SIZE};
use etcd_seal::low_level::archive::seek_table::SeekTable;
use etcd_seal::low_level::keys::{
    DEFAULT_MAX_WORK_FACTOR, Identities, KeyFile, NoPrompt, Recipients, SharedPrompt,
};
use etcd_seal::low_level::pipeline::inspect::{Inside, inspect};
use etcd_seal::low_level::pipeline::open::{self, Opened};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

const WRITE: &str = "ETCD_SEAL_WRITE_VECTORS";
const INDEX: &str = "index.json";
/// Files that are no vectors.
const BESIDE: [&str; 4] = [INDEX, "README.md", KEY, SECOND_KEY];
/// All files together stay below this, so that they can be copied into other projects.
const TOTAL_SIZE_MAX: u64 = 3 << 19;

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

fn read(name: &str) -> Vec<u8> {
    std::fs::read(directory().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn index() -> Vec<Entry> {
    serde_json::from_slice::<Index>(&read(INDEX)).unwrap().vectors
}

#[test]
fn every_vector_comes_to_what_the_index_says() {
    if std::env::var_os(WRITE).is_some() {
        write_vectors();
    }
    let differences: Vec<String> =
        index().iter().filter_map(|entry| difference(entry, &read(&entry.file))).collect();
    assert!(differences.is_empty(), "\n{}", differences.join("\n"));
}

#[test]
fn what_is_made_anew_comes_to_the_same() {
    let maker = maker();
    let differences: Vec<String> = (maker.files().iter().chain(&maker.large()))
        .filter_map(|vector| difference(&vector.entry, &vector.bytes))
        .collect();
    assert!(differences.is_empty(), "\n{}", differences.join("\n"));
}

/// The library writes every layer of the worked example as etcd-seal-archive(5) shows it, all but what is random.
#[test]
fn the_worked_example_is_what_is_written() {
    let example = Example::of_the_page();
    assert_eq!(read("worked-example.age"), example.file());
    let manifest = parse_manifest(example.manifest.as_bytes(), None).unwrap().content;
    let trailer = parse::<Trailer>(example.trailer.as_bytes(), "trailer").unwrap().content;
    let description = &manifest.description;
    let mut frame = Vec::new();
    let mut packer = FramePacker::new(description.level, description.frame_size).unwrap();
    packer.pack(&example.snapshot, &mut frame).unwrap();
    assert_eq!(hex::encode(&frame), hex::encode(&example.frame));

    let manifest_json = to_json(&manifest, usize::MAX, "manifest").unwrap();
    let trailer_json = to_json(&trailer, usize::MAX, "trailer").unwrap();
    assert_eq!(String::from_utf8(manifest_json.clone()).unwrap(), example.manifest);
    assert_eq!(String::from_utf8(trailer_json.clone()).unwrap(), example.trailer);
    let manifest_frame = skippable(MANIFEST_MAGIC, &manifest_json).unwrap();
    let trailer_frame = skippable(TRAILER_MAGIC, &trailer_json).unwrap();
    let mut table = SeekTable::default();
    table.push(manifest_frame.len(), 0).unwrap();
    table.push(frame.len(), u32::try_from(example.snapshot.len()).unwrap()).unwrap();
    table.push(trailer_frame.len(), 0).unwrap();
    let table = table.to_frame().unwrap();
    assert_eq!(hex::encode(&table), hex::encode(&example.seek_table));

    let mut chunk = [manifest_frame, frame, trailer_frame, table, vec![0; TAG_SIZE]].concat();
    let key = PayloadKey::derive(&example.file_key, &example.nonce);
    key.cipher().seal(0, Position::Last, &mut chunk).unwrap();
    assert_eq!(hex::encode(chunk), hex::encode(&example.payload));

    let prompt: SharedPrompt = Arc::new(NoPrompt);
    let recipients = Recipients::parse(&manifest.recipients, &[], &prompt).unwrap();
    let header = String::from_utf8_lossy(&seal(&recipients, Some(description)).unwrap().bytes).into_owned();
    let stanza = |header: &str| {
        let (_, stanza) = header.split_once("-> etcd-snapshot ").unwrap();
        stanza.lines().take_while(|line| !line.starts_with('-')).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(stanza(&header), stanza(&example.header));
}

#[test]
fn index_and_directory_hold_the_same() {
    if std::env::var_os(WRITE).is_some() {
        return;
    }
    let named: Vec<String> = index().into_iter().map(|entry| entry.file).collect();
    let mut expected: BTreeSet<String> = named.iter().cloned().collect();
    assert_eq!(expected.len(), named.len(), "the index names a file twice");
    expected.extend(BESIDE.map(str::to_owned));
    let mut total = 0;
    let mut present = BTreeSet::new();
    for file in std::fs::read_dir(directory()).unwrap().map(Result::unwrap) {
        if file.file_type().unwrap().is_file() {
            total += file.metadata().unwrap().len();
            present.insert(file.file_name().into_string().unwrap());
        }
    }
    assert_eq!(present, expected);
    assert!(total < TOTAL_SIZE_MAX, "{total} bytes");
    let made: BTreeSet<String> = maker().files().into_iter().map(|vector| vector.entry.file).collect();
    assert_eq!(
        made,
        named.into_iter().collect(),
        "files that nothing here makes, or that were never written"
    );
}

#[test]
fn stock_tools_make_the_same_of_every_success() {
    needs!(can("age", &["--version"]) && can("zstd", &["--version"]));
    for entry in index() {
        let Open::Success { snapshot_size, snapshot_sha256, foreign, .. } = &entry.open else { continue };
        // Without an identity file age asks a terminal for the passphrase.
        let Some(identity) = &entry.identity else { continue };
        let sandbox = Sandbox::new();
        let age = sandbox.program("age").args(["-d", "-i"]).arg(directory().join(identity));
        let plaintext = age.input(read(&entry.file)).succeed().stdout;
        let snapshot = if foreign.is_some_and(|foreign| !foreign.zstd) {
            plaintext
        } else {
            sandbox.program("zstd").args(["-d", "-c", "-q"]).input(plaintext).succeed().stdout
        };
        assert_eq!(snapshot.len() as u64, *snapshot_size, "{}", entry.file);
        assert_eq!(hex::encode(Sha256::digest(&snapshot)), *snapshot_sha256, "{}", entry.file);
    }
}

fn identities(entry: &Entry) -> Identities {
    let prompt: SharedPrompt = Arc::new(NoPrompt);
    match (&entry.identity, &entry.passphrase) {
        (Some(name), None) => {
            let file = KeyFile { name: name.clone(), text: Zeroizing::new(read(name)) };
            Identities::parse(vec![file], &prompt, DEFAULT_MAX_WORK_FACTOR).unwrap()
        }
        (None, Some(passphrase)) => {
            Identities::passphrase(SecretString::from(passphrase.as_str()), DEFAULT_MAX_WORK_FACTOR)
        }
        _ => panic!("{}: either an identity or a passphrase", entry.file),
    }
}

/// What came of an archive otherwise than it should.
fn difference(entry: &Entry, bytes: &[u8]) -> Option<String> {
    let identities = identities(entry);
    let expected = (&entry.open, &entry.inspect, &entry.look);
    let (opened, opened_error) = opened(entry, bytes, &identities);
    let actual = (&opened, &inspected(bytes, &identities), &looked(bytes));
    // A range is compared only where the index knows one.
    let range_known = matches!(&entry.open, Open::Failure { damaged: Some(_), .. });
    let same_open = match (&opened, &entry.open) {
        (Open::Failure { kind, .. }, Open::Failure { kind: other, .. }) if !range_known => kind == other,
        (actual, expected) => actual == expected,
    };
    let same = same_open && actual.1 == expected.1 && actual.2 == expected.2;
    (!same).then(|| {
        format!(
            "{}: {}\n  expected {expected:?}\n  actual   {actual:?}\n  {opened_error}",
            entry.file, entry.what
        )
    })
}

fn opened(entry: &Entry, mut bytes: &[u8], identities: &Identities) -> (Open, String) {
    let options =
        open::Options { jobs: 2, allow_missing_digest: entry.allow_missing_digest, file_digest: true };
    let mut snapshot = Vec::new();
    let archive_sha256: [u8; 32] = Sha256::digest(bytes).into();
    match open::open(&mut bytes, identities, &options, &mut snapshot, &Watch::default()) {
        Ok(opened) => {
            assert_eq!(opened.visible.archive_sha256, Some(archive_sha256), "{}", entry.file);
            assert_eq!(opened.snapshot_size, snapshot.len() as u64, "{}", entry.file);
            (facts(&opened, &snapshot), String::new())
        }
        Err(error) => {
            let damaged = error.damaged().map(|range| (range.start, range.end));
            (Open::Failure { kind: error.kind().name().to_owned(), damaged }, error.to_string())
        }
    }
}

fn facts(opened: &Opened, snapshot: &[u8]) -> Open {
    let digest = match opened.digest {
        Digest::Verified => "verified",
        Digest::Absent => "absent",
    };
    Open::Success {
        snapshot_size: opened.snapshot_size,
        snapshot_sha256: hex::encode(Sha256::digest(snapshot)),
        digest: digest.to_owned(),
        frames: opened.frames,
        manifest: opened.manifest.as_ref().map(|manifest| serde_json::to_value(manifest).unwrap()),
        foreign: opened.foreign.map(|foreign| Foreign { armored: foreign.armored, zstd: foreign.zstd }),
    }
}

fn inspected(bytes: &[u8], identities: &Identities) -> Inspect {
    match inspect(&mut Cursor::new(bytes), Some(identities)) {
        Ok(inspected) => Inspect::Success { foreign: matches!(inspected.inside, Some(Inside::Foreign(_))) },
        Err(error) => Inspect::Failure { kind: error.kind().name().to_owned() },
    }
}

fn looked(mut bytes: &[u8]) -> Look {
    match open::look(&mut bytes, &Watch::default()) {
        Ok(visible) => Look::Success {
            stanzas: visible.stanzas,
            cluster_name: visible.description.and_then(|description| description.cluster_name),
        },
        Err(error) => Look::Failure { kind: error.kind().name().to_owned() },
    }
}

fn maker() -> Maker {
    Maker { first: recipient(KEY), second: recipient(SECOND_KEY) }
}

fn recipient(name: &str) -> age::x25519::Recipient {
    let text = String::from_utf8(read(name)).unwrap();
    let line = text.lines().find(|line| line.starts_with("AGE-SECRET-KEY-1")).unwrap();
    line.parse::<age::x25519::Identity>().unwrap().to_public()
}

/// What a vector is, without what depends on how it was made: sizes of headers differ.
fn promise(entry: &Entry) -> serde_json::Value {
    let mut promise = serde_json::to_value(entry).unwrap();
    promise["open"].as_object_mut().unwrap().remove("damaged");
    promise
}

/// Adds the vectors that are not there, and replaces those that must come to something else. The others stay, and the keys,
/// so that copies of older vectors still open with them.
fn write_vectors() {
    for name in [KEY, SECOND_KEY] {
        if !directory().join(name).exists() {
            let identity = age::x25519::Identity::generate();
            let text = format!(
                "# for test vectors only: this key is public\n# public key: {}\n{}\n",
                identity.to_public(),
                identity.to_string().expose_secret()
            );
            std::fs::write(directory().join(name), text).unwrap();
        }
    }
    let old = if directory().join(INDEX).exists() { index() } else { vec![] };
    let mut vectors = Vec::new();
    for Vector { entry, bytes } in maker().files() {
        let path = directory().join(&entry.file);
        let kept = old.iter().find(|old| promise(old) == promise(&entry) && path.exists());
        if kept.is_none() {
            std::fs::write(path, bytes).unwrap();
        }
        vectors.push(kept.cloned().unwrap_or(entry));
    }
    for gone in old.iter().filter(|old| vectors.iter().all(|entry| entry.file != old.file)) {
        // A file that is gone already is what this is for.
        let _ = std::fs::remove_file(directory().join(&gone.file));
    }
    let index = Index { vectors };
    let json = serde_json::to_string_pretty(&index).unwrap();
    std::fs::write(directory().join(INDEX), json + "\n").unwrap();
}

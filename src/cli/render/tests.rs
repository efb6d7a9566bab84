use super::json::failure::Failure;
use super::json::{Report, json_line};
use super::text::Text;
use super::text::failure::failure_text;
use super::text::units::{exact_size, seconds};
use super::*;
use crate::archive::manifest::{
    self, Description, Digest, FORMAT, FORMAT_VERSION, Manifest, Source, StatusAfter, Trailer,
};
use crate::archive::member::{Condition, Tls};
use crate::cli::exit::Exit;
use crate::cli::terminal::printable::is_tricky;
use crate::cli::terminal::style::Style;
use crate::database::kubernetes::{Counts, Encryption, Kubernetes};
use crate::database::stream_check::StreamFacts;
use crate::error::{Error, Kind};
use crate::pipeline::inspect::{Inside, Inspected};
use crate::pipeline::open::{Foreign, Opened, Visible};
use crate::pipeline::seal::Sealed;
use crate::store::Published;
use std::io;
use std::path::Path;
use std::time::Duration;

fn manifest() -> Manifest {
    Manifest {
        description: Description {
            format: FORMAT.to_owned(),
            format_version: FORMAT_VERSION,
            tool: "etcd-seal 0.1.0".to_owned(),
            sealed_at: "2026-01-02T03:04:06Z".to_owned(),
            cluster_name: Some("prod\u{1b}[2J\u{202e}".to_owned()),
            cluster_id: Some("cdf818194e3a8c32".to_owned()),
            member_id: Some("8e9e05c52164694d".to_owned()),
            etcd_version: Some("3.5.30".to_owned()),
            storage_version: None,
            revision: Some(123),
            snapshot_size: Some(624_459_808),
            frame_size: 4 << 20,
            level: 1,
            source: Source::Etcd,
            snapshot_started_at: Some("2026-01-02T03:04:05Z".to_owned()),
        },
        endpoint: Some("https://10.0.0.1:2379".to_owned()),
        member_name: Some("a".to_owned()),
        tls: Some(Tls::Verified),
        conditions: vec![Condition::Nospace { member_id: "8e9e05c52164694d".to_owned() }],
        host: Some("backup".to_owned()),
        tags: vec!["nightly".to_owned(), "two\nlines".to_owned()],
        note: Some("before the upgrade".to_owned()),
        recipients: vec!["age1x".to_owned(), "ssh-ed25519 SHA256:y".to_owned()],
    }
}

fn trailer(digest: Digest) -> Trailer {
    Trailer {
        contents: Some(manifest::Contents {
            revision: 124,
            compact_revision: Some(100),
            members: vec!["fedcba9876543210".to_owned()],
            downgrade: None,
            kubernetes: Some((&Kubernetes::Counted(counts())).into()),
        }),
        snapshot_size: 624_459_808,
        database_sha256: "ab".repeat(32),
        digest,
        status_after: Some(StatusAfter {
            revision: 125,
            raft_term: 2,
            raft_index: 140,
            database_size: Some(624_459_776),
            conditions: vec![Condition::other("says \u{1b}[2J"), Condition::Lagging { behind: 5001 }],
        }),
        stream_open_ms: Some(1234),
    }
}

fn visible() -> Visible {
    Visible {
        description: Some(manifest().description),
        stanzas: vec!["X25519".to_owned(), "ssh-ed25519".to_owned()],
        armored: false,
        header_size: 900,
        archive_size: 146_000_000,
        archive_sha256: Some([0xcd; 32]),
    }
}

/// Twelve Secrets, two of them in plain, and an older key.
fn counts() -> Counts {
    let encryption = |name: &str, resource: &str| {
        let [provider, name, resource] = ["aescbc", name, resource].map(str::to_owned);
        Encryption { provider, version: None, name, resource }
    };
    let mut counts = Counts::default();
    (counts.secrets, counts.plain_secrets) = (12, 2);
    counts.encryption.insert(encryption("key2", "secrets"));
    counts.older_encryption.insert(encryption("key1\u{1b}[2J", "secrets"));
    counts
}

fn opened(digest: Digest) -> Opened {
    Opened {
        facts: Some(StreamFacts {
            revision: 124,
            compacted: Some(100),
            members: vec![0xfedc_ba98_7654_3210],
            downgrade: Some("3.5.0".to_owned()),
            kubernetes: Some(Kubernetes::Counted(counts())),
        }),
        visible: visible(),
        foreign: None,
        manifest: Some(manifest()),
        trailer: Some(trailer(digest)),
        snapshot_size: 624_459_808,
        database_sha256: [0xab; 32],
        digest,
        frames: 149,
    }
}

fn foreign(zstd: bool) -> Opened {
    let seen = Visible { description: None, ..visible() };
    let foreign = Some(Foreign { armored: false, zstd });
    Opened { visible: seen, foreign, manifest: None, trailer: None, frames: 0, ..opened(Digest::Verified) }
}

fn saved(digest: Digest) -> Sealed {
    Sealed {
        manifest: manifest(),
        trailer: trailer(digest),
        archive_size: 146_000_000,
        archive_sha256: [0xcd; 32],
    }
}

#[expect(clippy::unnecessary_wraps, reason = "as reports take it")]
fn published(path: &str, shortfall: Option<Error>) -> Option<Published> {
    Some(Published { path: path.into(), shortfall })
}

const TOOK: Duration = Duration::from_millis(1987);

/// Both forms of a report; the JSON must be one object without duplicate keys.
fn both(report: &(impl Report + Text)) -> String {
    let json = json_line(report);
    assert!(!json.contains('\n'));
    let keys = serde_json::from_str::<Keys>(&json).expect("one JSON object without duplicate keys");
    assert_eq!(keys.0.first().map(String::as_str), Some("ok"));
    format!("{}\n{json}\n", report.text())
}

/// The keys of an object, without duplicates.
struct Keys(Vec<String>);

impl<'de> serde::Deserialize<'de> for Keys {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Keys;
            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("an object")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
                let mut keys: Vec<String> = Vec::new();
                while let Some((key, _)) = map.next_entry::<String, serde_json::Value>()? {
                    if keys.contains(&key) {
                        return Err(serde::de::Error::custom(format!("{key} twice")));
                    }
                    keys.push(key);
                }
                Ok(Keys(keys))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

#[test]
fn save_is_told() {
    let whole =
        both(&SaveReport::new(saved(Digest::Verified), None, published("/backups/x.db.zst.age", None), TOOK));
    let partly = both(&SaveReport::new(saved(Digest::Absent), None, None, TOOK));
    insta::assert_snapshot!(whole + &partly);
}

/// Automatic names included.
#[test]
fn the_result_of_save_is_two_lines_of_80_columns() {
    let mut sealed = saved(Digest::Verified);
    sealed.manifest.conditions.clear();
    sealed.manifest.member_name = Some("etcd-1".to_owned());
    sealed.trailer.status_after = None;
    let path = "/backups/prod-20260102T030405Z-r123456.db.zst.age";
    let contents = sealed.trailer.contents.as_mut().unwrap();
    (contents.revision, contents.kubernetes) = (123_456, None);
    sealed.manifest.description.revision = Some(123_456);
    let text = SaveReport::new(sealed, None, published(path, None), TOOK).text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines.iter().all(|line| line.chars().count() <= 80), "{text}");
    assert_eq!(lines[0], format!("{path}: verified, from \"etcd-1\""));
}

#[test]
fn what_failed_after_the_commit_is_told_with_the_result() {
    let unfinished = || {
        let error = Error::new(Kind::PartlyPublished, "x.age is complete, but the disk is not");
        published("x.age", Some(error))
    };
    let told = both(&SaveReport::new(saved(Digest::Verified), None, unfinished(), TOOK))
        + &both(&SaveReport::new(saved(Digest::Absent), None, unfinished(), TOOK))
        + &both(&RestoreReport::new(opened(Digest::Verified), None, unfinished(), TOOK))
        + &both(&KeygenReport::new("age1x".to_owned(), unfinished()));
    insta::assert_snapshot!(told);
}

#[test]
fn verify_is_told() {
    let path = Some(Path::new("x.db.zst.age"));
    let told = [
        VerifyReport::opened(opened(Digest::Verified), path, SidecarState::Equal, TOOK),
        VerifyReport::opened(opened(Digest::Absent), path, SidecarState::Absent, TOOK),
        VerifyReport::opened(foreign(true), path, SidecarState::EqualUnderAnotherName, TOOK),
        VerifyReport::seen(visible(), path, SidecarState::Equal, TOOK),
        VerifyReport::seen(visible(), None, SidecarState::Absent, TOOK),
    ];
    insta::assert_snapshot!(told.iter().map(both).collect::<String>());
}

#[test]
fn restore_is_told() {
    let archive = Some(Path::new("x.db.zst.age"));
    let told = [
        RestoreReport::new(opened(Digest::Verified), archive, published("snapshot.db", None), TOOK),
        RestoreReport::new(foreign(false), None, None, TOOK),
    ];
    insta::assert_snapshot!(told.iter().map(both).collect::<String>());
}

#[test]
fn info_is_told() {
    let path = Some(Path::new("x.db.zst.age"));
    let ours = Inside::Ours {
        manifest: Box::new(manifest()),
        trailer: Box::new(trailer(Digest::Verified)),
        frames: 149,
    };
    let inspected = |inside| Inspected { visible: visible(), inside };
    let told = [
        InfoReport::inspected(inspected(None), path),
        InfoReport::inspected(inspected(Some(ours)), path),
        InfoReport::inspected(inspected(Some(Inside::Foreign(Foreign { armored: true, zstd: true }))), path),
        InfoReport::opened(foreign(true), None),
        InfoReport::seen(Visible { description: None, ..visible() }, None),
    ];
    insta::assert_snapshot!(told.iter().map(both).collect::<String>());
}

#[test]
fn keygen_and_plans_are_told() {
    let key = both(&KeygenReport::new("age1x".to_owned(), published("key.txt", None)));
    let recipients = vec!["age1x".to_owned(), "age1y".to_owned()];
    let plan =
        Plan::new("save", "a snapshot of a:2379".to_owned(), "a new file in /b".to_owned(), recipients);
    insta::assert_snapshot!(key + &both(&plan));
}

#[test]
fn failures_are_told_with_the_way_out() {
    let cause = io::Error::other("the disk\u{1b}[31m burns");
    let error = Error::new(Kind::PayloadDamaged, "x.age: bytes 100 to 200 are damaged")
        .with_damaged(100..200)
        .with_source(cause);
    let json = json_line(&Failure::new(&error, Exit::Damaged, Some(Path::new("x.age"))));
    let told =
        failure_text(&error, false, Style::default()) + &failure_text(&error, true, Style::default()) + &json;
    insta::assert_snapshot!(told);
}

#[test]
fn json_keeps_values_and_hides_tricks() {
    let text = "a\u{7f}\u{9b}\u{202e}\n\u{1b}é\u{e0001}";
    let line = json_line(&text);
    assert!(!line.contains(is_tricky) && line.contains("\\udb40\\udc01"), "{line}");
    assert_eq!(serde_json::from_str::<String>(&line).unwrap(), text);
}

#[test]
fn sizes_are_for_people() {
    for (bytes, text) in [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1_048_575, "1.0 MiB"),
        (624_459_808, "595.5 MiB"),
        (u64::MAX, "16.0 EiB"),
    ] {
        assert_eq!(size(bytes), text);
    }
    assert_eq!(exact_size(12), "12 bytes");
    assert_eq!(exact_size(2048), "2048 bytes (2.0 KiB)");
    assert_eq!(seconds(61_987), "61.9 s");
    for (seconds, text) in
        [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "119 min"), (7200, "2 h"), (200_000, "2 days")]
    {
        assert_eq!(super::text::units::age(Duration::from_secs(seconds)), text);
    }
}

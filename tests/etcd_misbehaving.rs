//! The source against servers that do what no real etcd can be made to do.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::connection;
use common::fake::Step::{Fail, Hang, Repeat, Send, SendBytes};
use common::fake::{Fake, Script, Step};
use common::sandbox::{Sandbox, finish, finish_with, snapshot};
use etcd_seal::error::{Error, Kind};
use etcd_seal::etcd::{self, Connection, Snapshot};
use etcd_seal::interrupt::Interrupt;
use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;
use tonic::Code;

async fn open(connection: &Connection) -> Result<Snapshot, Error> {
    etcd::open(connection, &Interrupt::new()).await
}

/// Opens and reads to the end; returns how many bytes came.
async fn read(connection: &Connection) -> Result<(Snapshot, u64), Error> {
    let mut snapshot = open(connection).await?;
    let mut length = 0;
    while let Some(bytes) = snapshot.next().await? {
        assert!(!bytes.is_empty());
        length += bytes.len() as u64;
    }
    Ok((snapshot, length))
}

async fn outcome(steps: &[Step]) -> Result<(Snapshot, u64), Error> {
    let fake = Fake::start(Script::of(steps));
    read(&fake.connection()).await
}

async fn failure(steps: &[Step]) -> Error {
    outcome(steps).await.err().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_honest_ending_is_read_to_the_clean_end() {
    for (steps, announced, length) in [
        (&[Send(512, 512), Send(0, 512), Send(0, 32)][..], 1024, 1056),
        (&[Send(544, 512), Send(32, 512), Send(0, 32)][..], 1056, 1056),
        (&[Send(512, 512), Send(0, 544)][..], 1024, 1056),
        (&[Send(512, 512), Send(0, 512), Send(0, 1), Send(0, 31)][..], 1024, 1056),
        (
            &[Send(1024, 0), Send(512, 512), Send(512, 0), Send(0, 512), Send(0, 0), Send(0, 32)][..],
            1024,
            1056,
        ),
    ] {
        let (snapshot, read) = outcome(steps).await.unwrap();
        assert_eq!((snapshot.announced, read), (announced, length));
        assert_eq!(snapshot.storage_version, None);
        assert_eq!(snapshot.member_name, None, "no member list, and no harm done");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_storage_version_is_read_from_the_stream() {
    let fake = Fake::start(Script { version: "3.6.0", ..Script::of(&[Send(0, 512), Send(0, 32)]) });
    let snapshot = open(&fake.connection()).await.ok().unwrap();
    assert_eq!(snapshot.storage_version.as_deref(), Some("3.6.0"));
    assert_eq!((snapshot.status.member_id, snapshot.status.revision), (2, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_messages_without_end_are_a_stall() {
    assert_eq!(failure(&[Send(512, 512), Repeat(512, 0)]).await.kind(), Kind::EtcdStalled);
    assert_eq!(failure(&[Repeat(512, 0)]).await.kind(), Kind::EtcdStalled);
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_a_stall() {
    for script in [
        Script::of(&[Send(512, 512), Hang]),
        Script::of(&[Send(512, 0), Hang]),
        Script { silent_at_snapshot: true, ..Script::of(&[]) },
    ] {
        let fake = Fake::start(script);
        let impatient = Connection { stall_timeout: Duration::from_secs(1), ..fake.connection() };
        let error = read(&impatient).await.err().unwrap();
        assert_eq!(error.kind(), Kind::EtcdStalled, "{error}");
        assert!(error.to_string().starts_with(&fake.address.to_string()), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_ends_a_silence() {
    let fake = Fake::start(Script::of(&[Send(512, 512), Hang]));
    let interrupt = Interrupt::new();
    let mut snapshot = etcd::open(&fake.connection(), &interrupt).await.ok().unwrap();
    snapshot.next().await.unwrap();
    let waiting = tokio::spawn(async move { snapshot.next().await });
    assert!(interrupt.raise());
    assert_eq!(waiting.await.unwrap().unwrap_err().kind(), Kind::Interrupted);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_early_end_is_incomplete() {
    assert_eq!(failure(&[]).await.kind(), Kind::EtcdIncomplete);
    assert_eq!(failure(&[Send(512, 0)]).await.kind(), Kind::EtcdIncomplete);
    let error = failure(&[Send(512, 512), Send(1, 511)]).await;
    assert_eq!(error.kind(), Kind::EtcdIncomplete);
    assert!(error.to_string().ends_with("the snapshot stream ended after 1023 of 1024 bytes"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_in_place_of_the_end_is_incomplete_and_stays_an_error() {
    let fake = Fake::start(Script::of(&[Send(0, 512), Send(0, 32), Fail(Code::Unavailable, "going away")]));
    let mut snapshot = open(&fake.connection()).await.ok().unwrap();
    assert_eq!(snapshot.next().await.unwrap().unwrap().len(), 512);
    assert_eq!(snapshot.next().await.unwrap().unwrap().len(), 32);
    let error = snapshot.next().await.unwrap_err();
    assert_eq!(error.kind(), Kind::EtcdIncomplete);
    assert!(error.to_string().ends_with("broke after 544 of 512 bytes: going away"), "{error}");
    assert_eq!(snapshot.next().await.unwrap_err().kind(), Kind::EtcdIncomplete);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_dies_mid_stream_leaves_it_incomplete() {
    let mut fake = Fake::start(Script::of(&[Send(512, 512), Hang]));
    let mut snapshot = open(&fake.connection()).await.ok().unwrap();
    snapshot.next().await.unwrap();
    fake.die();
    assert_eq!(snapshot.next().await.unwrap_err().kind(), Kind::EtcdIncomplete);
    assert!(snapshot.status_after().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn contradictions_are_a_bad_snapshot() {
    for steps in [
        &[Send(512, 512), Send(513, 1)][..],
        &[Send(512, 512), Send(0, 512), Send(0, 32), Send(0, 1)][..],
        &[Send(512, 512), Repeat(512, 512)][..],
        &[Send(u64::MAX, 512)][..],
        &[Send(u64::MAX - 600, 512)][..],
        // More than a message may carry: it is refused before it is in memory.
        &[Send(8 << 20, 512), Send(0, 8 << 20)][..],
        &[Send(0, 8 << 20)][..],
    ] {
        let error = failure(steps).await;
        assert_eq!(error.kind(), Kind::EtcdBadSnapshot, "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_timeout_bounds_even_a_busy_stream() {
    let fake = Fake::start(Script::of(&[Send(1 << 40, 1), Repeat(1 << 40, 1)]));
    let bounded = Connection { stream_timeout: Some(Duration::from_secs(1)), ..fake.connection() };
    let error = read(&bounded).await.err().unwrap();
    assert_eq!(error.kind(), Kind::EtcdTimeout);
    assert!(error.hint().contains("--command-timeout"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_without_a_first_byte_gives_way_to_the_next() {
    let good = Fake::start(Script::of(&[Send(0, 512), Send(0, 32)]));
    for steps in [&[][..], &[Fail(Code::Unavailable, "not now")][..], &[Send(u64::MAX, 1)][..]] {
        let bad = Fake::start(Script::of(steps));
        let both = connection(&[bad.address.to_string(), good.address.to_string()]);
        assert_eq!(open(&both).await.ok().unwrap().endpoint, good.address.to_string());
    }
    let late = Fake::start(Script::of(&[Send(512, 512), Fail(Code::Unavailable, "not now")]));
    let both = connection(&[late.address.to_string(), good.address.to_string()]);
    assert_eq!(read(&both).await.err().unwrap().kind(), Kind::EtcdIncomplete, "never two streams in one");
}

#[tokio::test(flavor = "multi_thread")]
async fn learners_and_alarmed_members_stand_back() {
    let steps = [Send(0, 512), Send(0, 32)];
    let mut script = Script::of(&steps);
    script.status.is_learner = true;
    let learner = Fake::start(script);
    let mut script = Script::of(&steps);
    script.status.errors = vec!["memberID:2 alarm:CORRUPT".to_owned()];
    let alarmed = Fake::start(script);
    let mut script = Script::of(&steps);
    script.status.leader = 2;
    let leader = Fake::start(script);
    let fakes = [learner, alarmed, leader];
    let [learner, alarmed, leader] = fakes.each_ref().map(|fake| fake.address.to_string());

    let chosen =
        async |endpoints: &[&String]| open(&connection(endpoints)).await.map(|snapshot| snapshot.endpoint);
    assert_eq!(chosen(&[&learner, &alarmed, &leader]).await.unwrap(), leader);
    assert_eq!(chosen(&[&learner, &alarmed]).await.unwrap(), alarmed);
    assert_eq!(chosen(&[&learner]).await.unwrap(), learner);
    let dead = common::dead_address();
    assert_eq!(chosen(&[&learner, &dead]).await.unwrap_err().kind(), Kind::EtcdUnreachable);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_never_answers_is_given_up() {
    let silent = Fake::start(Script { silent_at_status: true, ..Script::of(&[]) });
    let impatient = Connection { command_timeout: Duration::from_secs(1), ..silent.connection() };
    let error = open(&impatient).await.err().unwrap();
    assert_eq!(error.kind(), Kind::EtcdTimeout);
    assert!(error.hint().contains("--command-timeout"), "{}", error.hint());

    // A listener whose connections nobody accepts: TCP connects, TLS does not.
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("https://{}", deaf.local_addr().unwrap());
    let impatient = Connection {
        dial_timeout: Duration::from_secs(1),
        insecure_skip_tls_verify: true,
        ..connection(&[&endpoint])
    };
    let error = open(&impatient).await.err().unwrap();
    assert_eq!(error.kind(), Kind::EtcdTimeout);
    assert!(error.hint().contains("--dial-timeout"), "{}", error.hint());

    let interrupt = Interrupt::new();
    let raiser = interrupt.clone();
    let opening = tokio::spawn(async move { etcd::open(&silent.connection(), &interrupt).await.err() });
    assert!(raiser.raise());
    assert_eq!(opening.await.unwrap().unwrap().kind(), Kind::Interrupted);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_tells_most_is_told_and_everybody_is_named() {
    let denying = Fake::start(Script::of(&[Fail(Code::PermissionDenied, "etcdserver: permission denied")]));
    let dead = common::dead_address();
    let error = open(&connection(&[dead.clone(), denying.address.to_string()])).await.err().unwrap();
    assert_eq!(error.kind(), Kind::EtcdAuthentication);
    assert!(error.to_string().contains(&dead), "{error}");
    assert!(error.to_string().contains(&denying.address.to_string()), "{error}");
}

/// Everything a member can get wrong, with what is wrong about it. The snapshot is good where nothing else is said.
fn misbehaviours() -> Vec<(&'static str, Script)> {
    let good = snapshot(400);
    let database = good.len() - 32;
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        bytes
    };
    let all = |bytes: &[u8]| Script::sending(bytes, database, &[]);
    let half = &good[..good.len() / 2];
    vec![
        ("an end at once", Script::of(&[])),
        ("an error at once", Script::of(&[Fail(Code::Unavailable, "not now")])),
        ("silence at once", Script::of(&[Hang])),
        ("no answer to the request", Script { silent_at_snapshot: true, ..all(&good) }),
        ("no answer to the status", Script { silent_at_status: true, ..all(&good) }),
        ("empty messages only", Script::of(&[Repeat(database as u64, 0)])),
        ("silence in the middle", Script::sending(half, database, &[Hang])),
        (
            "empty messages in the middle",
            Script::sending(half, database, &[Repeat((good.len() / 2) as u64, 0)]),
        ),
        (
            "an error in the middle",
            Script::sending(half, database, &[Fail(Code::Internal, "\u{1b}[31mdisk\nfault")]),
        ),
        ("an end in the middle", all(half)),
        ("an end at a page", all(&good[..100 * 4096])),
        ("no digest", all(&good[..database])),
        ("half a digest", all(&good[..database + 16])),
        ("a byte less", all(&good[..good.len() - 1])),
        ("a byte more", all(&with(&|bytes| bytes.push(0)))),
        ("two digests", all(&with(&|bytes| bytes.extend_from_within(database..)))),
        ("a page more", all(&with(&|bytes| bytes.extend_from_within(..4096)))),
        ("the snapshot twice", all(&with(&|bytes| bytes.extend_from_within(..)))),
        ("a wrong digest", all(&with(&|bytes| bytes[database] ^= 1))),
        ("a flipped bit", all(&with(&|bytes| bytes[database / 2] ^= 1))),
        ("a flipped bit in the last page", all(&with(&|bytes| bytes[database - 1] ^= 1))),
        ("a page left out", all(&with(&|bytes| drop(bytes.drain(100 * 4096..101 * 4096))))),
        ("two pages in the wrong order", all(&with(&|bytes| bytes[50 * 4096..52 * 4096].rotate_left(4096)))),
        ("no database", all(&vec![7; good.len()])),
        ("zeros", all(&vec![0; good.len()])),
        (
            "an error after all of it",
            Script::sending(&good, database, &[Fail(Code::Unavailable, "going away")]),
        ),
        ("silence after all of it", Script::sending(&good, database, &[Hang])),
        ("messages after all of it", Script::sending(&good, database, &[Repeat(0, 1)])),
        ("more left than before", Script::sending(half, database, &[Send(database as u64, 512)])),
    ]
}

/// The program with short patience and small frames, so that much of a bad stream comes out before its end.
fn impatient(sandbox: &Sandbox, fake: &Fake) -> Command {
    let mut save = sandbox.save();
    save.args(["--endpoints", &fake.address.to_string(), "--stall-timeout", "1s", "--command-timeout", "5s"]);
    save.args(["--frame-size", "64KiB", "--jobs", "1"]);
    save
}

#[test]
fn after_every_misbehaviour_nothing_is_left_and_nothing_passes_for_an_archive() {
    let sandbox = Sandbox::new();
    let is_age = Command::new("age").arg("--version").output().is_ok();
    let mut came_out = 0;
    for (what, script) in misbehaviours() {
        let fake = Fake::start(script);
        let told = finish(impatient(&sandbox, &fake).arg("--json").arg(sandbox.backups()));
        assert_eq!(told.code, 14, "{what}: {told:?}");
        assert!(sandbox.names().is_empty(), "{what}: {:?}", sandbox.names());
        let failure: serde_json::Value = serde_json::from_slice(&told.stdout).unwrap();
        assert!(failure["kind"].as_str().unwrap().starts_with("etcd"), "{what}: {failure}");
        assert!(failure["error"].as_str().unwrap().contains(&fake.address.to_string()), "{what}: {failure}");

        let piped = finish(impatient(&sandbox, &fake).arg("-").arg("-v"));
        assert_eq!(piped.code, 14, "{what}: {}", piped.err());
        assert!(!piped.err().contains('\u{1b}'), "{what}: {:?}", piped.err());
        came_out = came_out.max(piped.stdout.len());
        if is_age {
            let mut age = Command::new("age");
            age.arg("-d").arg("-i").arg(sandbox.identity()).args(["-o", "/dev/null"]);
            assert_ne!(finish_with(&mut age, &piped.stdout).code, 0, "{what}: stock age takes it");
        }
        let _ = finish_with(sandbox.open("verify").arg("-"), &piped.stdout).with(13);
        let _ = finish_with(sandbox.program().args(["verify", "-"]), &piped.stdout);
    }
    assert!(came_out > 1_000_000, "much of some archive came out before it was known to be bad: {came_out}");
}

#[test]
fn honest_members_of_every_kind_are_believed() {
    let good = snapshot(400);
    let database = good.len() - 32;
    let (pages, digest) = good.split_at(database);
    let last = |steps: &[Step]| Script::sending(pages, database, steps);
    for script in [
        last(&[SendBytes(0, digest.to_vec())]),
        // The digest counts as something that is left.
        Script::sending(pages, good.len(), &[SendBytes(0, digest.to_vec())]),
        last(&[
            Send(0, 0),
            SendBytes(0, digest[..1].to_vec()),
            Send(0, 0),
            SendBytes(0, digest[1..].to_vec()),
        ]),
        Script::sending(&good, database, &[]),
        Script::sending(&good, good.len(), &[]),
        Script::sending(&good, good.len(), &[Send(0, 0)]),
    ] {
        let sandbox = Sandbox::new();
        let fake = Fake::start(script);
        let _ = finish(impatient(&sandbox, &fake).arg(sandbox.backups())).with(0);
        let restored = finish(sandbox.open("restore").arg(sandbox.archive()).args(["-o", "-"])).with(0);
        assert!(restored.stdout == good, "byte for byte");
    }
}

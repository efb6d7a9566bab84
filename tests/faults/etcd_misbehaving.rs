//! The source against servers that do what no real etcd can be made to do.

use etcd_client::proto::{PbResponseHeader, PbStatusResponse};
use etcd_seal::low_level::error::{Error, Kind};
use etcd_seal::low_level::etcd::{self, Connection, Snapshot};
use etcd_seal::low_level::interrupt::Interrupt;
use harness::fake::Step::{Fail, Hang, Repeat, Send, SendBytes};
use harness::fake::{Ending, Fake, Script, Step};
use harness::program::{Outcome, Program};
use harness::sandbox::Sandbox;
use harness::snapshots::{PAGE_SIZE, random, snapshot_of, with_digest};
use harness::{ConnectionExt, connection};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::marker;
use std::net::{SocketAddr, TcpListener};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tonic::Code;

/// Bytes of etcd's digest at the end of a snapshot.
const DIGEST_SIZE: usize = 32;

/// The patience of those who are tried here.
const SECOND: Duration = Duration::from_secs(1);

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
        (&[Send(1024, 0), Send(512, 512), Send(512, 0), Send(0, 512), Send(0, 0), Send(0, 32)], 1024, 1056),
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
        let impatient = fake.connection().with(|connection| connection.stall_timeout = SECOND);
        let error = read(&impatient).await.err().unwrap();
        assert_eq!(error.kind(), Kind::EtcdStalled, "{error}");
        assert!(error.to_string().starts_with(&fake.address.to_string()), "{error}");
    }
}

/// Messages of `length` bytes, each after `pause`.
fn slowly(count: usize, length: usize, pause: Duration) -> Vec<Step> {
    let left = |sent: usize| ((count - sent) * length) as u64;
    (1..=count).flat_map(|sent| [Step::Wait(pause), Send(left(sent), length)]).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_drips_is_given_up_and_a_slow_one_is_not() {
    let with = |fake: &Fake, rate| {
        fake.connection().with(|change| (change.stall_timeout, change.min_rate) = (SECOND, rate))
    };
    // A byte each 50 ms never stands still, and would take a minute; so do pauses nearly as long as the stall timeout.
    let fake = Fake::start(Script::of(&slowly(1200, 1, Duration::from_millis(50))));
    let pauses = Fake::start(Script::of(&slowly(60, 1, Duration::from_millis(700))));
    for fake in [&fake, &pauses] {
        let began = Instant::now();
        let error = read(&with(fake, 64 * 1024)).await.err().unwrap();
        assert_eq!(error.kind(), Kind::EtcdStalled, "{error}");
        assert!(error.to_string().contains("drips") && error.hint().contains("`min_rate`"), "{error}");
        assert!(error.to_string().starts_with(&fake.address.to_string()), "{error}");
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    }
    let unbounded = with(&fake, 0);
    let reading = tokio::time::timeout(Duration::from_secs(4), read(&unbounded)).await;
    assert!(reading.is_err(), "0 is no bound");

    // Above the bound for several windows; and less than one window brings, in less time.
    let honest = Fake::start(Script::of(&slowly(80, 8 * 1024, Duration::from_millis(50))));
    assert_eq!(read(&with(&honest, 64 * 1024)).await.unwrap().1, 80 * 8 * 1024);
    let small = Fake::start(Script::of(&slowly(5, 32, Duration::from_millis(100))));
    assert_eq!(read(&with(&small, 64 * 1024)).await.unwrap().1, 5 * 32);
}

/// What we do not take is not what the member does not send.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_is_no_drip() {
    let fake = Fake::start(Script::of(&slowly(40, 4 * 1024, Duration::from_millis(10))));
    let change = |change: &mut Connection| (change.stall_timeout, change.min_rate) = (SECOND, 64 * 1024);
    let mut snapshot = open(&fake.connection().with(change)).await.unwrap();
    let mut length = 0;
    while let Some(bytes) = snapshot.next().await.unwrap() {
        length += bytes.len();
        // 40 KiB a second.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(length, 40 * 4 * 1024);
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
    assert!(snapshot.status_after().await.unwrap().is_none());
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
    let bounded = fake.connection().with(|connection| connection.stream_timeout = Some(SECOND));
    let error = read(&bounded).await.err().unwrap();
    assert_eq!(error.kind(), Kind::EtcdTimeout);
    assert!(error.hint().contains("`command_timeout`"));
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
    let changes: [fn(&mut PbStatusResponse); 4] = [
        |status| status.is_learner = true,
        |status| status.errors = vec!["memberID:2 alarm:CORRUPT".to_owned()],
        |status| status.leader = 0,
        |status| status.leader = 2,
    ];
    let fakes = changes.map(|change| {
        let mut script = Script::of(&[Send(0, 512), Send(0, 32)]);
        change(&mut script.status);
        Fake::start(script)
    });
    let [learner, alarmed, cut_off, leader] = fakes.each_ref().map(|fake| fake.address.to_string());

    let chosen =
        async |endpoints: &[&String]| open(&connection(endpoints)).await.map(|snapshot| snapshot.endpoint);
    assert_eq!(chosen(&[&learner, &alarmed, &cut_off, &leader]).await.unwrap(), leader);
    assert_eq!(chosen(&[&learner, &alarmed, &cut_off]).await.unwrap(), cut_off);
    assert_eq!(chosen(&[&learner, &alarmed]).await.unwrap(), alarmed);
    assert_eq!(chosen(&[&learner]).await.unwrap(), learner);
    let dead = harness::dead_address();
    assert_eq!(chosen(&[&learner, &dead]).await.unwrap_err().kind(), Kind::EtcdUnreachable);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_never_answers_is_given_up() {
    let silent = Fake::start(Script { silent_at_status: true, ..Script::of(&[]) });
    let impatient = silent.connection().with(|connection| connection.command_timeout = SECOND);
    let error = open(&impatient).await.err().unwrap();
    assert_eq!(error.kind(), Kind::EtcdTimeout);
    assert!(error.hint().contains("`command_timeout`"), "{}", error.hint());

    // A listener whose connections are not accepted: TCP connects, TLS does not.
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("https://{}", deaf.local_addr().unwrap());
    let impatient = connection(&[&endpoint]).unverified().with(|change| change.dial_timeout = SECOND);
    let error = open(&impatient).await.err().unwrap();
    assert_eq!(error.kind(), Kind::EtcdTimeout);
    assert!(error.hint().contains("`dial_timeout`"), "{}", error.hint());

    let interrupt = Interrupt::new();
    let raiser = interrupt.clone();
    let opening = tokio::spawn(async move { etcd::open(&silent.connection(), &interrupt).await.err() });
    assert!(raiser.raise());
    assert_eq!(opening.await.unwrap().unwrap().kind(), Kind::Interrupted);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_tells_most_is_told_and_every_endpoint_is_named() {
    let denying = Fake::start(Script::of(&[Fail(Code::PermissionDenied, "etcdserver: permission denied")]));
    let dead = harness::dead_address();
    let error = open(&connection(&[dead.clone(), denying.address.to_string()])).await.err().unwrap();
    assert_eq!(error.kind(), Kind::EtcdAuthentication);
    assert!(error.to_string().contains(&dead), "{error}");
    assert!(error.to_string().contains(&denying.address.to_string()), "{error}");
}

/// A snapshot of which the first pages do not shrink, so that much of it comes out early, and no two are the same.
fn recognizable_snapshot() -> Vec<u8> {
    const NOISE: usize = 280;
    let mut data = random(NOISE * PAGE_SIZE);
    for page in NOISE..PAGES {
        data.extend(page.to_le_bytes().repeat(PAGE_SIZE / size_of::<usize>()));
    }
    snapshot_of(&data)
}

/// Pages of data in it.
const PAGES: usize = 640;

/// Something a member gets wrong.
struct Fault {
    name: &'static str,
    /// As what it is reported.
    kind: &'static str,
    script: Script,
}

fn of_kind<const COUNT: usize>(kind: &'static str, scripts: [(&'static str, Script); COUNT]) -> Vec<Fault> {
    scripts.map(|(name, script)| Fault { name, kind, script }).into()
}

/// Everything a member can get wrong, with what is wrong about it. The snapshot is good where nothing else is said.
fn faults() -> Vec<Fault> {
    let good = recognizable_snapshot();
    [faults_of_silence, faults_of_ending, faults_of_length, faults_of_content, faults_of_claims]
        .into_iter()
        .flat_map(|faults| faults(&good))
        .collect()
}

/// The member says nothing any more, or nothing of interest.
fn faults_of_silence(good: &[u8]) -> Vec<Fault> {
    let database = good.len() - DIGEST_SIZE;
    let percent = |part: usize| &good[..database / 100 * part];
    let then = |part, step| Script::sending(percent(part), database, &[step]);
    let left_after = |part| (database - percent(part).len()) as u64;
    let silent_at_snapshot = Script { silent_at_snapshot: true, ..Script::of(&[]) };
    let silent_at_status = Script { silent_at_status: true, ..Script::of(&[]) };
    [
        of_kind("etcd_timeout", [("no answer to the status", silent_at_status)]),
        of_kind(
            "etcd_stalled",
            [
                ("no answer to the request", silent_at_snapshot),
                ("a stall at 0 %", then(0, Hang)),
                ("a stall at 1 %", then(1, Hang)),
                ("a stall at 50 %", then(50, Hang)),
                ("a stall at 99 %", then(99, Hang)),
                ("a stall after all of it", Script::sending(good, database, &[Hang])),
                ("empty blobs for ever, and nothing else", then(0, Repeat(left_after(0), 0))),
                ("empty blobs for ever, in the middle", then(50, Repeat(left_after(50), 0))),
                (
                    "empty blobs for ever, instead of the digest",
                    Script::sending(&good[..database], database, &[Repeat(0, 0)]),
                ),
                (
                    "an empty blob, and a stall",
                    Script::sending(percent(50), database, &[Send(left_after(50), 0), Hang]),
                ),
            ],
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The stream ends too early, or as none should.
fn faults_of_ending(good: &[u8]) -> Vec<Fault> {
    let database = good.len() - DIGEST_SIZE;
    let half = &good[..good.len() / 2];
    let ending = |bytes: &[u8], ending| Script { ending, ..Script::sending(bytes, database, &[]) };
    let failing = |bytes: &[u8], text| Script::sending(bytes, database, &[Fail(Code::Unavailable, text)]);
    // A head says whether the message is compressed, and how long it is.
    let message = |head: [u8; 5], bytes: &[u8]| Ending::Bytes([&head[..], bytes].concat().into());
    [
        of_kind(
            "etcd_incomplete",
            [
                ("an early clean end, at once", Script::of(&[])),
                ("an early clean end, in the middle", ending(half, Ending::Clean)),
                ("an early clean end, after whole pages", ending(&good[..100 * PAGE_SIZE], Ending::Clean)),
                ("an error in the middle", failing(half, "\u{1b}[31mdisk\nfault")),
                ("an error after all of it", failing(good, "going away")),
                ("a stream reset at once", ending(&[], Ending::Reset)),
                ("a stream reset in the middle", ending(half, Ending::Reset)),
                ("a stream reset after all of it", ending(good, Ending::Reset)),
                ("a connection reset at once", ending(&[], Ending::Death)),
                ("a connection reset in the middle", ending(half, Ending::Death)),
                ("a connection reset after all of it", ending(good, Ending::Death)),
                ("no status in the middle", ending(half, Ending::WithoutStatus)),
                ("no status after all of it", ending(good, Ending::WithoutStatus)),
                ("garbage instead of a message", ending(half, message([0xff; 5], &[0xff; 64]))),
                ("a message that is compressed", ending(half, message([1, 0, 0, 0, 64], &[0; 64]))),
                ("a message cut short", ending(half, message([0, 0, 0, 1, 0], &[0; 64]))),
            ],
        ),
        of_kind("etcd_fault", [("an error at once", failing(&[], "not now"))]),
        of_kind(
            "etcd_authentication",
            [
                (
                    "authentication turned on before the request",
                    Script::of(&[Fail(Code::InvalidArgument, "etcdserver: user name is empty")]),
                ),
                (
                    "authentication changed before the request",
                    Script::of(&[Fail(Code::InvalidArgument, "etcdserver: revision of auth store is old")]),
                ),
            ],
        ),
        of_kind(
            "etcd_bad_snapshot",
            [
                ("garbage protobuf at once", ending(&[], message([0, 0, 0, 0, 64], &[0xff; 64]))),
                ("garbage protobuf in the middle", ending(half, message([0, 0, 0, 0, 64], &[0xff; 64]))),
                ("garbage protobuf after all of it", ending(good, message([0, 0, 0, 0, 64], &[0xff; 64]))),
                (
                    "a message of 4 GiB, as it says",
                    ending(half, message([0, 0xff, 0xff, 0xff, 0xff], &[0; 64])),
                ),
            ],
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// There is more or less than there was to be.
fn faults_of_length(good: &[u8]) -> Vec<Fault> {
    const LARGE: usize = 100 << 20;
    let database = good.len() - DIGEST_SIZE;
    let half = &good[..good.len() / 2];
    let all = |bytes: &[u8]| Script::sending(bytes, database, &[]);
    let longer = |more: &[u8]| all(&[good, more].concat());
    // Made here, for to make it takes long: the head of gRPC, and the blob as a field of the message.
    let length = u32::try_from(LARGE + 5).unwrap().to_be_bytes();
    let blob = [&[0][..], &length, &[0x1a, 0x80, 0x80, 0x80, 0x32], &vec![7; LARGE]].concat();
    let blob = tonic::codegen::Bytes::from(blob);
    let large = |before: &[u8]| Script {
        ending: Ending::Bytes(blob.clone()),
        ..Script::sending(before, before.len() + LARGE, &[])
    };
    let mut status_of_its_own_size = all(good);
    status_of_its_own_size.status.version = "3".repeat(LARGE);
    [
        of_kind(
            "etcd_bad_snapshot",
            [
                ("too few bytes: one", all(&good[..good.len() - 1])),
                ("too few bytes: half of the digest", all(&good[..database + 16])),
                ("too many bytes: one", longer(&[0])),
                ("too many bytes: a page", longer(&good[..PAGE_SIZE])),
                ("too many bytes: the digest again", longer(&good[database..])),
                ("too many bytes: the snapshot again", longer(good)),
                ("too many bytes: messages for ever", Script::sending(good, database, &[Repeat(0, 1)])),
                ("remaining_bytes growing", Script::sending(half, database, &[Send(database as u64, 512)])),
                ("remaining_bytes negative", Script::of(&[Send((-1_i64).cast_unsigned(), 512)])),
                ("a blob of 100 MB at once", large(&[])),
                ("a blob of 100 MB in the middle", large(half)),
            ],
        ),
        of_kind("etcd_fault", [("a status of 100 MB", status_of_its_own_size)]),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The length is right, and what is in it is not.
fn faults_of_content(good: &[u8]) -> Vec<Fault> {
    let database = good.len() - DIGEST_SIZE;
    let all = |bytes: &[u8]| Script::sending(bytes, database, &[]);
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.to_vec();
        change(&mut bytes);
        all(&bytes)
    };
    let page = |number: usize| number * PAGE_SIZE;
    let mut anonymous = all(good);
    anonymous.status.header = None;
    [
        of_kind(
            "etcd_bad_snapshot",
            [
                ("no digest", all(&good[..database])),
                ("the digest only", Script::sending(&good[database..], DIGEST_SIZE, &[])),
                ("a wrong digest", changed(&|bytes| bytes[database] ^= 1)),
                ("a flipped bit", changed(&|bytes| bytes[database / 2] ^= 1)),
                ("a flipped bit in the last page", changed(&|bytes| bytes[database - 1] ^= 1)),
                (
                    "two pages in the wrong order",
                    changed(&|bytes| bytes[page(100)..page(102)].rotate_left(PAGE_SIZE)),
                ),
                ("no database", all(&vec![7; good.len()])),
                ("zeros", all(&vec![0; good.len()])),
            ],
        ),
        of_kind(
            "etcd_incomplete",
            [("a page left out", changed(&|bytes| drop(bytes.drain(page(100)..page(101)))))],
        ),
        of_kind("etcd_fault", [("a status without a header", anonymous)]),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The snapshot is good, and is not what the calls before and after it speak of: several members answer, or one lies.
fn faults_of_claims(good: &[u8]) -> Vec<Fault> {
    let database = good.len() - DIGEST_SIZE;
    let told = |before: &dyn Fn(&mut PbResponseHeader), after: &dyn Fn(&mut PbResponseHeader)| {
        let mut script = Script::sending(good, database, &[]);
        script.status.db_size = i64::try_from(database).unwrap();
        script.status.header.as_mut().map(before);
        let mut status = script.status.clone();
        status.header.as_mut().map(after);
        script.status_after = Some(status);
        script
    };
    let same = |_: &mut PbResponseHeader| ();
    let mut no_buckets = good[..database].to_vec();
    no_buckets[2 * PAGE_SIZE + 8] = 0;
    let no_buckets = with_digest(no_buckets);
    let claims = [
        ("data behind the revision", told(&|header| header.revision = 4, &same)),
        ("data newer than the revision after them", told(&|header| header.revision = 2, &same)),
        ("data of another member", told(&|header| header.member_id = 5, &same)),
        ("another member after the data", told(&same, &|header| header.member_id = 5)),
        ("another cluster after the data", told(&same, &|header| header.cluster_id = 5)),
        ("data without buckets", Script::sending(&no_buckets, database, &[])),
    ];
    of_kind("etcd_bad_snapshot", claims)
}

/// Who listens where an etcd should, and is none.
#[derive(Clone, Copy)]
enum Stranger {
    /// Accepts and says nothing.
    Silent,
    /// Accepts, and is gone.
    Gone,
    /// Hears something, and is gone.
    Shy,
    /// Hears something, says this, and stays.
    Says(&'static [u8]),
    /// Hears something, says this, and is gone.
    SaysAndGoes(&'static [u8]),
}

impl Stranger {
    /// Starts one. Gone with the test.
    fn start(self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let mut guests = Vec::new();
            for mut guest in listener.incoming().map_while(Result::ok) {
                // What is left unread makes the end a reset.
                let _ = match self {
                    Self::Silent | Self::Gone => Ok(0),
                    Self::Shy => guest.read(&mut [0]),
                    Self::Says(_) | Self::SaysAndGoes(_) => guest.read(&mut [0; 16 * 1024]),
                };
                match self {
                    Self::Gone | Self::Shy => {}
                    Self::Silent => guests.push(guest),
                    Self::Says(words) => {
                        let _ = guest.write_all(words);
                        guests.push(guest);
                    }
                    Self::SaysAndGoes(words) => drop(guest.write_all(words)),
                }
            }
        });
        address
    }
}

const HTTP_1: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\n\r\nno\n";
/// A fatal alert: what a server of TLS may say to a client that speaks plainly.
const TLS_ALERT: &[u8] = &[21, 3, 1, 0, 2, 2, 22];

/// Every stranger, with the scheme of the endpoint, the kind of the failure and a word of its hint.
fn strangers() -> Vec<(&'static str, Stranger, &'static str, &'static str, &'static str)> {
    use Stranger::{Gone, Says, SaysAndGoes, Shy, Silent};
    vec![
        ("accepts and says nothing", Silent, "http", "etcd_timeout", "--command-timeout"),
        ("accepts and says nothing to TLS", Silent, "https", "etcd_timeout", "--dial-timeout"),
        ("hangs up at once", Gone, "http", "etcd_unreachable", "--endpoints"),
        ("hangs up on TLS", SaysAndGoes(b""), "https", "etcd_tls", "http://"),
        ("resets the connection", Shy, "http", "etcd_unreachable", "--endpoints"),
        ("resets the connection of TLS", Shy, "https", "etcd_tls", "--endpoints"),
        ("answers in HTTP/1", Says(HTTP_1), "http", "etcd_unreachable", "client port"),
        ("answers in HTTP/1 and hangs up", SaysAndGoes(HTTP_1), "http", "etcd_unreachable", "--endpoints"),
        ("answers TLS in HTTP/1", Says(HTTP_1), "https", "etcd_tls", "http://"),
        ("answers as a server of ssh", Says(b"SSH-2.0-sshd\r\n"), "http", "etcd_unreachable", "client port"),
        ("answers TLS as a server of ssh", Says(b"SSH-2.0-sshd\r\n"), "https", "etcd_tls", "http://"),
        ("answers as a server of TLS", Says(TLS_ALERT), "http", "etcd_tls", "https://"),
        ("answers noise", Says(&[0xff; 100]), "http", "etcd_unreachable", "client port"),
        ("answers zeros", Says(&[0; 100]), "http", "etcd_unreachable", "--endpoints"),
    ]
}

/// How long the stream may stand still in these tests.
const STALL_TIMEOUT: &str = "2s";
/// Longer than that and all that has to be done take on any machine, and shorter than the timeout by default.
const BOUND: Duration = Duration::from_secs(25);
/// What no command needs at the defaults, as the README promises.
const MEMORY: u64 = 96 << 20;

/// The program with short patience and small frames, so that much of a bad stream comes out before its end.
fn impatient(sandbox: &Sandbox, endpoint: &str) -> Program {
    let patience = ["--stall-timeout", STALL_TIMEOUT, "--dial-timeout", "1s"];
    sandbox.save().args(["--endpoints", endpoint, "--frame-size", "64KiB", "--jobs", "1"]).args(patience)
}

/// Runs it to its end, which must be soon, a failure of etcd's, and cheap.
fn fails(name: &str, save: &Program) -> Outcome {
    let began = Instant::now();
    let (ended, memory) = save.start().wait_and_watch();
    let took = began.elapsed();
    assert_eq!(ended.code, 14, "{name}: {ended:?}");
    assert!(took < BOUND, "{name}: {took:?}");
    assert!(memory > 0, "{name}: its memory was never measured");
    assert!(memory < MEMORY, "{name}: {memory} bytes of memory");
    ended
}

/// Saves to a directory and to standard output, each time from a server of its own, whom the first may have cost its
/// life; returns the failure, and how much came out in vain.
fn judged<S>(sandbox: &Sandbox, name: &str, mut serve: impl FnMut() -> (S, String)) -> (Value, usize) {
    let before = sandbox.files();
    let (_server, endpoint) = &serve();
    let told = fails(name, &impatient(sandbox, endpoint).arg("--json").arg(sandbox.backups()));
    assert_eq!(sandbox.files(), before, "{name}");
    let failure = told.object();
    assert!(failure["error"].as_str().unwrap().contains(endpoint.as_str()), "{name}: {failure}");

    let (_server, endpoint) = &serve();
    let piped = fails(name, &impatient(sandbox, endpoint).args(["-", "-v"]));
    assert!(!piped.stderr.contains('\u{1b}'), "{name}: {:?}", piped.stderr);
    sandbox.assert_no_archive(&piped.stdout, name);
    assert_eq!(sandbox.files(), before, "{name}");
    (failure, piped.stdout.len())
}

/// Does it for all of them. Most of the time is spent in waiting, so several at once.
fn for_each<T: marker::Send>(all: Vec<T>, judge: impl Fn(&Sandbox, T) + Sync) {
    let left = Mutex::new(all.into_iter());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let sandbox = Sandbox::furnished();
                while let Some(one) = { left.lock().unwrap().next() } {
                    judge(&sandbox, one);
                }
            });
        }
    });
}

#[test]
fn after_every_fault_nothing_is_left_and_nothing_passes_for_an_archive() {
    let came_out = AtomicUsize::new(0);
    for_each(faults(), |sandbox, Fault { name, kind, script }| {
        let (failure, length) = judged(sandbox, name, || {
            let fake = Fake::start(script.clone());
            let endpoint = fake.address.to_string();
            (fake, endpoint)
        });
        assert_eq!(failure["kind"], kind, "{name}: {failure}");
        came_out.fetch_max(length, Ordering::Relaxed);
    });
    let came_out = came_out.into_inner();
    assert!(came_out > 250 * PAGE_SIZE, "some came out before it was known to be bad: {came_out}");
}

#[test]
fn after_every_stranger_nothing_is_left_and_the_hint_says_what_to_look_at() {
    for_each(strangers(), |sandbox, (name, stranger, scheme, kind, hint)| {
        let (failure, length) = judged(sandbox, name, || ((), format!("{scheme}://{}", stranger.start())));
        assert!(failure["kind"].as_str().unwrap().starts_with(kind), "{name}: {failure}");
        assert!(failure["hint"].as_str().unwrap().contains(hint), "{name}: {failure}");
        assert_eq!(length, 0, "{name}");
    });
}

#[test]
fn a_member_without_tls_says_so_to_a_client_that_wants_it() {
    let sandbox = Sandbox::furnished();
    let fake = Fake::start(Script::of(&[]));
    let (failure, _) = judged(&sandbox, "no TLS", || ((), format!("https://{}", fake.address)));
    assert_eq!(failure["kind"], "etcd_tls");
    assert!(failure["hint"].as_str().unwrap().contains("http://"), "{failure}");
}

/// What looks odd and is none: it depends on the version of etcd, or on who stands between.
#[test]
fn honest_members_of_every_kind_are_believed() {
    let good = recognizable_snapshot();
    let database = good.len() - DIGEST_SIZE;
    let (pages, digest) = good.split_at(database);
    let last = |steps: &[Step]| Script::sending(pages, database, steps);
    let whole = Script::sending(&good, database, &[]);
    let bytes = |bytes: &[u8]| SendBytes(0, bytes.to_vec());
    let honest = vec![
        ("the digest in a message of its own", last(&[bytes(digest)])),
        ("the digest announced as left", Script::sending(pages, good.len(), &[bytes(digest)])),
        (
            "the digest split across messages",
            last(&[Send(0, 0), bytes(&digest[..1]), Send(0, 0), bytes(&digest[1..])]),
        ),
        ("the digest merged with the data", whole.clone()),
        ("the digest merged and announced", Script::sending(&good, good.len(), &[])),
        ("an empty blob at the end", Script::sending(&good, good.len(), &[Send(0, 0)])),
        ("version empty", Script { version: "", ..whole.clone() }),
        ("version told", Script { version: "3.6.0", ..whole }),
    ];
    for_each(honest, |_, (name, script)| {
        let sandbox = Sandbox::furnished();
        let fake = Fake::start(script);
        let saved = impatient(&sandbox, &fake.address.to_string()).arg(sandbox.backups()).run();
        assert_eq!(saved.code, 0, "{name}: {}", saved.stderr);
        let restored = sandbox.open("restore").arg(sandbox.archive()).args(["-o", "-"]).succeed();
        assert!(restored.stdout == good, "{name}: byte for byte");
    });
}

/// What a member says against itself: `save` ends with what it is worth, and it is recorded and shown.
#[test]
fn what_a_member_reports_is_recorded_and_what_makes_its_data_doubtful_is_exit_3() {
    type Change = fn(&mut PbStatusResponse);
    let other = "the words of another \u{1b}[2J".repeat(30);
    let other = json!({"condition": "other", "text": &other[..200]});
    let (of_two, of_three) = ("0000000000000002", "0000000000000003");
    let cases: Vec<(Change, i32, Option<&str>, Value)> = vec![
        (|status| status.leader = 0, 3, Some("no_leader"), json!([{"condition": "no_leader"}])),
        (
            |status| status.errors = vec!["etcdserver: no leader".to_owned()],
            3,
            Some("no_leader"),
            json!([{"condition": "no_leader"}]),
        ),
        (
            |status| status.errors = vec!["memberID:2 alarm:CORRUPT ".to_owned()],
            3,
            Some("member_corrupt"),
            json!([{"condition": "corrupt", "member_id": of_two}]),
        ),
        (|status| status.is_learner = true, 3, Some("learner"), json!([{"condition": "learner"}])),
        (
            |status| {
                status.errors =
                    ["memberID:3 alarm:NOSPACE ", "memberID:3 alarm:CORRUPT "].map(str::to_owned).to_vec();
            },
            0,
            None,
            json!([
                {"condition": "corrupt", "member_id": of_three},
                {"condition": "nospace", "member_id": of_three}
            ]),
        ),
        (
            |status| (status.raft_index, status.raft_applied_index) = (9000, 3999),
            0,
            None,
            json!([{"condition": "lagging", "behind": 5001}]),
        ),
        (|status| status.errors = vec!["the words of another \u{1b}[2J".repeat(30)], 0, None, json!([other])),
    ];
    let good = recognizable_snapshot();
    for_each(cases, |_, (change, code, kind, conditions)| {
        let sandbox = Sandbox::furnished();
        let mut script = Script::sending(&good, good.len(), &[]);
        change(&mut script.status);
        let fake = Fake::start(script);
        let endpoint = fake.address.to_string();

        let save = impatient(&sandbox, &endpoint).args(["--json", "-q"]).arg(sandbox.backups());
        let saved = save.run().ends_with(code);
        let told = saved.object();
        assert_eq!(told["exit_code"], code, "{told}");
        assert_eq!(told["kind"].as_str(), kind, "{told}");
        assert_eq!([&told["conditions"], &told["status_after"]["conditions"]], [&conditions; 2], "{told}");
        let count = conditions.as_array().unwrap().len();
        assert_eq!(saved.stderr.matches(" the member reports ").count(), count, "{}", saved.stderr);
        assert!(!saved.stderr.contains('\u{1b}'), "{}", saved.stderr);

        for command in ["info", "verify"] {
            let open = sandbox.open(command).arg(sandbox.archive());
            let told = open.clone().arg("--json").succeed().object();
            assert_eq!(told["conditions"], conditions, "{command}: {told}");
            let opened = open.succeed();
            let text = opened.text();
            let said = match conditions[0]["condition"].as_str().unwrap() {
                "no_leader" => "no leader",
                "corrupt" => "CORRUPT alarm of member",
                "lagging" => "lagging by 5001 entries",
                "other" => "the words of another",
                said => said,
            };
            assert!(text.contains(said) && !text.contains('\u{1b}'), "{command}: {text}");
        }
    });
}

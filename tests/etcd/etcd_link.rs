//! What passes over the connection to a member: how fast, and how long without.

use etcd_seal::low_level::error::{Error, Kind};
use etcd_seal::low_level::etcd::{self, Connection};
use etcd_seal::low_level::interrupt::Interrupt;
use harness::fake::Step::{Hang, Send};
use harness::fake::{Fake, Script};
use harness::proxy::{Harm, Tally, counting, proxy};
use harness::snapshots::random;
use harness::{ConnectionExt, Etcd, Options, Pki, ServerTls, an_etcd, changed, connection, etcds, say};
use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Bytes a second of the tests that measure.
const RATE: u64 = 1024 * 1024;
/// Values put for them, and the bytes of each.
const VALUES: usize = 4;
const VALUE_SIZE: usize = 1_000_000;
/// Longer than any of these takes on a slow machine.
const BOUND: Duration = Duration::from_secs(60);

async fn read(connection: &Connection) -> Result<u64, Error> {
    let mut snapshot = etcd::open(connection, &Interrupt::new()).await?;
    let mut length = 0;
    while let Some(bytes) = snapshot.next().await? {
        length += bytes.len() as u64;
    }
    Ok(length)
}

/// Puts noise, so that nothing on the way makes it less.
fn fill(etcd: &Etcd, flags: &[String], values: usize) {
    for number in 0..values {
        let mut put = etcd.etcdctl();
        put.args(flags).args(["put", &format!("noise/{number}")]).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut put = put.spawn().unwrap();
        // No byte that a reader of text would take for an end.
        let noise: Vec<u8> = random(VALUE_SIZE).iter().map(|byte| byte | 0x80).collect();
        put.stdin.take().unwrap().write_all(&noise).unwrap();
        assert!(put.wait().unwrap().success());
    }
}

/// The source took no more from etcd in any stretch of time than the limit allows, give or take what HTTP/2 lets be on its way and
/// what may be made up for. True on a machine however slow.
fn assert_never_faster(tally: &Tally) {
    let tally = tally.lock().unwrap();
    let rate = f64::from(u32::try_from(RATE).unwrap());
    let on_its_way = rate * (0.25 + 0.15) + 32_768.0;
    for (index, &(begin, before)) in tally.iter().enumerate().step_by(16) {
        for &(end, after) in tally[index..].iter().step_by(7) {
            let bytes = f64::from(u32::try_from(after - before).unwrap());
            let allowed = rate * (end - begin).as_secs_f64() + on_its_way;
            assert!(bytes <= allowed, "{bytes} bytes in {:?}", end - begin);
        }
    }
}

/// The rate from the end of the first second to the last byte, as a part of the limit.
fn part_of_the_limit(tally: &Tally) -> f64 {
    let tally = tally.lock().unwrap();
    let &(begin, _) = tally.first().unwrap();
    let &(first, before) = tally.iter().find(|(at, _)| *at >= begin + Duration::from_secs(1)).unwrap();
    let &(last, after) = tally.last().unwrap();
    let bytes = u32::try_from(after - before).unwrap();
    f64::from(bytes) / (last - first).as_secs_f64() / f64::from(u32::try_from(RATE).unwrap())
}

/// A machine that is busy may make it slower than the limit, but hardly each time; nothing makes it faster.
async fn assert_keeps_the_limit(address: &str, reached: impl Fn(&str) -> Connection) {
    let mut parts = Vec::new();
    for _ in 0..4 {
        let (here, tally) = counting(address);
        let limited = changed(reached(&here), |connection| connection.limit_rate = Some(RATE));
        let length = read(&limited).await.unwrap();
        assert!(length > (VALUES * VALUE_SIZE) as u64);
        assert_never_faster(&tally);
        let part = part_of_the_limit(&tally);
        assert!(part < 1.05, "{part}");
        if part > 0.95 {
            return;
        }
        parts.push(part);
    }
    panic!("always slower than the limit: {parts:?} of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_is_kept_at_the_socket() {
    let Some(etcd) = an_etcd() else { return };
    fill(&etcd, &[], VALUES);
    assert_keeps_the_limit(&etcd.address(), |here| connection(&[here])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_counts_what_tls_adds() {
    let Some(binary) = etcds().into_iter().next() else { return };
    let pki = Pki::new();
    let leaf = pki.issue("server", "DNS:localhost,IP:127.0.0.1");
    let client = pki.issue("client", "DNS:client");
    let tls = Some(ServerTls { leaf, client_authority: Some(pki.authority()) });
    let etcd = Etcd::start(&binary, &Options { tls, ..Options::default() });
    let address = etcd.address();
    fill(&etcd, &pki.flags(&client), VALUES);
    let address = address.strip_prefix("https://").unwrap_or(&address);
    let reached = |here: &str| connection(&[here]).trusting(pki.authority()).showing(&client);
    assert_keeps_the_limit(address, reached).await;
}

/// One message takes two and a half seconds, and the stream may stand still for one.
#[tokio::test(flavor = "multi_thread")]
async fn to_hold_the_member_back_is_no_stall() {
    const MESSAGE: usize = 320 * 1024;
    let steps = [Send(MESSAGE as u64, MESSAGE), Send(0, MESSAGE), Send(0, 32)];
    let fake = Fake::start(Script::of(&steps));
    let slow = changed(fake.connection(), |connection| {
        connection.limit_rate = Some(128 * 1024);
        connection.stall_timeout = Duration::from_secs(1); // Nor a drip, though it is less.
        connection.min_rate = 256 * 1024;
    });
    assert_eq!(read(&slow).await.unwrap(), 2 * MESSAGE as u64 + 32);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stall_is_found_under_a_limit_too() {
    let limited = |connection: Connection| {
        connection.with(|limited| {
            limited.limit_rate = Some(128 * 1024);
            limited.stall_timeout = Duration::from_secs(1);
        })
    };
    let began = Instant::now();
    let fake = Fake::start(Script::of(&[Send(512, 100_000), Hang]));
    let between_messages = read(&limited(fake.connection())).await.unwrap_err();
    assert_eq!(between_messages.kind(), Kind::EtcdStalled, "{between_messages}");
    if let Some(binary) = etcds().into_iter().next() {
        let etcd = Etcd::start(&binary, &Options::default());
        fill(&etcd, &[], 1);
        let stalled = proxy(&etcd.address(), Harm::Stall(100_000));
        let amid_a_message = read(&limited(connection(&[stalled]))).await.unwrap_err();
        assert_eq!(amid_a_message.kind(), Kind::EtcdStalled, "{amid_a_message}");
    }
    assert!(began.elapsed() < BOUND);
}

/// The reader takes nothing for longer than HTTP/2 waits before it pings and for the answer, which comes behind more than may
/// wait in memory.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_is_not_taken_for_dead_while_its_stream_is_not_read() {
    let Some(etcd) = an_etcd() else { return };
    fill(&etcd, &[], 30);
    let mortal = changed(connection(&[etcd.address()]), |connection| {
        connection.keepalive_timeout = Duration::from_secs(1);
    });
    let mut snapshot = etcd::open(&mortal, &Interrupt::new()).await.ok().unwrap();
    let mut length = snapshot.next().await.unwrap().unwrap().len();
    // Its own interval cannot be made shorter than ten seconds.
    tokio::time::sleep(Duration::from_secs(13)).await;
    while let Some(bytes) = snapshot.next().await.unwrap() {
        length += bytes.len();
    }
    say(&format!("{length} bytes after a silence"));
    assert!(length > 30 * VALUE_SIZE);
    assert!(snapshot.status_after().await.unwrap().is_some());
}

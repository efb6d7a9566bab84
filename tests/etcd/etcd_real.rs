//! The source against real etcds, and what it says where it cannot have a snapshot.
//!
//! Each test goes through every etcd there is, see `harness::etcds`.

use etcd_client::{AlarmAction, AlarmOptions, AlarmType};
use etcd_seal::low_level::error::{Error, Kind};
use etcd_seal::low_level::etcd::{self, Connection, MemberCondition, Snapshot, TlsMode};
use etcd_seal::low_level::interrupt::Interrupt;
use harness::{
    ConnectionExt, Etcd, LOOPBACK_NAMES, Leaf, Options, Pki, ServerTls, changed, connection, dead_address,
    each_etcd, etcds, run,
};
use secrecy::SecretString;
use sha2::{Digest, Sha256};
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

async fn open(connection: &Connection) -> Snapshot {
    match etcd::open(connection, &Interrupt::new()).await {
        Ok(snapshot) => snapshot,
        Err(error) => panic!("{error}: {error:?}"),
    }
}

/// Opens, and reads it all: etcd's own digest must be right, and the sizes as announced.
async fn taken(connection: &Connection) -> Snapshot {
    let mut snapshot = open(connection).await;
    let mut bytes = Vec::new();
    while let Some(more) = snapshot.next().await.unwrap() {
        assert!(!more.is_empty());
        bytes.extend(more);
    }
    assert!(snapshot.next().await.unwrap().is_none(), "the end stays the end");
    let (database, digest) = bytes.split_at(bytes.len() - 32);
    assert_eq!(Sha256::digest(database)[..], *digest);
    assert_eq!(database.len() as u64, snapshot.announced);
    let after = snapshot.status_after().await.unwrap().unwrap();
    assert_eq!(after.member_id, snapshot.status.member_id);
    assert!(after.revision >= snapshot.status.revision);
    snapshot
}

async fn refused(connection: &Connection) -> Error {
    match etcd::open(connection, &Interrupt::new()).await {
        Ok(snapshot) => panic!("{} served a snapshot", snapshot.endpoint),
        Err(error) => error,
    }
}

/// Asserts kind, and that message and hint contain these words.
#[track_caller]
fn assert_says(error: &Error, kind: Kind, message: &str, hint: &str) {
    assert_eq!(error.kind(), kind, "{error}: {error:?}");
    assert!(error.to_string().contains(message), "no {message:?} in: {error}");
    assert!(error.hint().contains(hint), "no {hint:?} in: {}", error.hint());
}

fn as_user(name: &str, password: &str, connection: Connection) -> Connection {
    changed(connection, |connection| connection.user = Some((name.to_owned(), SecretString::from(password))))
}

fn trusting(pki: &Pki, connection: Connection) -> Connection {
    connection.trusting(pki.authority())
}

fn start_tls(binary: &Path, leaf: Leaf, client_authority: Option<&Pki>) -> Etcd {
    let client_authority = client_authority.map(Pki::authority);
    Etcd::start(binary, &Options { tls: Some(ServerTls { leaf, client_authority }), ..Options::default() })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_member_serves_a_snapshot_of_many_messages() {
    for member in each_etcd() {
        member.fill("key", 1000, 4096);
        let snapshot = taken(&connection(&[member.address()])).await;
        assert_eq!(snapshot.endpoint, member.address());
        assert_eq!(snapshot.member_name.as_deref(), Some(member.name()));
        assert!(snapshot.announced > 4096 * 1000);
        assert!(snapshot.status.revision > 1);
        assert!(snapshot.status.is_leader && snapshot.status.has_leader);
        assert_eq!(snapshot.tls, TlsMode::None);
        assert!(snapshot.status.database_size > 0);
        assert!(snapshot.status.version.starts_with("3."));
        taken(&connection(&[format!("http://{}", member.address())])).await;
        // `http://` drops TLS even where the flags ask for it.
        let pki = Pki::new();
        taken(&trusting(&pki, connection(&[format!("http://{}", member.address())]))).await;
    }
}

/// etcd tells the alarms of the whole cluster, in words.
#[tokio::test(flavor = "multi_thread")]
async fn alarms_are_told_apart_by_the_member_they_name() {
    for member in each_etcd() {
        let connection = connection(&[member.address()]);
        assert_eq!(open(&connection).await.conditions, []);
        let own = open(&connection).await.status.member_id;
        // The highest id that an alarm can name in decimal without being taken for a negative number.
        let alarms = [(AlarmType::Nospace, i64::MAX.cast_unsigned()), (AlarmType::Corrupt, own)];
        let mut client = etcd_client::Client::connect([member.address()], None).await.unwrap();
        for (alarm, id) in alarms {
            let mut options = AlarmOptions::new();
            options.with_member(id);
            client.alarm(AlarmAction::Activate, alarm, Some(options)).await.unwrap();
        }
        let snapshot = open(&connection).await;
        let nospace = MemberCondition::Nospace(i64::MAX.cast_unsigned());
        assert_eq!(snapshot.conditions, [MemberCondition::Corrupt(own), nospace]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unix_sockets_serve_with_and_without_tls() {
    for binary in etcds() {
        let member = Etcd::start(&binary, &Options { unix: true, ..Options::default() });
        let snapshot = taken(&connection(&[format!("unix://{}", member.address())])).await;
        assert_eq!(snapshot.tls, TlsMode::None);

        let pki = Pki::new();
        let tls = Some(ServerTls { leaf: pki.issue("server", LOOPBACK_NAMES), client_authority: None });
        let member = Etcd::start(&binary, &Options { unix: true, tls, ..Options::default() });
        let at = || connection(&[format!("unixs://{}", member.address())]);
        assert_eq!(taken(&trusting(&pki, at())).await.tls, TlsMode::Verified);
        assert_eq!(taken(&at().unverified()).await.tls, TlsMode::Unverified);
        let error = refused(&connection(&[format!("unix://{}", member.address())])).await;
        assert_says(&error, Kind::EtcdTls, "serves TLS", "unixs://");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn client_certificates_and_users_open_the_door() {
    for binary in etcds() {
        let pki = Pki::new();
        let member = start_tls(&binary, pki.issue("server", LOOPBACK_NAMES), Some(&pki));
        let (client, root) = (pki.issue("client", LOOPBACK_NAMES), pki.issue("root", LOOPBACK_NAMES));
        let secure = || trusting(&pki, connection(&[member.address()]));
        taken(&secure().showing(&client)).await;
        taken(&connection(&[member.address()]).unverified().showing(&client)).await;

        member.enable_authentication("right", &pki.flags(&client).each_ref().map(String::as_str));
        taken(&as_user("root", "right", secure().showing(&client))).await;
        taken(&secure().showing(&root)).await;

        let error = refused(&as_user("root", "wrong", secure().showing(&client))).await;
        assert_says(&error, Kind::EtcdAuthentication, "authentication failed", "root role");
        assert!(!format!("{error} {error:?}").contains("wrong"));
        let error = refused(&secure().showing(&client)).await;
        assert_says(&error, Kind::EtcdAuthentication, &member.address(), "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn users_without_the_root_role_are_told_so() {
    for member in each_etcd() {
        // Superfluous credentials are no reason to go without a backup.
        taken(&as_user("root", "whatever", connection(&[member.address()]))).await;

        run(member.etcdctl().args(["user", "add", "alice:secret"]));
        member.enable_authentication("right", &[]);
        taken(&as_user("root", "right", connection(&[member.address()]))).await;
        let error = refused(&as_user("alice", "secret", connection(&[member.address()]))).await;
        assert_says(&error, Kind::EtcdAuthentication, "permission denied", "user grant-role NAME root");
        let error = refused(&as_user("nobody", "secret", connection(&[member.address()]))).await;
        assert_says(&error, Kind::EtcdAuthentication, "authentication failed", "`user`");
        let error = refused(&connection(&[member.address()])).await;
        assert_says(&error, Kind::EtcdAuthentication, "user name is empty", "`user`");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_tls_fault_has_its_own_way_out() {
    for binary in etcds() {
        let (pki, other) = (Pki::new(), Pki::new());
        let member = start_tls(&binary, pki.issue("server", LOOPBACK_NAMES), None);
        taken(&trusting(&pki, connection(&[member.address()]))).await;
        taken(&trusting(&pki, connection(&[format!("https://{}", member.address())]))).await;
        let skipping = connection(&[member.address()]).unverified();
        taken(&skipping).await;
        // To skip verification is to skip it, whatever --cacert says.
        taken(&trusting(&other, skipping)).await;

        let error = refused(&trusting(&other, connection(&[member.address()]))).await;
        assert_says(&error, Kind::EtcdTls, &member.address(), "`cacert`");
        let error = refused(&connection(&[format!("https://{}", member.address())])).await;
        assert_says(&error, Kind::EtcdTls, "which this host does not trust", "`cacert`");
        let error = refused(&connection(&[format!("http://{}", member.address())])).await;
        assert_says(&error, Kind::EtcdTls, "serves TLS", "https://");
        let error = refused(&as_user("root", "x", connection(&[member.address()]))).await;
        assert_says(&error, Kind::EtcdTls, "serves TLS", "https://");

        let expired = start_tls(&binary, pki.issue_expired("server", LOOPBACK_NAMES), None);
        let error = refused(&trusting(&pki, connection(&[expired.address()]))).await;
        assert_says(&error, Kind::EtcdTls, "CN=server expired on ", "renew");
        taken(&connection(&[expired.address()]).unverified()).await;
        let misnamed = start_tls(&binary, pki.issue("server", "DNS:elsewhere"), None);
        let error = refused(&trusting(&pki, connection(&[misnamed.address()]))).await;
        assert_says(&error, Kind::EtcdTls, "elsewhere", "`endpoints`");

        let plain = Etcd::start(&binary, &Options::default());
        let error = refused(&trusting(&pki, connection(&[plain.address()]))).await;
        assert_says(&error, Kind::EtcdTls, &plain.address(), "http://");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_is_reset_is_a_tls_fault() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            // To close with bytes unread resets the connection, as etcd without TLS does when it is fast.
            connection.unwrap().peek(&mut [0]).unwrap();
        }
    });
    let pki = Pki::new();
    let error = refused(&trusting(&pki, connection(&[&address]))).await;
    assert_says(&error, Kind::EtcdTls, &address, "http://");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_that_is_missing_or_foreign_is_a_tls_fault_each_time() {
    for binary in etcds() {
        let (pki, other) = (Pki::new(), Pki::new());
        let member = start_tls(&binary, pki.issue("server", LOOPBACK_NAMES), Some(&pki));
        let foreign = other.issue("client", LOOPBACK_NAMES);
        // The server's alert races with the reset of the connection, so once would prove little.
        for _ in 0..20 {
            let error = refused(&trusting(&pki, connection(&[member.address()]))).await;
            assert_says(&error, Kind::EtcdTls, &member.address(), "`cert` and `key`");
            let error = refused(&trusting(&pki, connection(&[member.address()])).showing(&foreign)).await;
            assert_says(&error, Kind::EtcdTls, &member.address(), "`cert` and `key`");
        }
        let error = refused(&connection(&[format!("http://{}", member.address())])).await;
        assert_says(&error, Kind::EtcdTls, "serves TLS", "https://");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_without_a_listener_is_unreachable() {
    let dead = dead_address();
    let error = refused(&connection(&[&dead])).await;
    assert_says(&error, Kind::EtcdUnreachable, &format!("cannot connect to {dead}: "), "`endpoints`");
    let error = refused(&connection(&["host.invalid:2379"])).await;
    assert_says(&error, Kind::EtcdUnreachable, "host.invalid:2379", "`endpoints`");
    let error = refused(&connection(&["unix:///no/such/socket"])).await;
    assert_says(&error, Kind::EtcdUnreachable, "unix:///no/such/socket", "`endpoints`");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_serves_from_a_follower_and_from_the_members_left() {
    for binary in etcds() {
        let mut members = Etcd::start_cluster(&binary, 3, &Options::default());
        let mut leader = None;
        for (index, member) in members.iter().enumerate() {
            if open(&connection(&[member.address()])).await.status.is_leader {
                leader = Some(index);
            }
        }
        let leader = members.remove(leader.unwrap());
        let endpoints = [dead_address(), leader.address(), members[0].address(), members[1].address()];
        let snapshot = taken(&connection(&endpoints)).await;
        assert_eq!(snapshot.endpoint, members[0].address());
        assert_eq!(snapshot.member_name.as_deref(), Some(members[0].name()));
        assert!(!snapshot.status.is_leader);

        let alone = taken(&connection(&[leader.address()])).await;
        assert_eq!(alone.endpoint, leader.address());

        members[0].kill();
        let snapshot = taken(&connection(&[leader.address(), members[0].address()])).await;
        assert_eq!(snapshot.endpoint, leader.address());

        members[1].kill();
        let error = refused(&connection(&[members[0].address(), members[1].address()])).await;
        assert_says(&error, Kind::EtcdUnreachable, &members[0].address(), "`endpoints`");
        assert_says(&error, Kind::EtcdUnreachable, &members[1].address(), "`endpoints`");

        // Without a quorum there is still a snapshot to be had: that may be the day it is needed most.
        let second = Duration::from_secs(1);
        open(&connection(&[leader.address()]).with(|brief| brief.command_timeout = second)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_clusters_are_not_one() {
    for binary in etcds() {
        let pair = [Etcd::start(&binary, &Options::default()), Etcd::start(&binary, &Options::default())];
        let error = refused(&connection(&pair.each_ref().map(Etcd::address))).await;
        assert_says(&error, Kind::Usage, "cluster", "one cluster");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_ends_the_stream() {
    for member in each_etcd() {
        let interrupt = Interrupt::new();
        let mut snapshot = etcd::open(&connection(&[member.address()]), &interrupt).await.ok().unwrap();
        assert!(interrupt.raise());
        snapshot.next().await.unwrap();
        assert_eq!(snapshot.next().await.unwrap_err().kind(), Kind::Interrupted);
        let before = etcd::open(&connection(&[member.address()]), &interrupt).await.err().unwrap();
        assert_eq!(before.kind(), Kind::Interrupted);
    }
}

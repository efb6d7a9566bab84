//! Flags that cannot work are refused before anything is dialed, naming flag and file.

use etcd_seal::low_level::error::{Error, Kind};
use etcd_seal::low_level::etcd::{self, Connection};
use etcd_seal::low_level::interrupt::Interrupt;
use harness::{LOOPBACK_NAMES, Pki, changed, connection, dead_address, run};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The endpoint has no listener, so a refusal that is not about that came before the dial.
async fn refused(change: impl FnOnce(Connection) -> Connection) -> Error {
    let connection = change(connection(&[dead_address()]));
    let error = etcd::open(&connection, &Interrupt::new()).await.err().unwrap();
    assert_eq!(error.kind(), Kind::Usage, "{error}");
    error
}

fn written(dir: &Path, name: &str, content: &[u8]) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, content).unwrap();
    path
}

#[track_caller]
fn assert_names(error: &Error, flag: &str, path: &Path) {
    let message = error.to_string();
    assert!(message.contains(flag) && message.contains(path.to_str().unwrap()), "{message}");
}

#[tokio::test]
async fn a_client_certificate_needs_both_its_files() {
    let leaf = Pki::new().issue("client", LOOPBACK_NAMES);
    let error = refused(|connection| {
        changed(connection, |connection| connection.cert = Some(leaf.certificate.clone()))
    })
    .await;
    assert_eq!(error.to_string(), "`cert` is given without `key`");
    let error =
        refused(|connection| changed(connection, |connection| connection.key = Some(leaf.key.clone()))).await;
    assert_eq!(error.to_string(), "`key` is given without `cert`");
}

#[tokio::test]
async fn files_that_are_not_there_or_not_pem_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let pki = Pki::new();
    let leaf = pki.issue("client", LOOPBACK_NAMES);
    let missing = dir.path().join("missing.pem");
    let garbled = written(dir.path(), "garbled.pem", b"hunter2 is no PEM");
    let broken = written(
        dir.path(),
        "broken.pem",
        b"-----BEGIN CERTIFICATE-----\naHVudGVyMg==\n-----END CERTIFICATE-----\n",
    );
    for bad in [&missing, &garbled, &broken] {
        let error =
            refused(|connection| changed(connection, |connection| connection.cacert = Some(bad.clone())))
                .await;
        assert_names(&error, "`cacert`", bad);
        let (cert, key) = (Some(bad.clone()), Some(leaf.key.clone()));
        let error = refused(|connection| {
            changed(connection, |connection| {
                connection.cert = cert;
                connection.key = key;
            })
        })
        .await;
        assert_names(&error, "`cert`", bad);
        let (cert, key) = (Some(leaf.certificate.clone()), Some(bad.clone()));
        let error = refused(|connection| {
            changed(connection, |connection| {
                connection.cert = cert;
                connection.key = key;
            })
        })
        .await;
        assert_names(&error, "`key`", bad);
        assert!(!format!("{error:?}").contains("hunter2"));
    }
}

#[tokio::test]
async fn keys_that_do_not_fit_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let pki = Pki::new();
    let (one, two) = (pki.issue("one", LOOPBACK_NAMES), pki.issue("two", LOOPBACK_NAMES));
    let (cert, key) = (Some(one.certificate.clone()), Some(two.key.clone()));
    let error = refused(|connection| {
        changed(connection, |connection| {
            connection.cert = cert;
            connection.key = key;
        })
    })
    .await;
    assert!(error.to_string().contains("do not belong together"), "{error}");

    let encrypted = dir.path().join("encrypted.key");
    run(Command::new("openssl")
        .args(["pkcs8", "-topk8", "-passout", "pass:hunter2", "-in"])
        .arg(&one.key)
        .arg("-out")
        .arg(&encrypted));
    let (cert, key) = (Some(one.certificate.clone()), Some(encrypted.clone()));
    let error = refused(|connection| {
        changed(connection, |connection| {
            connection.cert = cert;
            connection.key = key;
        })
    })
    .await;
    assert_names(&error, "`key`", &encrypted);
    assert!(error.to_string().contains("passphrase"), "{error}");
    assert!(error.hint().contains("openssl pkey"), "{}", error.hint());
}

#[tokio::test]
async fn one_bad_endpoint_among_good_ones_is_refused_at_once() {
    let error = refused(|connection| {
        changed(connection, |connection| {
            connection.endpoints = vec![connection.endpoints[0].clone(), "etcd-2".to_owned()];
        })
    })
    .await;
    assert_eq!(error.to_string(), "endpoint etcd-2 has no port");
    assert_eq!(error.hint(), "such as etcd-2:2379");
    let error =
        refused(|connection| changed(connection, |connection| connection.endpoints = Vec::new())).await;
    assert_eq!(error.to_string(), "no endpoint given");
}

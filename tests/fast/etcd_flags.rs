//! Flags that cannot work are refused before anything is dialed, naming flag and file.

use etcd_seal::low_level::error::{Error, Kind};
use etcd_seal::low_level::etcd::{self, Connection};
use etcd_seal::low_level::interrupt::Interrupt;
use harness::sandbox::Sandbox;
use harness::{ConnectionExt, LOOPBACK_NAMES, Leaf, Pki, connection, dead_address};
use std::path::Path;

/// The endpoint has no listener, so a refusal that is not about that came before the dial.
async fn refused(change: impl FnOnce(Connection) -> Connection) -> Error {
    let connection = change(connection(&[dead_address()]));
    let error = etcd::open(&connection, &Interrupt::new()).await.err().unwrap();
    assert_eq!(error.kind(), Kind::Usage, "{error}");
    error
}

/// The same for the two files of a client certificate.
async fn refused_leaf(certificate: &Path, key: &Path) -> Error {
    let leaf = Leaf { certificate: certificate.to_owned(), key: key.to_owned() };
    refused(|connection| connection.showing(&leaf)).await
}

#[track_caller]
fn assert_names(error: &Error, flag: &str, path: &Path) {
    let message = error.to_string();
    assert!(message.contains(flag) && message.contains(path.to_str().unwrap()), "{message}");
}

#[tokio::test]
async fn a_client_certificate_needs_both_its_files() {
    let leaf = Pki::new().issue("client", LOOPBACK_NAMES);
    let error = refused(|connection| connection.showing(&leaf).with(|change| change.key = None)).await;
    assert_eq!(error.to_string(), "`cert` is given without `key`");
    let error = refused(|connection| connection.showing(&leaf).with(|change| change.cert = None)).await;
    assert_eq!(error.to_string(), "`key` is given without `cert`");
}

#[tokio::test]
async fn files_that_are_not_there_or_not_pem_are_named() {
    let (sandbox, pki) = (Sandbox::new(), Pki::new());
    let leaf = pki.issue("client", LOOPBACK_NAMES);
    let certificate = "-----BEGIN CERTIFICATE-----\naHVudGVyMg==\n-----END CERTIFICATE-----\n";
    let garbled = sandbox.write("garbled.pem", "hunter2 is no PEM");
    for bad in [sandbox.path("missing.pem"), garbled, sandbox.write("broken.pem", certificate)] {
        let error = refused(|connection| connection.trusting(&bad)).await;
        assert_names(&error, "`cacert`", &bad);
        assert_names(&refused_leaf(&bad, &leaf.key).await, "`cert`", &bad);
        let error = refused_leaf(&leaf.certificate, &bad).await;
        assert_names(&error, "`key`", &bad);
        assert!(!format!("{error:?}").contains("hunter2"));
    }
}

#[tokio::test]
async fn keys_that_do_not_fit_are_told_apart() {
    let (sandbox, pki) = (Sandbox::new(), Pki::new());
    let (one, two) = (pki.issue("one", LOOPBACK_NAMES), pki.issue("two", LOOPBACK_NAMES));
    let error = refused_leaf(&one.certificate, &two.key).await;
    assert!(error.to_string().contains("do not belong together"), "{error}");

    let encrypted = sandbox.path("encrypted.key");
    let openssl = sandbox.program("openssl").args(["pkcs8", "-topk8", "-passout", "pass:hunter2", "-in"]);
    openssl.arg(&one.key).arg("-out").arg(&encrypted).succeed();
    let error = refused_leaf(&one.certificate, &encrypted).await;
    assert_names(&error, "`key`", &encrypted);
    assert!(error.to_string().contains("passphrase"), "{error}");
    assert!(error.hint().contains("openssl pkey"), "{}", error.hint());
}

#[tokio::test]
async fn one_bad_endpoint_among_good_ones_is_refused_at_once() {
    let error =
        refused(|connection| connection.with(|change| change.endpoints.push("etcd-2".to_owned()))).await;
    assert_eq!(error.to_string(), "endpoint etcd-2 has no port");
    assert_eq!(error.hint(), "such as etcd-2:2379");
    let error = refused(|connection| connection.with(|change| change.endpoints.clear())).await;
    assert_eq!(error.to_string(), "no endpoint given");
}

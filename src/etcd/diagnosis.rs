//! A second look at a connection whose failure tells too little.
//!
//! Three mistakes look alike. Plain HTTP/2 sent to a TLS port ends in a broken connection, and so does TLS sent to a plain
//! port; each is told only once the server has answered the other way, so that no hint sends the operator back and forth.
//! And in TLS 1.3 the handshake ends before the server checks the client certificate; its alert is often lost in the reset
//! that follows. So this module makes the handshake once more, sends nothing else, and waits for the alert.

use super::dialer::{Dialer, Prepared, over_tcp};
use super::endpoint::{Address, Endpoint};
use super::tls_fault;
use crate::error::{Error, Kind, Result};
use rustls::client::ClientConnection;
use rustls::pki_types::ServerName;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// The server's answer to a handshake.
enum Greeting {
    /// The answer is not TLS.
    NotTls,
    /// TLS, and no error while this program listened.
    Tls,
    /// TLS, and this error, such as an alert.
    Refusal(rustls::Error),
}

/// The content types of TLS records that may come first: alert and handshake.
const TLS_RECORDS: [u8; 2] = [21, 22];

/// What a client of HTTP/2 sends first: the preface, and settings that change nothing.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// The size of the header of a frame of HTTP/2, and the place and the value of its type where that is settings.
const FRAME_HEADER: usize = 9;
const FRAME_TYPE: usize = 3;
const SETTINGS: u8 = 4;

/// Returns a more exact error if it finds one within the dial timeout, else `error`.
pub(super) async fn look_closer(dialer: &Dialer, prepared: &Prepared, error: Error) -> Error {
    let endpoint = &prepared.endpoint;
    let limit = dialer.dial_timeout();
    let found = match (endpoint.tls, error.kind()) {
        (false, Kind::EtcdUnreachable) => match timeout(limit, greet(dialer, endpoint)).await {
            Ok(Ok(Greeting::Tls | Greeting::Refusal(_))) => Some(tls_fault::plaintext_to_tls(endpoint)),
            _ => None,
        },
        (true, Kind::EtcdTls) => {
            let client = dialer.tls().client();
            match tls_fault::refine(endpoint, &error, client.as_ref()) {
                Some(found) => Some(found),
                None => Some(answer_without_tls(endpoint, limit).await),
            }
        }
        // A refused client certificate breaks the connection after the handshake; tonic may then reconnect again and again
        // until the time is up.
        (true, Kind::EtcdUnreachable | Kind::EtcdTimeout) => {
            match timeout(limit, greet(dialer, endpoint)).await {
                Ok(Ok(Greeting::Refusal(fault))) => {
                    tls_fault::refine(endpoint, &fault, dialer.tls().client().as_ref())
                }
                _ => None,
            }
        }
        _ => None,
    };
    match found {
        Some(found) => found.with_source(error),
        None => error,
    }
}

/// The error of an endpoint that does not answer with TLS: what it does without.
async fn answer_without_tls(endpoint: &Endpoint, limit: Duration) -> Error {
    match timeout(limit, speaks_http2(endpoint, limit)).await {
        Ok(Ok(true)) => tls_fault::serves_plaintext(endpoint),
        _ => tls_fault::serves_neither(endpoint),
    }
}

/// Whether the server speaks HTTP/2 without TLS.
async fn speaks_http2(endpoint: &Endpoint, limit: Duration) -> io::Result<bool> {
    async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<bool> {
        stream.write_all(HTTP2_PREFACE).await?;
        let mut header = [0; FRAME_HEADER];
        stream.read_exact(&mut header).await?;
        Ok(header[FRAME_TYPE] == SETTINGS)
    }
    match &endpoint.address {
        Address::Tcp(at) => ask(over_tcp(at, limit).await.map_err(io::Error::other)?).await,
        Address::Unix(path) => ask(UnixStream::connect(path).await?).await,
    }
}

/// Makes a handshake with the server at `endpoint`. Where that ought to speak TLS, it keeps reading after the server's first
/// answer.
async fn greet(dialer: &Dialer, endpoint: &Endpoint) -> Result<Greeting, io::Error> {
    let config = dialer.tls().unverified_config().map_err(io::Error::other)?;
    // An IP address sends no server name, and this handshake verifies nothing against it.
    let no_name = ServerName::IpAddress(Ipv4Addr::LOCALHOST.into());
    let tls = ClientConnection::new(Arc::new(config), no_name).map_err(io::Error::other)?;
    match &endpoint.address {
        Address::Tcp(at) => {
            let stream = over_tcp(at, dialer.dial_timeout()).await.map_err(io::Error::other)?;
            shake_hands(stream, tls, endpoint.tls).await
        }
        Address::Unix(path) => shake_hands(UnixStream::connect(path).await?, tls, endpoint.tls).await,
    }
}

async fn shake_hands(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    mut tls: ClientConnection,
    to_the_end: bool,
) -> Result<Greeting, io::Error> {
    let mut heard = Greeting::NotTls;
    let mut buffer = [0; 4096];
    loop {
        while tls.wants_write() {
            let mut records = Vec::new();
            tls.write_tls(&mut records)?;
            stream.write_all(&records).await?;
        }
        let length = stream.read(&mut buffer).await?;
        let Some(first) = buffer[..length].first() else { return Ok(heard) };
        if matches!(heard, Greeting::NotTls) {
            if !TLS_RECORDS.contains(first) {
                return Ok(Greeting::NotTls);
            }
            heard = Greeting::Tls;
        }
        if !to_the_end {
            return Ok(heard);
        }
        let mut unread = &buffer[..length];
        while !unread.is_empty() {
            tls.read_tls(&mut unread)?;
            if let Err(fault) = tls.process_new_packets() {
                return Ok(Greeting::Refusal(fault));
            }
        }
    }
}

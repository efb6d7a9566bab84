//! A second look at a connection that was established and broke at its first call.
//!
//! Only two mistakes look like that: plain HTTP/2 sent to a TLS port, and a client certificate that the member does not
//! accept. In TLS 1.3 the handshake ends before the server checks that certificate, and its alert is often lost in the reset
//! that follows. So this module makes the handshake once more, sends nothing else, and waits for the alert.

use super::dialer::{Dialer, Prepared};
use super::endpoint::Address;
use super::failure;
use crate::error::{Error, Result};
use rustls::client::ClientConnection;
use rustls::pki_types::ServerName;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
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

/// Returns a more exact error if it finds one within the dial timeout, else `error`.
pub(super) async fn look_closer(dialer: &Dialer, prepared: &Prepared, error: Error) -> Error {
    let endpoint = &prepared.endpoint;
    match timeout(dialer.dial_timeout(), greet(dialer, &endpoint.address, endpoint.tls)).await {
        Ok(Ok(Greeting::Refusal(fault))) if endpoint.tls => {
            failure::refused_handshake(endpoint, &fault).with_source(error)
        }
        Ok(Ok(Greeting::Tls | Greeting::Refusal(_))) if !endpoint.tls => {
            failure::plaintext_to_tls(endpoint).with_source(error)
        }
        _ => error,
    }
}

/// Makes a handshake with the server at `address`. With `to_the_end` it keeps reading after the server's first answer.
async fn greet(dialer: &Dialer, address: &Address, to_the_end: bool) -> Result<Greeting, io::Error> {
    let config = dialer.tls().unverified_config().map_err(io::Error::other)?;
    // An IP address sends no server name, and this handshake verifies nothing against it.
    let no_name = ServerName::IpAddress(Ipv4Addr::LOCALHOST.into());
    let tls = ClientConnection::new(Arc::new(config), no_name).map_err(io::Error::other)?;
    match address {
        Address::Tcp(authority) => shake_hands(TcpStream::connect(authority).await?, tls, to_the_end).await,
        Address::Unix(path) => shake_hands(UnixStream::connect(path).await?, tls, to_the_end).await,
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

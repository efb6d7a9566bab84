//! A link with a round trip: each byte arrives a fixed time after it was sent, in both directions, and nothing is slower.

use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{Instant, sleep_until};

use crate::Outcome;

/// Bytes read at a time.
const PIECE_SIZE: usize = 128 * 1024;
/// Pieces on the way: far more than any window, so that the sender's window is the limit and not this link.
const PIECES: usize = 4096;

/// Listens at a port of the system's choice, prints it, and carries connections to `address` until it is killed.
///
/// Prints the time, in nanoseconds since 1970, at which more than `threshold` bytes of a connection had come back.
pub(crate) async fn delay(address: &str, milliseconds: f64, threshold: u64) -> Outcome {
    let delay = Duration::from_secs_f64(milliseconds / 1000.0);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    loop {
        let (client, _) = listener.accept().await?;
        let server = TcpStream::connect(address).await?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        tokio::spawn(carry(from_client, to_server, delay, u64::MAX));
        tokio::spawn(carry(from_server, to_client, delay, threshold));
    }
}

type Piece = (Instant, Vec<u8>);

/// Errors end the connection; the two ends notice that.
async fn carry(from: OwnedReadHalf, to: OwnedWriteHalf, delay: Duration, threshold: u64) {
    let (sent, arriving) = channel(PIECES);
    let reading = tokio::spawn(read(from, sent, delay));
    let _ = write(to, arriving, threshold).await;
    reading.abort();
}

async fn read(mut from: OwnedReadHalf, sent: Sender<Piece>, delay: Duration) -> io::Result<()> {
    loop {
        let mut piece = Vec::with_capacity(PIECE_SIZE);
        if from.read_buf(&mut piece).await? == 0 || sent.send((Instant::now() + delay, piece)).await.is_err()
        {
            return Ok(());
        }
    }
}

async fn write(mut to: OwnedWriteHalf, mut arriving: Receiver<Piece>, threshold: u64) -> io::Result<()> {
    let mut carried = 0;
    while let Some((arrival, piece)) = arriving.recv().await {
        sleep_until(arrival).await;
        let before = carried;
        carried += piece.len() as u64;
        if before <= threshold && carried > threshold {
            println!("{}", SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos()));
        }
        to.write_all(&piece).await?;
    }
    to.shutdown().await
}

//! Something between the program and a real etcd that harms the connection, as no etcd can be made to do itself, or counts.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Longer than any test waits.
const PATIENCE: Duration = Duration::from_secs(120);

/// What happens to what the server sends, once this many bytes of it have passed.
#[derive(Clone, Copy)]
pub enum Harm {
    /// Nothing more passes, and the connection stays.
    Stall(usize),
    /// The connection ends.
    Cut(usize),
    /// One bit is another.
    Flip(usize),
}

/// What came from the server: when, and how many bytes with what came before.
pub type Tally = Arc<Mutex<Vec<(Instant, usize)>>>;

/// Listens for the program, and connects it to the etcd at `address`. Gone with the test.
pub fn proxy(address: &str, harm: Harm) -> String {
    between(address, move |server, client| relay(server, client, Some(harm)))
}

/// The same, but counts what the server sends on all connections together.
pub fn counting(address: &str) -> (String, Tally) {
    let tally = Tally::default();
    let counting = Arc::clone(&tally);
    let here = between(address, move |server, client| relay_counting(server, client, &counting));
    (here, tally)
}

fn between(address: &str, back: impl Fn(TcpStream, TcpStream) + Clone + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let here = listener.local_addr().unwrap().to_string();
    let address = address.to_owned();
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let server = TcpStream::connect(&address).unwrap();
            let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || relay(from, to, None));
            let back = back.clone();
            std::thread::spawn(move || back(server, client));
        }
    });
    here
}

fn relay(mut from: TcpStream, mut to: TcpStream, harm: Option<Harm>) {
    let mut buffer = [0; 4096];
    let mut passed = 0;
    loop {
        let length = match from.read(&mut buffer) {
            Ok(length) if length > 0 => length,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            _ => break,
        };
        let after = passed + length;
        match harm {
            Some(Harm::Stall(limit)) if after > limit => {
                std::thread::park_timeout(PATIENCE);
                break;
            }
            Some(Harm::Cut(limit)) if after > limit => break,
            Some(Harm::Flip(position)) if (passed..after).contains(&position) => {
                buffer[position - passed] ^= 1;
            }
            _ => {}
        }
        passed = after;
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

fn relay_counting(mut from: TcpStream, mut to: TcpStream, tally: &Tally) {
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let mut tally = tally.lock().unwrap();
        let before = tally.last().map_or(0, |&(_, bytes)| bytes);
        tally.push((Instant::now(), before + length));
        drop(tally);
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

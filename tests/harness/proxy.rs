//! Something between the program and a real etcd that harms the connection, as no etcd can be made to do itself, or counts.

use rustix::net::sockopt::set_socket_recv_buffer_size;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// Longer than any test waits.
const PATIENCE: Duration = Duration::from_secs(120);

/// What waits of a connection that is held, beside what waits at the server: as little as may be.
const HELD_BUFFER: usize = 64 * 1024;

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

/// The same, but whatever passes takes so long in either direction.
pub fn delaying(address: &str, delay: Duration) -> String {
    let late = move |from, to| relay_late(from, to, delay);
    connecting(address, late, late)
}

/// The same, but once so many bytes have come from the server on a connection it is held, until it is told to go on.
pub fn holding(address: &str, limit: usize) -> (String, Hold) {
    let hold = Hold::default();
    let holder = hold.clone();
    let here = between(address, move |server, client| {
        set_socket_recv_buffer_size(&server, HELD_BUFFER).unwrap();
        relay_held(server, client, limit, &holder);
    });
    (here, hold)
}

/// Whether connections are held. Clones are the same.
#[derive(Clone, Default)]
pub struct Hold(Arc<(Mutex<Held>, Condvar)>);

#[derive(Default)]
struct Held {
    reached: bool,
    released: bool,
}

impl Hold {
    /// Whether some connection is held, or was.
    pub fn is_reached(&self) -> bool {
        self.0.0.lock().unwrap().reached
    }

    /// Lets everything pass from now on.
    pub fn release(&self) {
        self.0.0.lock().unwrap().released = true;
        self.0.1.notify_all();
    }

    fn wait(&self) {
        let mut held = self.0.0.lock().unwrap();
        held.reached = true;
        drop(self.0.1.wait_timeout_while(held, PATIENCE, |held| !held.released).unwrap());
    }
}

fn between(address: &str, back: impl Fn(TcpStream, TcpStream) + Clone + Send + 'static) -> String {
    connecting(address, |client, server| relay(client, server, None), back)
}

fn connecting(
    address: &str,
    forth: impl Fn(TcpStream, TcpStream) + Clone + Send + 'static,
    back: impl Fn(TcpStream, TcpStream) + Clone + Send + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let here = listener.local_addr().unwrap().to_string();
    let address = address.to_owned();
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            // The server may be down: then so are we.
            let Ok(server) = TcpStream::connect(&address) else { continue };
            let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            let (forth, back) = (forth.clone(), back.clone());
            std::thread::spawn(move || forth(from, to));
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

fn relay_held(mut from: TcpStream, mut to: TcpStream, limit: usize, hold: &Hold) {
    let mut buffer = vec![0; 64 * 1024];
    let mut passed = 0;
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        passed += length;
        if passed > limit {
            hold.wait();
        }
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

fn relay_late(mut from: TcpStream, mut to: TcpStream, delay: Duration) {
    // So much may be on its way.
    let (sender, receiver) = sync_channel::<(Instant, Vec<u8>)>(1024);
    let ending = to.try_clone().unwrap();
    let delivering = std::thread::spawn(move || {
        for (due, bytes) in receiver {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
    });
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if sender.send((Instant::now() + delay, buffer[..length].to_vec())).is_err() {
            break;
        }
    }
    drop(sender);
    let _ = delivering.join();
    let _ = from.shutdown(Shutdown::Both);
    let _ = ending.shutdown(Shutdown::Both);
}

//! The lower limit of every save: the client of this project receives the stream and throws it away.

use std::time::{Duration, Instant};

use etcd_seal::low_level::etcd::{self, Connection};
use etcd_seal::low_level::interrupt::Interrupt;

use crate::Outcome;

/// Receives a snapshot of `endpoint`; `files` are those of `--cacert`, `--cert` and `--key`.
pub(crate) fn receive(endpoint: &str, files: Option<[&str; 3]>) -> Outcome {
    let file = |index: usize| files.map(|files| files[index].into());
    let mut connection = Connection::new([endpoint]);
    connection.cacert = file(0);
    connection.cert = file(1);
    connection.key = file(2);
    connection.insecure_transport = files.is_none();
    connection.dial_timeout = Duration::from_secs(10);
    connection.command_timeout = Duration::from_secs(30);
    connection.stall_timeout = Duration::from_secs(60);
    connection.min_rate = 0;
    connection.keepalive_time = Duration::from_secs(10);
    connection.keepalive_timeout = Duration::from_secs(20);
    let began = Instant::now();
    let runtime = crate::runtime()?;
    // On a thread outside of the runtime, as in the program.
    let bytes = std::thread::scope(|scope| {
        let reading = scope.spawn(|| -> etcd_seal::Result<u64> {
            let mut snapshot = runtime.block_on(etcd::open(&connection, &Interrupt::new()))?;
            let mut bytes = 0;
            while let Some(piece) = runtime.block_on(snapshot.next())? {
                bytes += piece.len() as u64;
            }
            Ok(bytes)
        });
        reading.join().map_err(|_| "the thread that reads ended early")
    })??;
    println!("{bytes} bytes, {:.3} s", began.elapsed().as_secs_f64());
    Ok(())
}

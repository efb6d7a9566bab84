//! Backs up a live etcd into a directory: `backup ENDPOINT RECIPIENT DIRECTORY`.

#![expect(clippy::print_stdout, reason = "a program prints its result")]

use etcd_seal::{Connection, Input, Recipients, Result, Seal};
use std::path::Path;
use std::time::SystemTime;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [endpoint, recipient, directory] = &arguments[..] else {
        panic!("usage: backup ENDPOINT RECIPIENT DIRECTORY");
    };
    let etcd = Connection::new([endpoint]);
    let recipients = Recipients::of([recipient])?;
    let seal = Seal::new(&recipients, SystemTime::now());
    let (sealed, published) = seal.to_directory(Input::etcd(&etcd), Path::new(directory))?;
    println!("{} ({} bytes)", published.path.display(), sealed.archive_size);
    // The archive is there, but its sidecar or the entry of the directory may not be durable.
    published.shortfall.map_or(Ok(()), Err)
}

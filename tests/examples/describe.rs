//! Lists what an archive says of itself, with its key or without: `describe ARCHIVE [IDENTITY]`.

#![expect(clippy::print_stdout, reason = "a program prints its result")]

use etcd_seal::{Identities, Inspected, inspect};
use std::error::Error;
use std::fs::{self, File};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let archive = arguments.next().ok_or("usage: describe ARCHIVE [IDENTITY]")?;
    let identities = arguments.next().map(fs::read_to_string).transpose()?;
    let identities = identities.map(|text| Identities::of(&text)).transpose()?;
    let Inspected { visible, inside, .. } = inspect(&mut File::open(archive)?, identities.as_ref())?;
    println!("{} bytes for {}", visible.archive_size, visible.stanzas.join(", "));
    if let Some(description) = visible.description {
        println!("sealed at {}, revision {:?}", description.sealed_at, description.revision);
    }
    println!("opened: {}", inside.is_some());
    Ok(())
}

//! A whole archive with a known key: streamed, looked at from both ends, and without the key.

use std::io::{Cursor, Write};

use etcd_seal::low_level::archive::expansion::{UNPROMISED_RATIO, UNPROMISED_SIZE};
use etcd_seal::low_level::keys::Identities;
use etcd_seal::low_level::pipeline::inspect::{Inside, inspect};
use etcd_seal::low_level::pipeline::open::{Opened, Options, look, open};
use etcd_seal::{Result, Watch};

use super::keys;

/// Reads it in all three ways.
pub fn run(input: &[u8]) {
    let _ = read(input, &keys::for_archive(input));
}

/// How much came out; of the snapshot itself only that.
#[derive(Default)]
pub(crate) struct Counted(pub(crate) u64);

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The size that a manifest names, where both ends of the archive are right.
fn promised(inside: &Inside) -> Option<u64> {
    match inside {
        Inside::Ours { manifest, .. } => manifest.description.snapshot_size,
        Inside::Foreign(_) => None,
    }
}

/// Reads it in all three ways, which must not contradict each other.
pub(crate) fn read(archive: &[u8], identities: &Identities) -> Result<Opened> {
    let watch = Watch::default();
    let seen = look(&mut &archive[..], &watch);
    let _ = inspect(&mut Cursor::new(archive), None);
    let inspected = inspect(&mut Cursor::new(archive), Some(identities));
    let options = Options { jobs: 1, allow_missing_digest: true, file_digest: true };
    let mut output = Counted::default();
    let opened = open(&mut &archive[..], identities, &options, &mut output, &watch);
    if let Ok(inspected) = &inspected {
        let promised = inspected.inside.as_ref().and_then(promised);
        let justified = UNPROMISED_SIZE + UNPROMISED_RATIO * archive.len() as u64;
        assert!(output.0 <= promised.unwrap_or(justified), "{} bytes for {promised:?}", output.0);
    }
    let Ok(opened) = opened else { return opened };

    assert_eq!(opened.snapshot_size, output.0);
    let seen = seen.expect("what opens can be looked at");
    assert_eq!(seen.archive_sha256, opened.visible.archive_sha256);
    assert_eq!(seen.description, opened.visible.description);
    assert_eq!(seen.stanzas, opened.visible.stanzas);
    let inspected = inspected.expect("what opens has both ends");
    assert_eq!(inspected.visible.archive_size, opened.visible.archive_size);
    match inspected.inside.expect("there was a key") {
        Inside::Ours { manifest, trailer, frames } => {
            assert_eq!(Some(*manifest), opened.manifest);
            assert_eq!(Some(*trailer), opened.trailer);
            assert_eq!(frames, opened.frames);
        }
        Inside::Foreign(foreign) => assert_eq!(Some(foreign), opened.foreign),
    }
    Ok(opened)
}

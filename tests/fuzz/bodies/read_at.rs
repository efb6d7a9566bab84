//! Random access: the input is the plaintext of an archive, sealed here under a key without a header.

use std::io::Cursor;

use etcd_seal::low_level::archive::payload::{CHUNK_SIZE, PayloadKey, Position, TAG_SIZE};
use etcd_seal::low_level::archive::read_at::{ArchiveAt, PayloadAt, ends_with_trailer};

/// What is read of a snapshot at most: it may promise to be larger than any memory.
const READ_MAX: u64 = 1 << 20;

/// Opens both ends, then reads here and there.
pub fn run(input: &[u8]) {
    let key = PayloadKey::derive(&[7; 16], &[9; 16]);
    let payload = || PayloadAt::new(Cursor::new(seal(&key, input)), &key, 0).expect("it was sealed as one");
    assert_eq!(payload().size(), input.len() as u64);
    let _ = ends_with_trailer(&mut payload());
    let Ok(mut archive) = ArchiveAt::new(payload(), None) else { return };

    let size = archive.trailer.snapshot_size;
    let mut beyond = [0];
    assert!(archive.read_at(size, &mut beyond).is_err(), "there is a byte behind the end");
    let length = size.min(READ_MAX);
    let mut whole = vec![0; usize::try_from(length).unwrap_or(0)];
    let read = archive.read_at(0, &mut whole).is_ok();
    let _ = archive.read_at(size - length, &mut whole.clone());
    for at in [0, length / 3, length / 2, length.saturating_sub(1)] {
        let mut part = vec![0; usize::try_from((length - at).min(100)).unwrap_or(0)];
        if archive.read_at(at, &mut part).is_ok() && read {
            let at = usize::try_from(at).unwrap_or(0);
            assert_eq!(part, whole[at..at + part.len()], "the same bytes twice");
        }
    }
}

fn seal(key: &PayloadKey, plaintext: &[u8]) -> Vec<u8> {
    let cipher = key.cipher();
    let mut payload = Vec::new();
    let chunks: Vec<&[u8]> =
        if plaintext.is_empty() { vec![&[]] } else { plaintext.chunks(CHUNK_SIZE).collect() };
    for (number, chunk) in chunks.iter().enumerate() {
        let position = if number + 1 == chunks.len() { Position::Last } else { Position::NotLast };
        let begin = payload.len();
        payload.extend_from_slice(chunk);
        payload.extend_from_slice(&[0; TAG_SIZE]);
        cipher.seal(number as u64, position, &mut payload[begin..]).expect("a chunk can be sealed");
    }
    payload
}

//! zstd frames and the seek table, as bytes that are not authenticated.

use etcd_seal::low_level::archive::frame::{
    FRAME_SIZE_MIN, FramePacker, FrameUnpacker, ZSTD_MAGIC, begins_as_manifest, walk_frame,
};
use etcd_seal::low_level::archive::seek_table::{FOOTER_SIZE, SeekTable};

/// Reads frame after frame, then all of it as a seek table, then packs it.
pub fn run(input: &[u8]) {
    let _ = begins_as_manifest(input);
    let magic = ZSTD_MAGIC.to_le_bytes();
    let mut unpacker = FrameUnpacker::new().expect("there is memory for zstd");
    let mut rest = input.strip_prefix(&magic).unwrap_or(input);
    while let Some((frame, content_size)) = walk(&mut rest) {
        let mut content = Vec::new();
        if unpacker.unpack(&frame, content_size, &mut content).is_ok() {
            assert_eq!(content.len(), content_size as usize);
        }
        rest = rest.strip_prefix(&magic).unwrap_or(rest);
    }
    seek_table(input);
    pack(&input[..input.len().min(FRAME_SIZE_MIN as usize)]);
}

fn walk(rest: &mut &[u8]) -> Option<(Vec<u8>, u32)> {
    let before = *rest;
    let mut frame = Vec::new();
    let header = walk_frame(rest, &mut frame, |_, _| Ok(())).ok()?;
    let read = before.len() - rest.len();
    assert_eq!(frame[4..], before[..read], "a frame is not what was read");
    Some((frame, header.version_1_content_size().ok()?))
}

fn seek_table(input: &[u8]) {
    let footer = input.last_chunk::<FOOTER_SIZE>();
    let Ok(table) = SeekTable::parse(input) else { return };
    let footer = footer.expect("a table has a footer");
    assert_eq!(SeekTable::frame_size(footer).expect("it was parsed"), input.len());
    assert_eq!(table.to_frame().expect("it was parsed"), input);
}

fn pack(content: &[u8]) {
    let Ok(content_size @ 1..) = u32::try_from(content.len()) else { return };
    let mut frame = Vec::new();
    let mut packer = FramePacker::new(1, FRAME_SIZE_MIN).expect("there is memory for zstd");
    packer.pack(content, &mut frame).expect("zstd packs everything");
    let mut rest = &frame[4..];
    let (walked, promised) = walk(&mut rest).expect("a packed frame is of version 1");
    assert_eq!((walked, promised, rest.len()), (frame.clone(), content_size, 0));
    let mut again = Vec::new();
    let mut unpacker = FrameUnpacker::new().expect("there is memory for zstd");
    unpacker.unpack(&frame, content_size, &mut again).expect("a packed frame can be unpacked");
    assert_eq!(again, content);
}

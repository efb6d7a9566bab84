//! The plaintext of an archive, built by hand from etcd-seal-archive(5), so that every layer can be made wrong.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use zstd::bulk::Compressor;
use zstd::zstd_safe::CParameter;

use super::snapshot::{DIGEST_SIZE, MEMBER, REVISION};

pub(crate) const MANIFEST_MAGIC: u32 = 0x184D_2A50;
pub(crate) const TRAILER_MAGIC: u32 = 0x184D_2A51;
pub(crate) const SEEK_TABLE_MAGIC: u32 = 0x184D_2A5E;
const SEEKABLE_MAGIC: u32 = 0x8F92_EAB1;
pub(crate) const FRAME_SIZE: usize = 65_536;

/// A zstd frame and how many bytes of the snapshot are in it.
#[derive(Clone)]
pub(crate) struct Frame {
    pub bytes: Vec<u8>,
    pub content: u32,
}

/// The layers of a plaintext before they are joined.
#[derive(Clone)]
pub(crate) struct Layers {
    pub snapshot: Vec<u8>,
    pub description: Value,
    pub manifest: Value,
    pub frames: Vec<Frame>,
    pub trailer: Value,
}

impl Layers {
    /// As they should be.
    pub(crate) fn of(snapshot: Vec<u8>, frame_size: usize, recipients: &[String]) -> Self {
        let description = description(snapshot.len(), frame_size);
        let mut manifest = description.clone();
        for (name, value) in [
            ("endpoint", json!("https://192.0.2.1:2379")),
            ("member_name", json!("m1")),
            ("host", json!("backup.example")),
            ("tags", json!(["vector"])),
            ("note", json!("a test vector")),
            ("recipients", json!(recipients)),
        ] {
            manifest[name] = value;
        }
        let database = &snapshot[..snapshot.len() - DIGEST_SIZE];
        let trailer = json!({
            "snapshot_size": snapshot.len(),
            "database_sha256": hex::encode(Sha256::digest(database)),
            "digest": "verified",
            "contents": {"revision": REVISION, "members": [MEMBER]},
            "status_after": {"revision": 43, "raft_term": 2, "raft_index": 99, "database_size": database.len()},
            "stream_open_ms": 12,
        });
        let frames = snapshot.chunks(frame_size).map(pack).collect();
        Self { snapshot, description, manifest, frames, trailer }
    }

    /// Sets a field of description and manifest alike.
    pub(crate) fn set(&mut self, name: &str, value: &Value) {
        self.description[name] = value.clone();
        self.manifest[name] = value.clone();
    }

    /// The skippable frames of manifest and trailer, with the data between them.
    pub(crate) fn joined(&self) -> Vec<Frame> {
        let mut frames = vec![document(MANIFEST_MAGIC, self.manifest.to_string().as_bytes())];
        frames.extend(self.frames.iter().cloned());
        frames.push(document(TRAILER_MAGIC, self.trailer.to_string().as_bytes()));
        frames
    }

    /// The plaintext as it should be.
    pub(crate) fn plaintext(&self) -> Vec<u8> {
        with_seek_table(&self.joined())
    }
}

pub(crate) fn description(snapshot_size: usize, frame_size: usize) -> Value {
    json!({
        "format": "etcd-seal",
        "format_version": 1,
        "tool": "etcd-seal 0.1.0",
        "sealed_at": "2026-01-02T03:04:05Z",
        "cluster_name": "vectors",
        "cluster_id": "0123456789abcdef",
        "member_id": MEMBER,
        "etcd_version": "3.5.16",
        "revision": REVISION,
        "snapshot_size": snapshot_size,
        "frame_size": frame_size,
        "level": 1,
        "source": "etcd",
        "snapshot_started_at": "2026-01-02T03:04:00Z",
    })
}

/// A skippable frame without any of the snapshot.
pub(crate) fn document(magic: u32, content: &[u8]) -> Frame {
    Frame { bytes: skippable(magic, content), content: 0 }
}

pub(crate) fn skippable(magic: u32, content: &[u8]) -> Vec<u8> {
    let size = u32::try_from(content.len()).unwrap();
    [&magic.to_le_bytes()[..], &size.to_le_bytes(), content].concat()
}

/// A frame as version 1 wants it.
pub(crate) fn pack(content: &[u8]) -> Frame {
    pack_with(content, &[])
}

/// A frame with some parameters otherwise.
pub(crate) fn pack_with(content: &[u8], parameters: &[CParameter]) -> Frame {
    let mut compressor = Compressor::new(1).unwrap();
    // zstd makes a single segment of what its window covers.
    compressor.set_parameter(CParameter::WindowLog(20)).unwrap();
    compressor.set_parameter(CParameter::ChecksumFlag(true)).unwrap();
    for parameter in parameters {
        compressor.set_parameter(*parameter).unwrap();
    }
    Frame { bytes: compressor.compress(content).unwrap(), content: u32::try_from(content.len()).unwrap() }
}

pub(crate) fn with_seek_table(frames: &[Frame]) -> Vec<u8> {
    [concat(frames), seek_table(&entries(frames), 0)].concat()
}

pub(crate) fn concat(frames: &[Frame]) -> Vec<u8> {
    frames.iter().flat_map(|frame| frame.bytes.iter().copied()).collect()
}

/// Size of each frame and of its content.
pub(crate) fn entries(frames: &[Frame]) -> Vec<(u32, u32)> {
    frames.iter().map(|frame| (u32::try_from(frame.bytes.len()).unwrap(), frame.content)).collect()
}

pub(crate) fn seek_table(entries: &[(u32, u32)], descriptor: u8) -> Vec<u8> {
    let mut content = Vec::new();
    for (frame, snapshot) in entries {
        content.extend(frame.to_le_bytes());
        content.extend(snapshot.to_le_bytes());
    }
    content.extend(u32::try_from(entries.len()).unwrap().to_le_bytes());
    content.push(descriptor);
    content.extend(SEEKABLE_MAGIC.to_le_bytes());
    skippable(SEEK_TABLE_MAGIC, &content)
}

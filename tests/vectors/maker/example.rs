//! The worked example of etcd-seal-archive(5), read from the page itself.

use super::layers::{Frame, Layers};
use super::{Maker, Vector, snapshot};

const PAGE: &str = include_str!("../../../man/etcd-seal-archive.5");
/// Bytes of the nonce before the payload.
const NONCE_SIZE: usize = 16;

/// The parts that the page shows.
pub(crate) struct Example {
    pub file_key: [u8; 16],
    pub nonce: [u8; NONCE_SIZE],
    /// The text of the header.
    pub header: String,
    /// The sealed chunk.
    pub payload: Vec<u8>,
    pub manifest: String,
    pub frame: Vec<u8>,
    pub trailer: String,
    pub seek_table: Vec<u8>,
    pub snapshot: Vec<u8>,
}

impl Example {
    pub(crate) fn of_the_page() -> Self {
        let rest = hex::decode(block("rest", "")).unwrap();
        let (nonce, payload) = rest.split_first_chunk::<NONCE_SIZE>().unwrap();
        let count_from =
            |first: u8| -> [u8; NONCE_SIZE] { std::array::from_fn(|at| first + u8::try_from(at).unwrap()) };
        let (file_key, counted) = (count_from(0), count_from(0x10));
        assert_eq!(*nonce, counted);
        Self {
            file_key,
            nonce: *nonce,
            header: block("header", "\n") + "\n",
            payload: payload.to_vec(),
            manifest: block("manifest", ""),
            frame: hex::decode(block("frame", "")).unwrap(),
            trailer: block("trailer", ""),
            seek_table: hex::decode(block("seek table", "")).unwrap(),
            snapshot: snapshot::with_digest(snapshot::database_of(512, 3, |_| 0)),
        }
    }

    /// The whole file.
    pub(crate) fn file(&self) -> Vec<u8> {
        [self.header.as_bytes(), &self.nonce, &self.payload].concat()
    }
}

/// The lines of one block of the page, joined.
fn block(name: &str, between: &str) -> String {
    let begin = format!(".\\\" example: {name}\n.EX\n");
    let (_, rest) = PAGE.split_once(&begin).unwrap_or_else(|| panic!("the page has no {name}"));
    let (block, _) = rest.split_once("\n.EE").unwrap();
    block.replace("\\-", "-").lines().collect::<Vec<_>>().join(between)
}

impl Maker {
    /// The only vector that is not made anew.
    pub(super) fn worked_example() -> Vector {
        let example = Example::of_the_page();
        let manifest: serde_json::Value = serde_json::from_str(&example.manifest).unwrap();
        let content = u32::try_from(example.snapshot.len()).unwrap();
        let layers = Layers {
            snapshot: example.snapshot.clone(),
            description: manifest.clone(),
            trailer: serde_json::from_str(&example.trailer).unwrap(),
            frames: vec![Frame { bytes: example.frame.clone(), content }],
            manifest,
        };
        let title = "worked-example: the worked example of etcd-seal-archive(5), byte for byte";
        Vector::success(title, &layers, example.file()).cluster_name(Some("example"))
    }
}

//! Makes the test vectors: archives built by hand and sealed by the age crate, without any code of etcd-seal.

mod documents;
pub(crate) mod example;
mod headers;
pub(crate) mod index;
mod inner;
mod layers;
mod payloads;
mod seal;
mod snapshot;
mod successes;

use age::Recipient;
use index::{Entry, Foreign, Inspect, Look, Open};
use layers::{FRAME_SIZE, Layers};
use seal::{With, description_stanza, seal};
use sha2::{Digest as _, Sha256};

/// The identity that opens most of them.
pub(crate) const KEY: &str = "key.txt";
/// Another one.
pub(crate) const SECOND_KEY: &str = "second-key.txt";
/// Opens those that a passphrase opens.
pub(crate) const PASSPHRASE: &str = "correct horse battery staple";
const CLUSTER_NAME: &str = "vectors";

/// An archive and what must come of it. It is made from its title: the name of its file, without `.age`, and a sentence.
pub(crate) struct Vector {
    pub entry: Entry,
    pub bytes: Vec<u8>,
}

impl Vector {
    /// One of the format that opens.
    fn success(title: &str, layers: &Layers, bytes: Vec<u8>) -> Self {
        let mut vector = Self::new(title, bytes);
        let mut manifest = layers.manifest.clone();
        manifest.as_object_mut().unwrap().remove("later");
        vector.entry.open = Open::Success {
            snapshot_size: layers.snapshot.len() as u64,
            snapshot_sha256: hex::encode(Sha256::digest(&layers.snapshot)),
            digest: layers.trailer["digest"].as_str().unwrap().to_owned(),
            frames: layers.frames.len() as u64,
            manifest: Some(manifest),
            foreign: None,
        };
        vector
    }

    /// One of another make that opens.
    fn foreign(title: &str, snapshot: &[u8], foreign: Foreign, bytes: Vec<u8>) -> Self {
        let mut vector = Self::new(title, bytes).not_ours();
        vector.entry.open = Open::Success {
            snapshot_size: snapshot.len() as u64,
            snapshot_sha256: hex::encode(Sha256::digest(snapshot)),
            digest: "verified".to_owned(),
            frames: 0,
            manifest: None,
            foreign: Some(foreign),
        };
        vector
    }

    /// One that does not open, while header, manifest, trailer and seek table look right.
    fn failure(title: &str, kind: &str, bytes: Vec<u8>) -> Self {
        let mut vector = Self::new(title, bytes);
        vector.entry.open = Open::Failure { kind: kind.to_owned(), damaged: None };
        vector
    }

    /// One that does not open because of what manifest, trailer or seek table say.
    fn failure_at_the_ends(title: &str, kind: &str, bytes: Vec<u8>) -> Self {
        Self::failure(title, kind, bytes).inspect_fails(kind)
    }

    /// One that is refused even without a key.
    fn failure_for_all(title: &str, kind: &str, bytes: Vec<u8>) -> Self {
        Self::failure_at_the_ends(title, kind, bytes).look_fails(kind)
    }

    fn new(title: &str, bytes: Vec<u8>) -> Self {
        let (name, what) = title.split_once(": ").unwrap();
        let entry = Entry {
            file: format!("{name}.age"),
            what: what.to_owned(),
            identity: Some(KEY.to_owned()),
            passphrase: None,
            allow_missing_digest: false,
            open: Open::Failure { kind: String::new(), damaged: None },
            inspect: Inspect::Success { foreign: false },
            look: Look::Success {
                stanzas: vec!["X25519".to_owned()],
                cluster_name: Some(CLUSTER_NAME.to_owned()),
            },
        };
        Self { entry, bytes }
    }

    fn inspect_fails(mut self, kind: &str) -> Self {
        self.entry.inspect = Inspect::Failure { kind: kind.to_owned() };
        self
    }

    fn look_fails(mut self, kind: &str) -> Self {
        self.entry.look = Look::Failure { kind: kind.to_owned() };
        self
    }

    fn damaged(mut self, begin: usize, end: usize) -> Self {
        if let Open::Failure { damaged, .. } = &mut self.entry.open {
            *damaged = Some((begin as u64, end as u64));
        }
        self
    }

    fn stanzas(mut self, types: &[&str]) -> Self {
        if let Look::Success { stanzas, .. } = &mut self.entry.look {
            *stanzas = types.iter().map(|name| (*name).to_owned()).collect();
        }
        self
    }

    fn cluster_name(mut self, name: Option<&str>) -> Self {
        if let Look::Success { cluster_name, .. } = &mut self.entry.look {
            *cluster_name = name.map(str::to_owned);
        }
        self
    }

    fn not_described(self) -> Self {
        self.cluster_name(None)
    }

    fn not_ours(mut self) -> Self {
        self.entry.inspect = Inspect::Success { foreign: true };
        self.not_described()
    }

    fn with_key(mut self, name: &str) -> Self {
        self.entry.identity = Some(name.to_owned());
        self
    }

    fn with_passphrase(mut self, passphrase: &str) -> Self {
        self.entry.identity = None;
        self.entry.passphrase = Some(passphrase.to_owned());
        self.stanzas(&["scrypt"]).not_described()
    }

    fn allowing_missing_digest(mut self) -> Self {
        self.entry.allow_missing_digest = true;
        self
    }

    fn without_digest(mut self) -> Self {
        if let Open::Success { digest, .. } = &mut self.entry.open {
            "absent".clone_into(digest);
        }
        self
    }
}

/// The recipients.
pub(crate) struct Maker {
    pub first: age::x25519::Recipient,
    pub second: age::x25519::Recipient,
}

impl Maker {
    /// Every vector that is a file.
    pub(crate) fn files(&self) -> Vec<Vector> {
        let groups = [
            self.successes(),
            self.others(),
            self.headers(),
            self.later_versions(),
            self.payloads(),
            self.inner(),
            self.documents(),
            self.later_manifests(),
            self.first_pages(),
            self.second_pages(),
            vec![Self::worked_example()],
        ];
        groups.into_iter().flatten().collect()
    }

    /// Those that are too large to be kept, and so are made anew whenever they are needed.
    pub(crate) fn large(&self) -> Vec<Vector> {
        [self.large_headers(), self.large_documents()].into_iter().flatten().collect()
    }

    /// Layers of a snapshot, as they should be.
    fn layers(&self, snapshot: Vec<u8>) -> Layers {
        self.layers_of(snapshot, FRAME_SIZE)
    }

    fn layers_of(&self, snapshot: Vec<u8>, frame_size: usize) -> Layers {
        Layers::of(snapshot, frame_size, &[self.first.to_string()])
    }

    /// Three pages in one frame.
    fn small(&self) -> Layers {
        self.layers(snapshot::zeros(3))
    }

    /// Forty pages in three frames.
    fn several(&self) -> Layers {
        self.layers(snapshot::zeros(40))
    }

    /// An archive of `plaintext` with the description of `layers`.
    fn seal_inside(&self, layers: &Layers, plaintext: &[u8]) -> Vec<u8> {
        self.seal_described(layers.description.to_string().as_bytes(), plaintext)
    }

    fn seal_described(&self, description: &[u8], plaintext: &[u8]) -> Vec<u8> {
        self.seal_with(vec![], vec![description_stanza(description)], plaintext)
    }

    fn seal_with(
        &self,
        before: Vec<age_core::format::Stanza>,
        after: Vec<age_core::format::Stanza>,
        plaintext: &[u8],
    ) -> Vec<u8> {
        let recipient = With { before, recipient: &self.first, after };
        seal(&[&recipient as &dyn Recipient], plaintext)
    }

    /// The archive of `layers` as it should be.
    fn archive(&self, layers: &Layers) -> Vec<u8> {
        self.seal_inside(layers, &layers.plaintext())
    }
}

//! What is inside the encryption, sealed here for the key of the targets: a mutation of an archive itself would not get
//! past the first tag.
//!
//! The first byte of an input says what the rest is: a plaintext as it stands, or a recipe for one that is right but for what
//! the recipe makes wrong.

use age::Recipient;
use age_core::format::Stanza;
use etcd_seal::low_level::archive::manifest::Description;

use super::archive::read;
use super::keys;
use super::recipe::{Made, Recipe};
use super::seal::{With, description_stanza, seal};

/// Seals, and reads.
pub fn run(input: &[u8]) {
    let Some((kind, rest)) = input.split_first() else { return };
    let made = match kind {
        0 => Made { description: None, plaintext: rest.to_vec(), right: false },
        1 => {
            let at = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
            let (description, plaintext) = rest.split_at(at);
            let plaintext = plaintext.get(1..).unwrap_or_default().to_vec();
            Made { description: Some(description.to_vec()), plaintext, right: false }
        }
        _ => Recipe(rest).make(),
    };
    let description: Vec<Stanza> = made.description.iter().map(|json| description_stanza(json)).collect();
    let recipient = keys::recipient();
    let with = With { before: Vec::new(), recipient: &recipient, after: description };
    let archive = seal(&[&with as &dyn Recipient], &made.plaintext);
    let opened = read(&archive, &keys::identities());
    if made.right {
        let opened = opened.expect("what is right opens");
        assert_eq!(opened.foreign, None);
        return;
    }
    let Ok(opened) = opened else { return };
    let promised = opened.manifest.as_ref().map(|manifest| &manifest.description);
    let size = promised.and_then(|description: &Description| description.snapshot_size);
    assert!(size.is_none_or(|size| size == opened.snapshot_size), "not what the manifest says");
}

//! The age header and the description in it, which need no key to be read.

use etcd_seal::low_level::archive::header::{Header, PREFIX_SIZE, armor_begin};

use super::keys;

/// Parses, and tries to unlock.
pub fn run(input: &[u8]) {
    let armor = armor_begin(input);
    assert!(armor.is_none_or(|begin| begin < input.len()), "armour begins behind the end");
    let prefix = &input[..input.len().min(PREFIX_SIZE)];
    let Ok(header) = Header::parse(prefix) else { return };
    let size = usize::try_from(header.size()).expect("a header fits memory");
    assert!(size <= prefix.len(), "a header of {size} bytes in {}", prefix.len());
    assert!(header.stanza_types().count() <= 256, "too many stanzas");
    let description = header.description();

    // What follows the header is none of its business.
    let again = Header::parse(&prefix[..size]).expect("a header without the payload is one");
    assert_eq!(again.size(), header.size());
    assert!(again.stanza_types().eq(header.stanza_types()), "stanzas depend on the payload");
    assert_eq!(again.description(), description);

    let _ = header.unlock(&keys::for_archive(prefix));
}

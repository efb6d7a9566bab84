//! The three JSON documents. An input is a description, a line break, and a manifest or trailer.

use etcd_seal::low_level::archive::manifest::{
    DOCUMENT_SIZE_MAX, Description, Manifest, Trailer, claimed_version, parse, parse_manifest,
    parse_versioned, to_json,
};

/// Parses each as all of them.
pub fn run(input: &[u8]) {
    let at = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let (first, second) = input.split_at(at);
    for json in [first, second, input] {
        let _ = claimed_version(json);
        if let Ok(document) = parse::<Trailer>(json, "trailer") {
            let written = to_json(&document.content, usize::MAX, "trailer").expect("it was read");
            assert_eq!(parse::<Trailer>(&written, "trailer").expect("it was read").content, document.content);
        }
        let _ = parse_manifest(json, None);
    }
    let description = parse_versioned::<Description>(first, "description");
    let description = description.ok();
    if let Some(description) = &description {
        assert_eq!(claimed_version(first), Some(1));
        assert!(description.is_part_of(description), "a description is not part of itself");
    }
    let Ok(manifest) = parse_manifest(second, description.as_ref()) else { return };
    let written = to_json(&manifest.content, usize::MAX, "manifest").expect("it was read");
    let again = parse_versioned::<Manifest>(&written, "manifest").expect("it was read");
    assert_eq!(again.content, manifest.content);
    assert!(
        to_json(&manifest.content, DOCUMENT_SIZE_MAX, "manifest").is_ok()
            || written.len() > DOCUMENT_SIZE_MAX
    );
}

//! The age test vectors for post-quantum keys, through the program and age's own plugin for them: the age crate has no such
//! identity. Every other vector is tried in `src/pipeline/tests/age_vectors.rs`.

use harness::program::tools;
use harness::sandbox::Sandbox;
use harness::skip;

/// What verifying each must come to: what is decrypted holds no snapshot. That a stanza is malformed only the plugin can see,
/// and the same word of a plugin may mean that its device does not answer, so that is never called damage. The last one
/// is for the other of its two keys; `age_vectors.rs` finds its header damaged with that.
const EXPECTED: &[(&str, i32, &[&str])] = &[
    (
        "not_a_snapshot",
        13,
        &["armor_hybrid", "hybrid_and_x25519", "hybrid_grease", "hybrid_multiple_recipients"],
    ),
    ("header_damaged", 13, &["hybrid_not_canonical_body"]),
    (
        "plugin",
        1,
        &[
            "hybrid_extra_argument",
            "hybrid_identity",
            "hybrid_long_share",
            "hybrid_low_order",
            "hybrid_not_canonical_enc",
            "hybrid_short_share",
        ],
    ),
    ("no_matching_identity", 12, &["hybrid_bad_tag", "hybrid_currupted_enc_mlkem", "hybrid_x25519_arg"]),
];

#[test]
fn post_quantum_vectors_come_to_what_they_expect() {
    let Some(fixtures) = skip::fixtures() else { return };
    let Some(plugin) = tools("age-plugin-pq").pop() else { return };
    let mut names: Vec<String> = std::fs::read_dir(fixtures.join("age-testkit"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("hybrid"))
        .collect();
    names.sort();
    let sandbox = Sandbox::new();
    for name in &names {
        let bytes = std::fs::read(fixtures.join("age-testkit").join(name)).unwrap();
        let end = bytes.windows(2).position(|window| window == b"\n\n").unwrap();
        let lines = std::str::from_utf8(&bytes[..end]).unwrap();
        let identities: Vec<&str> =
            lines.lines().filter_map(|line| line.strip_prefix("identity: ")).collect();
        let file = if lines.contains("\ncompressed: zlib") {
            miniz_oxide::inflate::decompress_to_vec_zlib(&bytes[end + 2..]).unwrap()
        } else {
            bytes[end + 2..].to_vec()
        };
        sandbox.write("v.age", file);
        let pq = identities.iter().find(|identity| identity.starts_with("AGE-SECRET-KEY-PQ-1")).unwrap();
        sandbox.write("native.txt", format!("{pq}\n"));
        let text = sandbox.program(&plugin).args(["-identity", "native.txt"]).succeed();
        sandbox.write("key.txt", text.stdout);
        let run = sandbox
            .seal(["verify", "v.age", "-i", "key.txt", "--json"])
            .find_first_in([plugin.parent().unwrap()])
            .run();
        let told = run.object();
        let expected = EXPECTED.iter().find(|(_, _, names)| names.contains(&&name[..]));
        let (kind, code, _) = expected.unwrap_or_else(|| panic!("{name} is not listed: {told}"));
        assert_eq!((&told["kind"], &told["exit_code"]), (&(*kind).into(), &(*code).into()), "{name}: {told}");
        // Who expects success, or no match, gets that and nothing else.
        let expect = lines.lines().next().unwrap();
        assert_eq!(expect == "expect: success", *kind == "not_a_snapshot", "{name}");
        assert!(expect != "expect: no match" || *kind == "no_matching_identity", "{name}");
    }
    let listed: usize = EXPECTED.iter().map(|(_, _, names)| names.len()).sum();
    assert_eq!(listed, names.len(), "some that are listed are not there");
}

//! The age test vectors of C2SP's CCTV, run through the header, decryption and delivery of `restore`.
//!
//! The tests read them from `age-testkit` in the directory that `ETCD_SEAL_TEST_FIXTURES` names. Each vector begins with
//! lines that state the expected result, and an empty line; the age file follows. None holds a snapshot, so [`open::open`]
//! must refuse those that decrypt for that reason only; the same functions without the snapshot check show the plaintext.

use std::collections::BTreeSet;
use std::io::Cursor;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

use age::secrecy::SecretString;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::archive::header::Header;
use crate::archive::payload::{PayloadKey, Position, SEALED_CHUNK_SIZE, TAG_SIZE};
use crate::archive::read_at::PayloadAt;
use crate::error::{Kind, Result};
use crate::keys::{DEFAULT_MAX_WORK_FACTOR, Identities, KeyFile, NoPrompt, SharedPrompt};
use crate::pipeline::engine::delivery::Delivery;
use crate::pipeline::engine::digest::queue;
use crate::pipeline::engine::foreign::copy_foreign;
use crate::pipeline::engine::plaintext::decrypted;
use crate::pipeline::engine::stage::Stop;
use crate::pipeline::inspect::inspect;
use crate::pipeline::open::{self, Begun};
use crate::watch::Watch;

/// The vectors that decrypt completely.
const OPEN: &str = "armor_crlf armor_full_last_line armor_no_eol armor_whitespace_outside armor_x25519 scrypt \
     stanza_empty_body stanza_empty_last_line stream_257_chunks stream_257_chunks_full \
     stream_258_chunks stream_empty_payload stream_last_chunk_full \
     stream_last_chunk_full_second stream_three_chunks x25519 x25519_grease \
     x25519_multiple_recipients";

/// The vectors that are refused, by the kind of error.
const REFUSED: &[(Kind, &str)] = &[
    (Kind::NoMatchingIdentity, "scrypt_uppercase scrypt_work_factor_wrong x25519_bad_tag x25519_lowercase"),
    (
        Kind::NotAnArchive,
        "armor_empty armor_garbage_leading armor_lowercase armor_whitespace_begin empty \
         version_unsupported",
    ),
    (
        Kind::HeaderDamaged,
        "armor_header_crlf header_crlf hmac_extra_space hmac_garbage hmac_missing \
         hmac_not_canonical hmac_trailing_space hmac_truncated hybrid_x25519_arg scrypt_and_x25519 \
         scrypt_double scrypt_extra_argument scrypt_long_file_key scrypt_not_canonical_body \
         scrypt_not_canonical_salt scrypt_salt_long scrypt_salt_short \
         scrypt_work_factor_leading_garbage scrypt_work_factor_leading_plus \
         scrypt_work_factor_leading_zero_decimal scrypt_work_factor_missing \
         scrypt_work_factor_negative scrypt_work_factor_overflow scrypt_work_factor_zero \
         stanza_bad_start stanza_empty_argument stanza_long_line stanza_missing_body \
         stanza_missing_final_line stanza_no_arguments stanza_not_canonical stanza_spurious_cr \
         stream_no_nonce stream_short_nonce x25519_identity x25519_long_file_key x25519_low_order \
         x25519_not_canonical_body x25519_not_canonical_share x25519_short_share",
    ),
    (
        Kind::PayloadDamaged,
        "armor_empty_last_line armor_empty_line_end armor_eol_between_padding \
         armor_garbage_trailing armor_invalid_character_header armor_invalid_character_payload \
         armor_no_end_line armor_no_padding armor_not_canonical armor_pgp_checksum armor_short_line \
         armor_whitespace_end armor_whitespace_last_line armor_whitespace_line_start \
         stream_bad_tag_second_chunk stream_bad_tag_second_chunk_full stream_missing_tag \
         stream_no_final stream_no_final_full stream_no_final_two_chunks stream_short_chunk \
         stream_trailing_garbage_long stream_trailing_garbage_short stream_two_final_chunks \
         stream_two_final_chunks_full stream_two_final_chunks_second",
    ),
    // Our limit is higher than age's, and a flag raises it: too high a work factor is no fault of the header.
    (Kind::NoMatchingIdentity, "scrypt_work_factor_23"),
];

/// The vectors for the native post-quantum identities of age 1.3, which the age crate does not know. `tests/age_hybrid.rs`
/// runs them through the program and age's plugin; here a test only checks that the error explains the refusal.
const HYBRID: &str = "armor_hybrid hybrid_and_x25519 hybrid_bad_tag hybrid_currupted_enc_mlkem \
                      hybrid_extra_argument hybrid_grease hybrid_identity hybrid_long_share hybrid_low_order \
                      hybrid_multiple_recipients hybrid_not_canonical_body hybrid_not_canonical_enc \
                      hybrid_short_share";

/// Whether a vector is in a list of names.
fn is_in(list: &str, name: &str) -> bool {
    list.split(' ').any(|listed| listed == name)
}

/// A parsed vector.
struct Vector {
    name: String,
    expect: String,
    /// SHA-256 of all plaintext that STREAM authenticates, where there is any.
    payload: Option<[u8; 32]>,
    file_key: Vec<u8>,
    identities: Vec<String>,
    passphrases: Vec<String>,
    armored: bool,
    file: Vec<u8>,
}

impl Vector {
    fn parse(name: String, bytes: &[u8]) -> Self {
        let end = bytes.windows(2).position(|window| window == b"\n\n").unwrap();
        let mut vector = Self {
            name,
            expect: String::new(),
            payload: None,
            file_key: Vec::new(),
            identities: Vec::new(),
            passphrases: Vec::new(),
            armored: false,
            file: bytes[end + 2..].to_vec(),
        };
        for line in std::str::from_utf8(&bytes[..end]).unwrap().lines() {
            let (key, value) = line.split_once(": ").unwrap();
            match key {
                "expect" => value.clone_into(&mut vector.expect),
                "payload" => vector.payload = Some(hex::decode(value).unwrap().try_into().unwrap()),
                "file key" => vector.file_key = hex::decode(value).unwrap(),
                "identity" => vector.identities.push(value.to_owned()),
                "passphrase" => vector.passphrases.push(value.to_owned()),
                "armored" => vector.armored = value == "yes",
                "compressed" => {
                    assert_eq!(value, "zlib", "{}", vector.name);
                    vector.file = miniz_oxide::inflate::decompress_to_vec_zlib(&vector.file).unwrap();
                }
                "comment" => {}
                other => panic!("{}: what is {other}?", vector.name),
            }
        }
        vector
    }

    /// Each key of the vector on its own, as the program takes one or the other; no key where the vector has none.
    fn keys(&self) -> Vec<Identities> {
        let native = self.identities.iter().filter(|identity| !identity.starts_with(POST_QUANTUM));
        let mut keys: Vec<Identities> = native.map(|identity| parsed(identity).unwrap()).collect();
        keys.extend(self.passphrases.iter().map(|passphrase| {
            Identities::passphrase(SecretString::from(passphrase.as_str()), DEFAULT_MAX_WORK_FACTOR)
        }));
        if self.identities.is_empty() && keys.is_empty() {
            keys.push(Identities::default());
        }
        keys
    }

    /// The plaintext of every chunk before the first that is not authentic, decrypted one by one with the vector's file key:
    /// the most that STREAM may release.
    fn authentic(&self) -> Vec<u8> {
        let header = Header::parse(&self.file).unwrap();
        let (begin, payload) = self.file.split_at(usize::try_from(header.size()).unwrap());
        let cipher =
            PayloadKey::derive(self.file_key[..].try_into().unwrap(), begin.last_chunk().unwrap()).cipher();
        let mut plaintext = Vec::new();
        let mut rest = payload;
        for counter in 0.. {
            let (sealed, behind) = rest.split_at(rest.len().min(SEALED_CHUNK_SIZE));
            let opens = |position| {
                let mut chunk = sealed.to_vec();
                cipher.open(counter, position, &mut chunk).then_some(chunk)
            };
            // A chunk before the last is full, and the last is empty only where it is also the first.
            let not_last = (sealed.len() == SEALED_CHUNK_SIZE).then(|| opens(Position::NotLast)).flatten();
            let last = (sealed.len() > TAG_SIZE || counter == 0).then(|| opens(Position::Last)).flatten();
            let end = last.is_some();
            let Some(chunk) = not_last.or(last) else { break };
            plaintext.extend_from_slice(&chunk[..chunk.len() - TAG_SIZE]);
            rest = behind;
            if end {
                break;
            }
        }
        plaintext
    }
}

/// The identity in a file of its own.
fn parsed(identity: &str) -> Result<Identities> {
    let text = Zeroizing::new(identity.as_bytes().to_vec());
    let file = KeyFile { name: "key.txt".to_owned(), text };
    Identities::parse(vec![file], &(Arc::new(NoPrompt) as SharedPrompt), DEFAULT_MAX_WORK_FACTOR)
}

/// The prefix of identities that the age crate does not know.
const POST_QUANTUM: &str = "AGE-SECRET-KEY-PQ-1";

/// All vectors, decompressed once for all tests.
fn vectors() -> Option<&'static [Vector]> {
    static VECTORS: OnceLock<Option<Vec<Vector>>> = OnceLock::new();
    VECTORS.get_or_init(read_vectors).as_deref()
}

fn read_vectors() -> Option<Vec<Vector>> {
    let fixtures = harness::skip::fixtures()?;
    let mut vectors: Vec<Vector> = std::fs::read_dir(fixtures.join("age-testkit"))
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            Vector::parse(entry.file_name().into_string().unwrap(), &std::fs::read(entry.path()).unwrap())
        })
        .collect();
    vectors.sort_by(|one, other| one.name.cmp(&other.name));
    Some(vectors)
}

/// What restoring delivers without the check for a snapshot.
pub(super) fn delivered(mut file: &[u8], identities: &Identities, jobs: usize) -> (Vec<u8>, Result<()>) {
    let mut output = Vec::new();
    let result = deliver(&mut file, identities, jobs, &mut output);
    (output, result)
}

fn deliver(file: &mut &[u8], identities: &Identities, jobs: usize, output: &mut Vec<u8>) -> Result<()> {
    let Begun { header, payload, .. } = Begun::new(file)?;
    let key = header.unlock(identities)?;
    let (read, watch) = (AtomicU64::new(header.size()), Watch::default());
    let (pieces, digested) = queue();
    std::thread::scope(|scope| {
        scope.spawn(move || digested.into_iter().for_each(drop));
        decrypted(payload, &key, &read, jobs, &watch, |mut plaintext| {
            let mut delivery = Delivery::new(output, pieces, &read, &watch);
            copy_foreign(&mut plaintext, &mut delivery).map_err(|stop| match stop {
                Stop::Failed(error) => error,
                Stop::Closed => panic!("no stage stopped it"),
            })
        })
    })
}

/// Whether our kind of error belongs to the vector's class.
fn is_of_class(kind: Kind, class: &str) -> bool {
    match class {
        "no match" => kind == Kind::NoMatchingIdentity,
        "HMAC failure" => kind == Kind::HeaderDamaged,
        "header failure" => matches!(kind, Kind::HeaderDamaged | Kind::NotAnArchive),
        "payload failure" => kind == Kind::PayloadDamaged,
        // A file without the beginning of armour is no archive; a malformed line may stand anywhere in the file.
        "armor failure" => matches!(kind, Kind::PayloadDamaged | Kind::NotAnArchive),
        _ => false,
    }
}

/// The expected result of a vector: its plaintext, or an error of this kind.
fn expected(name: &str) -> std::result::Result<(), Kind> {
    let refused = REFUSED.iter().find(|(_, names)| is_in(names, name));
    refused.map_or(Ok(()), |(kind, _)| Err(*kind))
}

fn kind_of<T>(result: Result<T>) -> std::result::Result<T, Kind> {
    result.map_err(|error| error.kind())
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

#[test]
fn every_vector_is_listed_with_what_it_expects() {
    let Some(vectors) = vectors() else { return };
    let lists = REFUSED.iter().map(|(_, names)| *names).chain([OPEN, HYBRID]);
    let listed: Vec<&str> = lists.flat_map(|names| names.split(' ')).collect();
    let once: BTreeSet<&str> = listed.iter().copied().collect();
    assert_eq!(once.len(), listed.len(), "one is listed twice");
    let present: BTreeSet<&str> = vectors.iter().map(|vector| &vector.name[..]).collect();
    assert_eq!(present, once, "left: the directory, right: the lists");
    for vector in vectors.iter().filter(|vector| !is_in(HYBRID, &vector.name)) {
        match expected(&vector.name) {
            Ok(()) => assert_eq!(vector.expect, "success", "{}", vector.name),
            Err(kind) => {
                let same = is_of_class(kind, &vector.expect) || vector.name == "scrypt_work_factor_23";
                assert!(same, "{}: {kind:?} for {}", vector.name, vector.expect);
            }
        }
    }
}

/// Vectors that are not listed above are tested too, by their class only.
#[test]
fn every_vector_comes_to_what_it_expects() {
    for vector in vectors().unwrap_or_default() {
        let name = &vector.name;
        let keys = vector.keys();
        assert_eq!(keys.is_empty(), is_in(HYBRID, name), "{name}");
        // The large vectors are slow with one thread, and they test nothing that the small ones do not.
        let jobs = if vector.file.len() < 1 << 20 { &[1, 3][..] } else { &[3] };
        for (key, &jobs) in keys.iter().flat_map(|key| jobs.iter().map(move |jobs| (key, jobs))) {
            let (output, result) = delivered(&vector.file, key, jobs);
            let result = kind_of(result);
            let as_expected = match result {
                Ok(()) => vector.expect == "success",
                Err(kind) => is_of_class(kind, &vector.expect),
            };
            let listed = is_in(OPEN, name) || expected(name).is_err();
            let good = if listed { result == expected(name) } else { as_expected };
            assert!(good, "{name}: {result:?} for {}", vector.expect);
            judge_output(vector, &output, result.is_ok());
            judge_opening(vector, key, jobs, result, &output);
        }
    }
}

/// Runs all of `restore` and `verify`: without a snapshot it never succeeds, and it must fail with the expected kind.
fn judge_opening(
    vector: &Vector,
    key: &Identities,
    jobs: usize,
    delivered: std::result::Result<(), Kind>,
    plaintext: &[u8],
) {
    let options = open::Options { jobs, allow_missing_digest: true, file_digest: true };
    let (mut output, mut file) = (Vec::new(), &vector.file[..]);
    let opened = open::open(&mut file, key, &options, &mut output, &Watch::default());
    let kind = kind_of(opened.map(drop)).unwrap_err();
    assert_eq!(kind, delivered.err().unwrap_or(Kind::NotASnapshot), "{}", vector.name);
    assert!(plaintext.starts_with(&output), "{}", vector.name);
}

/// The output is the vector's plaintext, or a prefix of it where the payload is damaged: chunks are opened in batches of
/// sixteen, and a batch with a bad chunk yields nothing.
fn judge_output(vector: &Vector, output: &[u8], opened: bool) {
    let name = &vector.name;
    let Some(payload) = vector.payload else {
        return assert_eq!(output, b"", "{name}");
    };
    if opened {
        assert_eq!(sha256(output), payload, "{name}");
    } else if vector.expect == "payload failure" {
        let authentic = vector.authentic();
        assert_eq!(sha256(&authentic), payload, "{name}");
        assert!(authentic.starts_with(output), "{name}: {} bytes", output.len());
    } else {
        assert_eq!(output, b"", "{name}");
    }
}

/// The vector that decrypts to nothing, which even its length shows to be no snapshot.
const EMPTY: &str = "stream_empty_payload";

/// Reads both ends as `info` does: it misses damage in the middle, and must not report damage in an intact file.
#[test]
fn inspecting_tells_no_lies_about_any_vector() {
    for vector in vectors().unwrap_or_default() {
        for key in vector.keys() {
            let inspected = kind_of(inspect(&mut Cursor::new(&vector.file), Some(&key)).map(drop));
            let empty = vector.name == EMPTY;
            let expected = if empty { Err(Kind::NotASnapshot) } else { expected(&vector.name) };
            assert_eq!(inspected, expected, "{}", vector.name);
        }
    }
}

/// Reads the payload at offsets, without the threads.
#[test]
fn reading_at_offsets_comes_to_the_same() {
    let binary = |vector: &Vector| !vector.armored && !is_in(HYBRID, &vector.name);
    for vector in vectors().unwrap_or_default().iter().filter(|vector| binary(vector)) {
        for key in vector.keys() {
            let read = kind_of(read_at(&vector.file, &key));
            let outcome = read.as_ref().map(drop).map_err(|kind| *kind);
            assert_eq!(outcome, expected(&vector.name), "{}", vector.name);
            if let Ok(plaintext) = read {
                assert_eq!(Some(sha256(&plaintext)), vector.payload, "{}", vector.name);
            }
        }
    }
}

fn read_at(file: &[u8], key: &Identities) -> Result<Vec<u8>> {
    let header = Header::parse(file)?;
    let mut payload = PayloadAt::new(Cursor::new(file), &header.unlock(key)?, header.size())?;
    let mut plaintext = vec![0; usize::try_from(payload.size()).unwrap()];
    payload.read_at(0, &mut plaintext)?;
    Ok(plaintext)
}

#[test]
fn identities_that_the_age_crate_does_not_know_are_refused_in_words() {
    for vector in vectors().unwrap_or_default() {
        for identity in vector.identities.iter().filter(|identity| identity.starts_with(POST_QUANTUM)) {
            let error = parsed(identity).unwrap_err();
            assert_eq!(error.kind(), Kind::Identity, "{}", vector.name);
            assert!(error.hint().contains("age-plugin-pq"), "{}", error.hint());
        }
    }
}

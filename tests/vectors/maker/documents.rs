//! The text of the documents, which two readers may read in two ways unless the specification says in which.

use serde_json::json;

use super::index::Look;
use super::layers::{Layers, MANIFEST_MAGIC, TRAILER_MAGIC, document, with_seek_table};
use super::seal::{SEALED_CHUNK_SIZE, payload_at};
use super::{Maker, Vector};

const DAMAGED: &str = "structure_damaged";

/// The documents of an archive as they stand in it.
#[derive(Clone)]
struct Texts {
    description: Vec<u8>,
    manifest: Vec<u8>,
    trailer: Vec<u8>,
}

impl Texts {
    fn of(layers: &Layers) -> Self {
        let text = |document: &serde_json::Value| document.to_string().into_bytes();
        Self {
            description: text(&layers.description),
            manifest: text(&layers.manifest),
            trailer: text(&layers.trailer),
        }
    }
}

/// Replaces the first `from`, which must be there.
fn changed(text: &[u8], from: &str, to: &[u8]) -> Vec<u8> {
    let at = text.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
    let mut text = text.to_vec();
    text.splice(at..at + from.len(), to.iter().copied());
    text
}

/// Adds a field that version 1 does not know.
fn with_later(text: &[u8], value: &str) -> Vec<u8> {
    changed(text, "{", format!("{{\"later\":{value},").as_bytes())
}

/// Arrays in arrays.
fn nested(levels: usize) -> String {
    format!("{}{}", "[".repeat(levels), "]".repeat(levels))
}

impl Maker {
    fn seal_texts(&self, layers: &Layers, texts: &Texts) -> Vec<u8> {
        let mut frames = layers.joined();
        let last = frames.len() - 1;
        frames[0] = document(MANIFEST_MAGIC, &texts.manifest);
        frames[last] = document(TRAILER_MAGIC, &texts.trailer);
        self.seal_described(&texts.description, &with_seek_table(&frames))
    }

    pub(super) fn documents(&self) -> Vec<Vector> {
        let mut vectors = self.types_of_descriptions();
        vectors.extend(self.texts_of_descriptions());
        vectors.extend(self.borne());
        vectors.extend(self.pairs());
        vectors.extend(self.types_of_manifests());
        vectors.extend(self.types_of_trailers());
        vectors
    }

    /// The same change of description and manifest, which the description already shows to be damage.
    fn both(&self, title: &str, change: impl Fn(&[u8]) -> Vec<u8>) -> Vector {
        let layers = self.small();
        let mut texts = Texts::of(&layers);
        texts.description = change(&texts.description);
        texts.manifest = change(&texts.manifest);
        Vector::failure_for_all(title, "header_damaged", self.seal_texts(&layers, &texts))
    }

    fn types_of_descriptions(&self) -> Vec<Vector> {
        let sealed_at = r#""sealed_at":"2026-01-02T03:04:05Z""#;
        let started_at = r#""snapshot_started_at":"2026-01-02T03:04:00Z""#;
        let (size, revision, level) = (r#""snapshot_size":12320"#, r#""revision":42"#, r#""level":1"#);
        let rows = [
            ("time-word: sealed_at is no time", sealed_at, r#""sealed_at":"x""#),
            ("time-fraction: a time with a fraction", sealed_at, r#""sealed_at":"2026-01-02T03:04:05.0Z""#),
            ("time-offset: a time without Z", sealed_at, r#""sealed_at":"2026-01-02T03:04:05+00:00""#),
            ("time-lower-case: a time in lower case", sealed_at, r#""sealed_at":"2026-01-02t03:04:05z""#),
            ("time-leap-second: a leap second", sealed_at, r#""sealed_at":"2026-06-30T23:59:60Z""#),
            ("time-no-day: a day that is none", sealed_at, r#""sealed_at":"2026-02-29T03:04:05Z""#),
            ("time-number: a time as a number", sealed_at, r#""sealed_at":1767322245"#),
            ("time-started: snapshot_started_at is no time", started_at, r#""snapshot_started_at":"x""#),
            (
                "id-upper-case: an id in upper case",
                r#""cluster_id":"0123456789abcdef""#,
                r#""cluster_id":"0123456789ABCDEF""#,
            ),
            (
                "id-short: an id of 15 digits",
                r#""member_id":"fedcba9876543210""#,
                r#""member_id":"fedcba987654321""#,
            ),
            ("null: null in place of a size that is not known", size, r#""snapshot_size":null"#),
            ("null-text: null in place of a name", r#""vectors""#, "null"),
            ("number-fraction: an integer with a fraction", revision, r#""revision":42.0"#),
            ("number-exponent: an integer with an exponent", revision, r#""revision":42e0"#),
            ("number-negative: a negative revision", revision, r#""revision":-1"#),
            ("number-too-large: a revision of 2^64", revision, r#""revision":18446744073709551616"#),
            ("number-string: a revision as a string", revision, r#""revision":"42""#),
            ("number-minus-zero: minus zero", level, r#""level":-0"#),
            ("source-unknown: a source that there is not", r#""source":"etcd""#, r#""source":"tape""#),
            ("tool-missing: no tool", r#""tool":"etcd-seal 0.1.0""#, r#""tolo":"etcd-seal 0.1.0""#),
        ];
        rows.map(|(title, from, to)| self.both(title, |text| changed(text, from, to.as_bytes()))).into()
    }

    fn texts_of_descriptions(&self) -> Vec<Vector> {
        let later = |title, value: &str| self.both(title, |text| with_later(text, value));
        let mut vectors = vec![
            later("depth-101: 101 levels deep", &nested(100)),
            later("number-leading-zero: a number with a leading zero", "01"),
            later("number-no-json: a number that JSON does not know", "NaN"),
            later("surrogate-lone: half of a surrogate pair", r#""\ud800""#),
            later("surrogate-reversed: a surrogate pair the wrong way round", r#""\udc00\ud800""#),
            later("control-character: a control character in a string", "\"\u{1}\""),
            later("comma-last: a comma behind the last element", "[1,]"),
            later("duplicate-escaped: a key twice, once escaped", r#"{"a":1,"\u0061":2}"#),
        ];
        let bytes = |title, from: &'static str, to: &'static [u8]| {
            self.both(title, move |text| changed(text, from, to))
        };
        vectors.extend([
            bytes("byte-order-mark: a byte order mark", "{", b"\xef\xbb\xbf{"),
            bytes("utf-8-wrong: a byte that is not UTF-8", "vectors", b"vec\xfftors"),
            bytes("utf-8-surrogate: a surrogate in UTF-8", "vectors", b"vec\xed\xa0\x80tors"),
            bytes("description-white-space-first: white space before the description", "{", b" {"),
        ]);
        vectors.push(
            self.both("description-array: the description in an array", |text| [b"[", text, b"]"].concat()),
        );
        vectors
    }

    /// What is unusual, and opens.
    fn borne(&self) -> Vec<Vector> {
        let layers = self.small();
        let with = |title, layers: &Layers, change: &dyn Fn(&[u8]) -> Vec<u8>| {
            let mut texts = Texts::of(layers);
            texts.description = change(&texts.description);
            texts.manifest = change(&texts.manifest);
            Vector::success(title, layers, self.seal_texts(layers, &texts))
        };
        let later = |title, value: &str| with(title, &layers, &|text| with_later(text, value));
        let set = |title, name: &str, value| {
            let mut layers = self.small();
            layers.set(name, &value);
            with(title, &layers, &<[u8]>::to_vec)
        };
        let mut alone = layers.clone();
        alone.description.as_object_mut().unwrap().remove("cluster_name");
        let mut escaped = Texts::of(&layers);
        escaped.description = changed(
            &escaped.description,
            r#""cluster_name":"vectors""#,
            br#""cluster\u005fname":"\u0076ectors""#,
        );
        let mut endpoint = layers.clone();
        endpoint.description["endpoint"] = endpoint.manifest["endpoint"].clone();
        vec![
            later("depth-100: 100 levels deep", &nested(99)),
            later("number-unbounded: a number of any size in an unknown field", "1e400"),
            later(
                "number-beyond-64-bits: an integer of any size in an unknown field",
                "18446744073709551617",
            ),
            later("surrogate-pair: a surrogate pair", r#""\ud83d\ude00""#),
            set("level-minus-one: a negative level", "level", json!(-1)),
            set("revision-zero: a revision of 0, which a writer leaves out", "revision", json!(0)),
            set("text-empty: an empty text, which a writer leaves out", "etcd_version", json!("")),
            set("source-file-started: a time of the request, but no etcd", "source", json!("file")),
            with("white-space: white space between all tokens, and behind the last", &layers, &|text| {
                let text = String::from_utf8(text.to_vec()).unwrap();
                (text.replace(',', " ,\r\n").replace("\":", "\"\t: ") + "\n").into_bytes()
            }),
            with("manifest-alone-has-name: only the manifest has a cluster_name", &alone, &<[u8]>::to_vec)
                .not_described(),
            Vector::success(
                "description-escaped: description and manifest are the same but for escapes",
                &layers,
                self.seal_texts(&layers, &escaped),
            ),
            with(
                "description-endpoint: a field of the manifest in the description",
                &endpoint,
                &<[u8]>::to_vec,
            ),
        ]
    }

    /// Description and manifest that are each right, and not the same.
    fn pairs(&self) -> Vec<Vector> {
        let pair = |title, outside: &str, inside: &str| {
            let layers = self.small();
            let mut texts = Texts::of(&layers);
            texts.description = with_later(&texts.description, outside);
            texts.manifest = with_later(&texts.manifest, inside);
            Vector::failure_at_the_ends(title, DAMAGED, self.seal_texts(&layers, &texts))
        };
        vec![
            pair(
                "pair-beyond-64-bits: two integers that are the same as floating-point numbers",
                "18446744073709551616",
                "18446744073709551617",
            ),
            pair("pair-fraction: the same number in two forms", "1", "1.0"),
            pair("pair-exponent: the same number in two forms", "100", "1e2"),
            pair("pair-infinite: two numbers beyond floating-point numbers", "1e400", "1e401"),
            pair("pair-order: an array in another order", "[1,2]", "[2,1]"),
        ]
    }

    fn types_of_manifests(&self) -> Vec<Vector> {
        let with = |title, from: &str, to: &str| {
            let layers = self.small();
            let mut texts = Texts::of(&layers);
            texts.manifest = changed(&texts.manifest, from, to.as_bytes());
            Vector::failure_at_the_ends(title, DAMAGED, self.seal_texts(&layers, &texts))
        };
        let recipients = format!(r#""recipients":["{}"],"#, self.first);
        let endpoint = r#""endpoint":"https://192.0.2.1:2379""#;
        let conditions = |value: &str| format!(r#"{endpoint},"conditions":{value}"#);
        let mut later = self.small();
        later.manifest["conditions"] = json!([{"condition": "on_fire", "since": 7}]);
        let mut later = Vector::success(
            "condition-unknown: a condition that version 1 does not know",
            &later,
            self.archive(&later),
        );
        if let super::Open::Success { manifest: Some(manifest), .. } = &mut later.entry.open {
            manifest["conditions"] = json!([{"condition": "unknown"}]);
        }
        vec![
            later,
            with("recipients-missing: no recipients", &recipients, ""),
            with("recipients-null: null in place of recipients", &recipients, r#""recipients":null,"#),
            with("recipients-number: a recipient that is no string", &recipients, r#""recipients":[1],"#),
            with(
                "tls-unknown: a word for tls that there is not",
                endpoint,
                &format!(r#"{endpoint},"tls":"maybe""#),
            ),
            with(
                "condition-incomplete: an alarm of no member",
                endpoint,
                &conditions(r#"[{"condition":"nospace"}]"#),
            ),
            with("condition-array: a condition as an array", endpoint, &conditions(r#"[["learner"]]"#)),
            with("condition-no-name: a condition without its name", endpoint, &conditions("[{}]")),
        ]
    }

    fn types_of_trailers(&self) -> Vec<Vector> {
        let with = |title, change: &dyn Fn(&[u8]) -> Vec<u8>| {
            let layers = self.small();
            let mut texts = Texts::of(&layers);
            texts.trailer = change(&texts.trailer);
            Vector::failure_at_the_ends(title, DAMAGED, self.seal_texts(&layers, &texts))
        };
        let replaced =
            |title, from: &str, to: &str| with(title, &|text: &[u8]| changed(text, from, to.as_bytes()));
        let set = |title, name: &str, value: serde_json::Value| {
            with(title, &|text: &[u8]| {
                let mut trailer: serde_json::Value = serde_json::from_slice(text).unwrap();
                trailer[name] = value.clone();
                trailer.to_string().into_bytes()
            })
        };
        let upper_case = |text: &[u8]| {
            let trailer: serde_json::Value = serde_json::from_slice(text).unwrap();
            let sha256 = trailer["database_sha256"].as_str().unwrap();
            changed(text, sha256, sha256.to_uppercase().as_bytes())
        };
        vec![
            with("trailer-sha256-upper-case: a SHA-256 in upper case", &upper_case),
            replaced("trailer-white-space-first: white space before the trailer", "{", " {"),
            replaced("status-after-incomplete: a status without its term", r#","raft_term":2"#, ""),
            set("status-after-null: null in place of a status", "status_after", json!(null)),
            set("status-after-array: a status as an array", "status_after", json!([43, 2, 99, 12_288, []])),
            set("contents-empty: contents without a revision", "contents", json!({})),
            set(
                "contents-not-ascending: members that do not ascend",
                "contents",
                json!({"revision": 42, "members": ["fedcba9876543210", "fedcba9876543210"]}),
            ),
            with("trailer-depth-101: a trailer 101 levels deep", &|text: &[u8]| {
                with_later(text, &nested(100))
            }),
            set(
                "kubernetes-null: null in place of what Kubernetes needs",
                "contents",
                json!({"revision": 42, "members": ["fedcba9876543210"], "kubernetes": null}),
            ),
            set(
                "encryption-no-name: an encryption without the name of its key",
                "contents",
                json!({
                    "revision": 42,
                    "members": ["fedcba9876543210"],
                    "kubernetes": {"encryption": [{"provider": "aescbc", "resources": ["secrets"]}]},
                }),
            ),
            self.members_left_out(),
            self.advisory_facts(),
        ]
    }

    /// The database has neither, but both are advisory.
    fn advisory_facts(&self) -> Vector {
        let mut layers = self.small();
        layers.trailer["contents"]["downgrade"] = json!("3.5.0");
        layers.trailer["contents"]["kubernetes"] = json!({
            "secrets": 3,
            "plain_secrets": 1,
            "encryption": [{"provider": "kms", "version": "v2", "name": "vault", "resources": ["secrets"]}],
            "older_encryption": [{"provider": "aescbc", "name": "key1", "resources": ["configmaps", "secrets"]}],
            "later": null,
        });
        Vector::success(
            "contents-advisory: contents with a downgrade and what Kubernetes needs, which the database has not",
            &layers,
            self.archive(&layers),
        )
    }

    /// Right by itself, but the database has a member.
    fn members_left_out(&self) -> Vector {
        let mut layers = self.small();
        layers.trailer["contents"] = json!({"revision": 42});
        Vector::failure(
            "contents-without-members: contents without the members that the database has",
            "contents_mismatch",
            self.archive(&layers),
        )
    }

    /// Manifests of later versions, without a description that tells it.
    pub(super) fn later_manifests(&self) -> Vec<Vector> {
        let later = |mut layers: Layers| {
            layers.manifest["format_version"] = json!(2);
            layers
        };
        let (layers, two_chunks) = (later(self.small()), later(self.layers(super::snapshot::noise(18))));
        let newer = |title, bytes| Vector::failure_at_the_ends(title, "format_newer", bytes).not_described();
        let plaintext = layers.plaintext();
        let (manifest, rest) = plaintext.split_at(layers.joined()[0].bytes.len());
        let garbage = [manifest, b"no frame of version 1"].concat();
        let mut flipped = self.seal_with(vec![], vec![], &two_chunks.plaintext());
        let last = flipped.len() - 1;
        flipped[last] ^= 1;
        let cut = flipped[..payload_at(&flipped) + SEALED_CHUNK_SIZE + 9].to_vec();
        let armored = super::seal::armor(&self.seal_with(vec![], vec![], manifest));
        let mut described = newer(
            "manifest-version-2-described: a manifest of a later version behind a description of version 1",
            self.seal_inside(&layers, &plaintext),
        );
        described.entry.open = super::Open::Failure { kind: DAMAGED.to_owned(), damaged: None };
        described.entry.look =
            Look::Success { stanzas: vec!["X25519".to_owned()], cluster_name: Some("vectors".to_owned()) };
        let no_json = [&manifest[..8], b"(", &manifest[9..], rest].concat();
        vec![
            newer(
                "manifest-version-2-garbage: a manifest of a later version, then what version 1 does not know",
                self.seal_with(vec![], vec![], &garbage),
            ),
            Vector::failure_at_the_ends(
                "manifest-version-2-flipped: a manifest of a later version, but the last chunk is damaged",
                "payload_damaged",
                flipped,
            )
            .not_described(),
            Vector::failure_for_all(
                "manifest-version-2-cut: a manifest of a later version, but the file is cut",
                "payload_damaged",
                cut,
            ),
            newer("manifest-version-2-armored: a manifest of a later version in armour", armored),
            described.inspect_fails(DAMAGED),
            Vector::failure(
                "manifest-no-brace: something else in the place of the manifest, without a description: no sign of version 1 but the trailer",
                DAMAGED,
                self.seal_with(vec![], vec![], &no_json),
            )
            .inspect_fails(DAMAGED)
            .not_described(),
        ]
    }
}

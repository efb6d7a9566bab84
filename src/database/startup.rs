//! The values that etcd needs to start: on an invalid one, it panics or refuses to start.
//!
//! Derived from etcd 3.4 to 3.7: `restore` in `mvcc/kvstore.go`, `initAndRecover` in `lease/lessor.go`, `NewAuthStore` in
//! `auth/store.go`, `restore` in `v3alarm/alarms.go`, `membership/cluster.go` and `storage/schema`. Where the versions
//! differ, the strictest counts. No etcd ever wrote the values that are refused here.
//!
//! This module does not check what [`become_member`](super::member::become_member) replaces: the members, `consistent_index`
//! and `term`.

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value as Json;

use super::alarm::Alarm;
use super::bolt::Value;
use super::leases::Lease;
use super::mvcc::Revision;
use super::protobuf::{Fault, Fields, MessageSource};
use super::refusal::refusal;
use super::schema::{FINISHED_COMPACTION, META_BUCKET, SCHEDULED_COMPACTION};
use super::versions::Release;
use crate::error::Result;

/// The oldest release that a storage version names.
const FIRST_TO_STORE: Release = Release { major: 3, minor: 5 };
/// For a value of a few bytes in etcd that is longer than the limit for values in memory.
const TOO_LONG: &str = "it is longer than any that etcd writes";

/// Checks the value of `key` in `bucket`, which is any bucket but `key`.
pub(super) fn check(bucket: &[u8], key: &[u8], value: Value<'_>) -> Result<()> {
    check_value(bucket, key, value).map_err(|fault| refusal(key, fault))
}

fn check_value(bucket: &[u8], key: &[u8], value: Value<'_>) -> Result<(), Fault> {
    match bucket {
        META_BUCKET => check_meta(key, value),
        b"cluster" => check_cluster(key, value),
        b"auth" if key == b"authRevision" => {
            let size = value.size();
            demand(size == 8, || format!("a revision of etcd's authentication has 8 bytes, not {size}"))
        }
        b"alarm" => Alarm::parse(key).map(drop),
        b"lease" => match value {
            Value::Whole(bytes) => Lease::parse(bytes).map(drop),
            Value::Long(stretch) => Lease::parse(stretch).map(drop),
        },
        b"authUsers" => match value {
            Value::Whole(bytes) => check_user(key, bytes),
            Value::Long(stretch) => check_user(key, stretch),
        },
        b"authRoles" => match value {
            Value::Whole(bytes) => check_role(key, bytes),
            Value::Long(stretch) => check_role(key, stretch),
        },
        _ => Ok(()),
    }
}

fn demand(holds: bool, what: impl FnOnce() -> String) -> Result<(), Fault> {
    if holds { Ok(()) } else { Err(Fault::Malformed(what())) }
}

fn whole(value: Value<'_>) -> Result<&[u8], Fault> {
    value.whole().ok_or_else(|| Fault::Malformed(TOO_LONG.to_owned()))
}

fn check_meta(key: &[u8], value: Value<'_>) -> Result<(), Fault> {
    match key {
        SCHEDULED_COMPACTION | FINISHED_COMPACTION => {
            let is_revision = value.whole().and_then(Revision::parse).is_some();
            demand(is_revision, || "it is no revision".to_owned())
        }
        b"confState" => check_configuration(&members(value)?),
        b"storageVersion" => {
            // etcd treats a version that it cannot parse as absent.
            let release = value.whole().and_then(release);
            let writes = release.is_none_or(|release| release >= FIRST_TO_STORE);
            demand(writes, || "it is older than any etcd that keeps one".to_owned())
        }
        _ => Ok(()),
    }
}

fn check_cluster(key: &[u8], value: Value<'_>) -> Result<(), Fault> {
    match key {
        b"clusterVersion" => {
            demand(release(whole(value)?).is_some(), || "it is no version such as 3.5.0".to_owned())
        }
        b"downgrade" => check_downgrade(&members(value)?),
        _ => Ok(()),
    }
}

/// `authpb.User`. etcd looks up each user again by the name in it.
fn check_user(key: &[u8], message: impl MessageSource) -> Result<(), Fault> {
    let mut named = false;
    for field in Fields::of(message) {
        let field = field?;
        match field.tag {
            1 => named = equal(field.bytes()?, key)?,
            2 => drop(field.bytes()?),
            // etcd 3.7 refuses a string that is not UTF-8; passwords and names are bytes.
            3 => demand(is_utf8(field.bytes()?)?, || "the name of a role in it is not UTF-8".to_owned())?,
            4 => check_user_options(field.bytes()?)?,
            _ => {}
        }
    }
    demand(named, || "it is of another name".to_owned())
}

/// Whether `bytes` are those of `key`.
fn equal(bytes: impl MessageSource, key: &[u8]) -> Result<bool, Fault> {
    let mut rest = Some(key);
    bytes.pieces(&mut |piece| rest = rest.and_then(|rest| rest.strip_prefix(piece)))?;
    Ok(rest.is_some_and(<[u8]>::is_empty))
}

/// Whether `bytes` are UTF-8.
fn is_utf8(bytes: impl MessageSource) -> Result<bool, Fault> {
    // The beginning of a character whose end is in the next piece.
    let (mut cut, mut is_utf8) = (Vec::new(), true);
    bytes.pieces(&mut |piece| {
        if !is_utf8 {
            return;
        }
        cut.extend_from_slice(piece);
        let valid = std::str::from_utf8(&cut).map_or_else(
            |error| {
                is_utf8 = error.error_len().is_none();
                error.valid_up_to()
            },
            str::len,
        );
        cut.drain(..valid);
    })?;
    Ok(is_utf8 && cut.is_empty())
}

/// `authpb.UserAddOptions`.
fn check_user_options(message: impl MessageSource) -> Result<(), Fault> {
    for field in Fields::of(message) {
        let field = field?;
        if field.tag == 1 {
            field.number()?;
        }
    }
    Ok(())
}

/// `authpb.Role`.
fn check_role(key: &[u8], message: impl MessageSource) -> Result<(), Fault> {
    let mut named = false;
    for field in Fields::of(message) {
        let field = field?;
        match field.tag {
            1 => named = equal(field.bytes()?, key)?,
            2 => check_permission(field.bytes()?)?,
            _ => {}
        }
    }
    demand(named, || "it is of another name".to_owned())
}

/// `authpb.Permission`.
fn check_permission(message: impl MessageSource) -> Result<(), Fault> {
    for field in Fields::of(message) {
        let field = field?;
        match field.tag {
            1 => drop(field.number()?),
            2 | 3 => drop(field.bytes()?),
            _ => {}
        }
    }
    Ok(())
}

/// The members of a JSON object, including those with the same name: Go applies one after the other.
struct Members(Vec<(String, Json)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Members;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("an object")
            }

            /// null has no members, as in Go.
            fn visit_unit<E>(self) -> Result<Members, E> {
                Ok(Members(Vec::new()))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, _>()? {
                    members.push((folded(&name), value));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_any(InOrder)
    }
}

/// Bytes of such an object at most. etcd writes some hundred; parsed, it may take a hundred times its length.
const OBJECT_SIZE_MAX: usize = 64 * 1024;

fn members(value: Value<'_>) -> Result<Vec<(String, Json)>, Fault> {
    let text = whole(value)?;
    demand(text.len() <= OBJECT_SIZE_MAX, || "it is longer than any that etcd writes".to_owned())?;
    match serde_json::from_slice(text) {
        Ok(Members(members)) => Ok(members),
        Err(error) => Err(Fault::Malformed(format!("it is not the JSON that etcd writes: {error}"))),
    }
}

/// A name folded as Go does to find the field of an object: without regard to case.
fn folded(name: &str) -> String {
    name.chars()
        .map(|character| match character {
            // The long s and the Kelvin sign.
            '\u{17F}' => 's',
            '\u{212A}' => 'k',
            other => other.to_ascii_lowercase(),
        })
        .collect()
}

/// `raftpb.ConfState`, as JSON since 3.5.
fn check_configuration(members: &[(String, Json)]) -> Result<(), Fault> {
    let numbers = |value: &Json| match value {
        Json::Array(numbers) => numbers.iter().all(|number| number.is_u64() || number.is_null()),
        other => other.is_null(),
    };
    for (name, value) in members {
        let good = match name.as_str() {
            "voters" | "learners" | "voters_outgoing" | "learners_next" => numbers(value),
            "auto_leave" => value.is_boolean() || value.is_null(),
            _ => true,
        };
        demand(good, || format!("its {name:?} is something else"))?;
    }
    Ok(())
}

/// `DowngradeInfo` in etcd's `membership/downgrade.go`.
fn check_downgrade(members: &[(String, Json)]) -> Result<(), Fault> {
    let (mut target, mut enabled) = ("", false);
    for (name, value) in members {
        let good = match name.as_str() {
            "target-version" => {
                target = value.as_str().unwrap_or(target);
                value.is_string() || value.is_null()
            }
            "enabled" => {
                enabled = value.as_bool().unwrap_or(enabled);
                value.is_boolean() || value.is_null()
            }
            _ => true,
        };
        demand(good, || format!("its {name:?} is something else"))?;
    }
    let good = !enabled || Release::of(target).is_some();
    demand(good, || "it goes to what is no version such as 3.5.0".to_owned())
}

/// The release of a version.
fn release(version: &[u8]) -> Option<Release> {
    std::str::from_utf8(version).ok().and_then(Release::of)
}

#[cfg(test)]
mod tests {
    use super::super::protobuf::Message;
    use super::*;

    fn verdict(bucket: &str, key: &[u8], value: &[u8]) -> Result<()> {
        check(bucket.as_bytes(), key, Value::Whole(value))
    }

    fn why(bucket: &str, key: &[u8], value: &[u8]) -> String {
        let error = verdict(bucket, key, value).unwrap_err();
        assert_eq!(error.kind(), crate::Kind::DatabaseDamaged);
        error.to_string()
    }

    #[test]
    fn what_etcd_writes_passes() {
        let revision = Revision { main: 7, sub: 0 }.to_bytes();
        let user = Message::default().bytes(1, b"u").bytes(2, b"p").bytes(3, b"r").bytes(3, b"s");
        let user = user.bytes(4, &Message::default().number(1, 1).finish()).finish();
        let permission = Message::default().number(1, 2).bytes(2, b"a").bytes(3, b"b").finish();
        let role = Message::default().bytes(1, b"r").bytes(2, &permission).finish();
        let lease = Message::default().number(1, 7).number(2, 60).number(3, 0).finish();
        for (bucket, key, value) in [
            ("meta", "scheduledCompactRev", &revision[..]),
            ("meta", "finishedCompactRev", &revision),
            ("meta", "confState", br#"{"voters":[10276657743932975437],"auto_leave":false}"#),
            ("meta", "confState", br#"{"voters":[1],"learners":null,"of_tomorrow":"x"}"#),
            ("meta", "storageVersion", b"3.6.0"),
            ("meta", "consistent_index", b"replaced"),
            ("meta", "of_tomorrow", b""),
            ("auth", "authRevision", &[0; 8]),
            ("auth", "authEnabled", b""),
            ("authUsers", "u", &user),
            ("authRoles", "r", &role),
            ("lease", "12345678", &lease),
            ("cluster", "clusterVersion", b"3.5.0"),
            ("cluster", "clusterVersion", b"3.6.0-alpha.0+x"),
            ("cluster", "downgrade", br#"{"target-version":"","enabled":false}"#),
            ("cluster", "downgrade", br#"{"target-version":"3.5.0","enabled":true}"#),
            ("cluster", "downgrade", b"null"),
            ("members", "no hexadecimal", b"replaced"),
            ("of_tomorrow", "key", b""),
        ] {
            verdict(bucket, key.as_bytes(), value).unwrap();
        }
    }

    #[test]
    fn what_etcd_does_not_start_on_is_refused_by_name() {
        let misplaced = Message::default().bytes(2, b"x").finish();
        let options = Message::default().bytes(4, &Message::default().bytes(1, b"x").finish()).finish();
        let permission = Message::default().bytes(1, b"x").finish();
        let role = Message::default().bytes(2, &permission).finish();
        for (bucket, key, value, expected) in [
            ("meta", "scheduledCompactRev", &b"abc"[..], "no revision"),
            ("meta", "finishedCompactRev", b"", "no revision"),
            ("meta", "finishedCompactRev", &[0xFF; 17], "no revision"),
            ("meta", "confState", b"{", "not the JSON"),
            ("meta", "confState", &vec![b' '; OBJECT_SIZE_MAX + 1], "longer than any"),
            ("meta", "confState", b"[]", "expected an object"),
            ("meta", "confState", br#"{"voters":"x"}"#, "\"voters\" is something else"),
            ("meta", "confState", br#"{"VOTERS":[-1]}"#, "\"voters\" is something else"),
            ("meta", "storageVersion", b"3.4.0", "older than any"),
            ("auth", "authRevision", b"1234567", "has 8 bytes, not 7"),
            ("authUsers", "u", &Message::default().number(3, 1).finish(), "field 3 has the wire type 0"),
            ("authUsers", "u", &options, "field 1 has the wire type 2"),
            ("authUsers", "u", &Message::default().bytes(1, b"v").finish(), "another name"),
            ("authUsers", "u", &Message::default().bytes(3, b"read\x85r").finish(), "not UTF-8"),
            ("authUsers", "u", &Message::default().bytes(3, b"read\xC3").finish(), "not UTF-8"),
            ("authUsers", "u", b"", "another name"),
            ("authRoles", "r", &Message::default().bytes(1, b"rr").finish(), "another name"),
            ("authRoles", "r", &role, "field 1 has the wire type 2"),
            ("lease", "12345678", &misplaced, "field 2 has the wire type 2 instead of 0"),
            ("cluster", "clusterVersion", b"3.5", "no version"),
            ("cluster", "clusterVersion", b"3.5.x", "no version"),
            ("cluster", "clusterVersion", b"3.5.0_", "no version"),
            ("cluster", "clusterVersion", b"", "no version"),
            ("cluster", "downgrade", b"", "not the JSON"),
            ("cluster", "downgrade", br#"{"enabled":1,"enabled":true}"#, "something else"),
            ("cluster", "downgrade", br#"{"Enabled":1}"#, "something else"),
            ("cluster", "downgrade", br#"{"target-version":"x","enabled":true}"#, "no version"),
        ] {
            let error = why(bucket, key.as_bytes(), value);
            assert!(error.contains(&format!("key {key:?}: ")), "{error}");
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_key_is_shown_so_that_it_says_nothing_of_its_own() {
        let error = why("alarm", b"\x08", b"");
        assert!(error.contains("key 0x08: "), "{error}");
        let error = why("lease", b"two words", b"\x08");
        assert!(error.contains("key 0x74776f20776f726473: "), "{error}");
        let error = why("authUsers", &[b'u'; 100], b"\x08");
        assert!(error.contains(&format!("key \"{}\"…: ", "u".repeat(64))), "{error}");
    }
}

//! What a trailer says of the database in the snapshot.

use serde::Serialize;

use super::fields::{FromFields, id, integer, list, object, optional, required, text};
use super::json::{Fault, Object, Value};

/// Facts that the database in the snapshot states about itself, read while it streamed by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Contents {
    /// The newest revision, that of a compaction included.
    pub revision: u64,
    /// The last compaction, done or requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compact_revision: Option<u64>,
    /// The ids of the members, 16 hex digits each, ascending.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<String>,
    /// The target version of a downgrade of etcd in progress.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub downgrade: Option<String>,
    /// What it holds of a Kubernetes cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<Kubernetes>,
}

impl Contents {
    /// Whether both say the same of revisions and members. The other facts are advisory: what is a Secret, and what an
    /// encryption, may change with Kubernetes.
    #[must_use]
    pub fn agrees(&self, other: &Self) -> bool {
        (self.revision, self.compact_revision, &self.members)
            == (other.revision, other.compact_revision, &other.members)
    }

    /// Whether an advisory fact of this one is not as in `other`.
    #[must_use]
    pub fn is_mistaken(&self, other: &Self) -> bool {
        (self.downgrade.is_some() && self.downgrade != other.downgrade)
            || (self.kubernetes.is_some() && self.kubernetes != other.kubernetes)
    }
}

/// What a database holds of a Kubernetes cluster. Both numbers are unknown where there is more than is counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Kubernetes {
    /// Secrets at the newest revision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secrets: Option<u64>,
    /// Those of them that are stored in plain, not encrypted at rest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plain_secrets: Option<u64>,
    /// What kube-apiserver needs to read the values at the newest revision.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub encryption: Vec<Encryption>,
    /// What only older revisions need beside that.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub older_encryption: Vec<Encryption>,
}

/// An encryption of values at rest, as the values themselves name it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Encryption {
    /// The provider in kube-apiserver's `EncryptionConfiguration`: `aescbc`, `aesgcm`, `secretbox` or `kms`.
    pub provider: String,
    /// With `kms`, the version of the protocol.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The name of the key; with `kms`, of the plugin.
    pub name: String,
    /// The resources that have such values.
    pub resources: Vec<String>,
}

impl Encryption {
    /// An encryption of values of `resources`.
    #[must_use]
    pub fn new(provider: String, version: Option<String>, name: String, resources: Vec<String>) -> Self {
        Self { provider, version, name, resources }
    }
}

impl FromFields for Contents {
    fn from_fields(fields: &Object) -> Result<Self, Fault> {
        let members = |value: &Value| {
            let ids = list(value, id)?;
            // Ids of one length ascend as their texts do.
            if ids.is_sorted_by(|one, next| one < next) { Ok(ids) } else { Err("ascending".to_owned()) }
        };
        Ok(Self {
            revision: required(fields, "revision", integer)?,
            compact_revision: optional(fields, "compact_revision", integer)?,
            members: optional(fields, "members", members)?.unwrap_or_default(),
            downgrade: optional(fields, "downgrade", text)?,
            kubernetes: optional(fields, "kubernetes", object)?,
        })
    }
}

impl FromFields for Kubernetes {
    fn from_fields(fields: &Object) -> Result<Self, Fault> {
        let encryption = |name: &str| {
            Ok::<_, Fault>(optional(fields, name, |value| list(value, object))?.unwrap_or_default())
        };
        Ok(Self {
            secrets: optional(fields, "secrets", integer)?,
            plain_secrets: optional(fields, "plain_secrets", integer)?,
            encryption: encryption("encryption")?,
            older_encryption: encryption("older_encryption")?,
        })
    }
}

impl FromFields for Encryption {
    fn from_fields(fields: &Object) -> Result<Self, Fault> {
        Ok(Self {
            provider: required(fields, "provider", text)?,
            version: optional(fields, "version", text)?,
            name: required(fields, "name", text)?,
            resources: required(fields, "resources", |value| list(value, text))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::json;

    fn read(json: &str) -> Result<Contents, Fault> {
        Contents::from_fields(&json::parse(json.as_bytes()).unwrap())
    }

    #[test]
    fn facts_are_read_as_they_are_written() {
        let encryption = |name: &str, version: Option<&str>| {
            let version = version.map(str::to_owned);
            Encryption::new("kms".to_owned(), version, name.to_owned(), vec!["secrets".to_owned()])
        };
        let kubernetes = Kubernetes {
            secrets: Some(3),
            plain_secrets: Some(0),
            encryption: vec![encryption("vault", Some("v2"))],
            older_encryption: vec![encryption("old", None)],
        };
        let contents = Contents {
            revision: 7,
            compact_revision: Some(5),
            members: vec!["00000000000000ab".to_owned()],
            downgrade: Some("3.5.0".to_owned()),
            kubernetes: Some(kubernetes),
        };
        assert_eq!(read(&serde_json::to_string(&contents).unwrap()), Ok(contents));
        let bare = read(r#"{"revision":7,"kubernetes":{"later":null}}"#).unwrap();
        assert_eq!(bare.kubernetes, Some(Kubernetes::default()));
    }

    #[test]
    fn facts_of_another_type_are_refused() {
        for wrong in [
            r#""downgrade":null"#,
            r#""kubernetes":true"#,
            r#""kubernetes":{"secrets":"3"}"#,
            r#""kubernetes":{"encryption":[{"provider":"aescbc","name":"key1"}]}"#,
            r#""kubernetes":{"older_encryption":[{"provider":"aescbc","name":"k","resources":[1]}]}"#,
        ] {
            assert!(read(&format!(r#"{{"revision":7,{wrong}}}"#)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_what_both_say_can_disagree() {
        let facts = read(r#"{"revision":7,"downgrade":"3.5.0","kubernetes":{"secrets":3}}"#).unwrap();
        let older = read(r#"{"revision":7}"#).unwrap();
        let other = read(r#"{"revision":7,"kubernetes":{"secrets":4}}"#).unwrap();
        assert!(older.agrees(&facts) && other.agrees(&facts));
        assert!(!older.is_mistaken(&facts) && other.is_mistaken(&facts) && facts.is_mistaken(&other));
        assert!(!read(r#"{"revision":8}"#).unwrap().agrees(&facts));
    }
}

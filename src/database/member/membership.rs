//! The members of a cluster, and the ids that follow from them.
//!
//! Member ids are digests of the peer URLs and the cluster's token (`computeMemberId` in `membership/member.go`, `genID` in
//! `membership/cluster.go` of etcd), so that each restored member, made on its own host, computes the same ids.

use serde::Serialize;
use sha1::{Digest as _, Sha1};

use crate::address::{self, Flaw};
use crate::database::bolt::page::LeafEntry;
use crate::database::schema::MEMBERS_MAX;
use crate::error::{Error, Kind, Result};

/// `--initial-cluster-token` of etcd and `etcdutl` by default.
pub const DEFAULT_TOKEN: &str = "etcd-cluster";
/// `--name` of etcd and `etcdutl` by default.
pub const DEFAULT_NAME: &str = "default";
/// `--initial-advertise-peer-urls` of etcd and `etcdutl` by default.
pub const DEFAULT_PEER_URL: &str = "http://localhost:2380";
/// The port on which etcd listens for its peers by default.
const USUAL_PORT: u16 = 2380;
/// The schemes of `types.NewURLs` in etcd.
const SCHEMES: [&str; 4] = ["http://", "https://", "unix://", "unixs://"];

/// One member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub id: u64,
    /// `--name` of etcd.
    pub name: String,
    /// `--initial-advertise-peer-urls` of etcd, sorted.
    pub peer_urls: Vec<String>,
}

impl Member {
    /// The id as etcd writes it: hexadecimal, without leading zeros.
    #[must_use]
    pub fn hex_id(&self) -> String {
        format!("{:x}", self.id)
    }

    /// The JSON that etcd stores in the bucket `members` and in the log.
    pub(super) fn to_json(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Stored<'a> {
            id: u64,
            #[serde(rename = "peerURLs")]
            peer_urls: &'a [String],
            name: &'a str,
        }
        json(&Stored { id: self.id, peer_urls: &self.peer_urls, name: &self.name })
    }
}

/// The JSON of a value whose serialisation cannot fail.
pub(super) fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

/// A new cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// In ascending order of ids, which is the order in which they join.
    members: Vec<Member>,
    cluster_id: u64,
    token: String,
}

/// The cluster of one member that `etcdutl snapshot restore` makes by default.
impl Default for Membership {
    fn default() -> Self {
        let only = member(DEFAULT_NAME.to_owned(), vec![DEFAULT_PEER_URL.to_owned()], DEFAULT_TOKEN);
        Self::in_order(vec![only], DEFAULT_TOKEN)
    }
}

impl Membership {
    /// Parses `--initial-cluster`: `name=url,name=url,…`; a name with several URLs appears several times.
    ///
    /// # Errors
    /// [`Kind::Usage`], naming the flag.
    pub fn parse(initial_cluster: &str, token: &str) -> Result<Self> {
        if let Some(plain) = unquoted_list(initial_cluster) {
            return Err(refused(
                "`initial_cluster` has quotes or brackets, as a configuration file has them".to_owned(),
            )
            .with_hint(format!("such as {plain}")));
        }
        let mut named: Vec<(String, Vec<String>)> = Vec::new();
        for part in initial_cluster.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (name, url) = part
                .split_once('=')
                .ok_or_else(|| refused(format!("`initial_cluster`: {part:?} is no NAME=URL")))?;
            let url =
                check_url(url.trim()).map_err(|bad| bad.of("`initial_cluster`", &format!("{name}=")))?;
            check_name(name)?;
            match named.iter_mut().find(|(other, _)| other == name) {
                Some((_, urls)) => urls.push(url),
                None => named.push((name.to_owned(), vec![url])),
            }
        }
        Self::of(named, token)
    }

    fn of(named: Vec<(String, Vec<String>)>, token: &str) -> Result<Self> {
        if named.is_empty() {
            return Err(refused("`initial_cluster` names no member".to_owned()));
        }
        if named.len() > MEMBERS_MAX {
            return Err(refused(format!("`initial_cluster` names more than {MEMBERS_MAX} members")));
        }
        let mut urls: Vec<&String> = named.iter().flat_map(|(_, urls)| urls).collect();
        urls.sort();
        if let Some([twice, _]) = urls.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(refused(format!("`initial_cluster` names {twice} twice")));
        }
        let mut members: Vec<Member> =
            named.into_iter().map(|(name, urls)| member(name, urls, token)).collect();
        members.sort_by_key(|member| member.id);
        if members.windows(2).any(|pair| pair[0].id == pair[1].id) || members[0].id == 0 {
            return Err(refused(
                "two members come to the same id: change `initial_cluster_token`".to_owned(),
            ));
        }
        Ok(Self::in_order(members, token))
    }

    /// The cluster of `members`, which are in ascending order of their ids.
    fn in_order(members: Vec<Member>, token: &str) -> Self {
        let ids: Vec<u8> = members.iter().flat_map(|member| member.id.to_be_bytes()).collect();
        Self { cluster_id: id_of(&ids), members, token: token.to_owned() }
    }

    /// The members, in ascending order of their ids.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The cluster's id.
    #[must_use]
    pub fn cluster_id(&self) -> u64 {
        self.cluster_id
    }

    /// `--initial-cluster-token`.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The value for `--initial-cluster` of etcd: in the order of names.
    #[must_use]
    pub fn initial_cluster(&self) -> String {
        let mut parts: Vec<String> = self
            .members
            .iter()
            .flat_map(|member| member.peer_urls.iter().map(|url| format!("{}={url}", member.name)))
            .collect();
        parts.sort();
        parts.join(",")
    }

    /// The member `name`, which must have exactly the `peer_urls` where those are given.
    ///
    /// # Errors
    /// [`Kind::Usage`] where etcd itself would refuse to start.
    pub fn member(&self, name: &str, peer_urls: Option<&str>) -> Result<&Member> {
        let member = self.members.iter().find(|member| member.name == name).ok_or_else(|| {
            refused(format!("`initial_cluster` does not name the member {name:?}")).with_hint(format!(
                "give `name` one of its names, or `initial_cluster` {name}=URL,… for the whole cluster"
            ))
        })?;
        let Some(peer_urls) = peer_urls else { return Ok(member) };
        let mut urls = Vec::new();
        for url in peer_urls.split(',') {
            urls.push(check_url(url.trim()).map_err(|bad| bad.of("`initial_advertise_peer_urls`", ""))?);
        }
        // etcd compares addresses, and makes the ids of the text in the cluster.
        let one_spelling = |urls: &[String]| {
            let mut urls: Vec<String> = urls.iter().map(|url| one_spelling(url)).collect();
            urls.sort();
            urls
        };
        if one_spelling(&urls) == one_spelling(&member.peer_urls) {
            return Ok(member);
        }
        let wanted = member.peer_urls.join(",");
        Err(refused(format!(
            "`initial_advertise_peer_urls` is {}, but `initial_cluster` gives {name} {wanted}",
            urls.join(","),
        ))
        .with_hint(format!(
            "the same URLs must stand in both, as etcd itself will check when it starts: {wanted} for `initial_advertise_peer_urls`, \
             or the other in `initial_cluster`"
        )))
    }

    /// The raft index after all members have joined, which is where the new log ends.
    #[must_use]
    pub fn last_index(&self) -> u64 {
        self.members.len() as u64
    }

    /// The entries of the bucket `members`, in the order of ids as text.
    pub(super) fn bucket_entries(&self) -> Vec<LeafEntry> {
        let mut entries: Vec<LeafEntry> = self
            .members
            .iter()
            .map(|member| (member.hex_id().into_bytes(), member.to_json(), false))
            .collect();
        entries.sort();
        entries
    }
}

fn member(name: String, mut peer_urls: Vec<String>, token: &str) -> Member {
    peer_urls.sort();
    let id = id_of([peer_urls.concat().as_bytes(), token.as_bytes()].concat().as_slice());
    Member { id, name, peer_urls }
}

/// The first eight bytes of a SHA-1, big-endian.
fn id_of(bytes: &[u8]) -> u64 {
    let digest: [u8; 20] = Sha1::digest(bytes).into();
    digest.iter().take(8).fold(0, |id, byte| id << 8 | u64::from(*byte))
}

fn refused(message: String) -> Error {
    Error::new(Kind::Usage, message).with_hint(
        "members are NAME=URL, comma separated, such as m1=https://10.0.0.1:2380,m2=https://10.0.0.2:2380",
    )
}

/// A name goes into JSON unescaped, so this refuses the characters that Go and serde escape differently; real names have
/// none.
fn check_name(name: &str) -> Result<()> {
    let usual = |byte: u8| byte.is_ascii_graphic() && !b"\"\\<>&/".contains(&byte);
    if !["", ".", ".."].contains(&name) && name.bytes().all(usual) {
        return Ok(());
    }
    Err(refused(format!("`initial_cluster`: {name:?} cannot be the name of a member")))
}

/// A peer URL that cannot be one.
struct BadUrl {
    what: String,
    /// The corrected URL, where it can be guessed.
    instead: Option<String>,
}

impl BadUrl {
    /// It as the error of the value of `flag`, in which `before` precedes the URL.
    fn of(self, flag: &str, before: &str) -> Error {
        let error = refused(format!("{flag}: {}", self.what));
        match self.instead {
            Some(right) => error.with_hint(format!("such as {before}{right}")),
            None => error,
        }
    }
}

/// `initial_cluster` without the quotes and brackets of a configuration file; `None` where it has none.
fn unquoted_list(initial_cluster: &str) -> Option<String> {
    let parts: Vec<&str> = initial_cluster.split(',').map(str::trim).collect();
    let plain: Vec<Option<String>> = parts.iter().map(|part| address::unquoted(part)).collect();
    if plain.iter().all(Option::is_none) {
        return None;
    }
    let whole = parts.iter().zip(plain).map(|(part, plain)| plain.unwrap_or_else(|| (*part).to_owned()));
    Some(whole.collect::<Vec<_>>().join(","))
}

/// Accepts only a URL that etcd would write as it is given: ids are digests of its text, so nothing is normalised silently.
fn check_url(url: &str) -> Result<String, BadUrl> {
    let bad = |what: &str, instead| BadUrl { what: format!("{url:?} {what}"), instead };
    let Some(authority) = SCHEMES.iter().find_map(|scheme| url.strip_prefix(scheme)) else {
        return Err(bad("does not begin with http://, https://, unix:// or unixs://", None));
    };
    let scheme = &url[..url.len() - authority.len()];
    if let Some((bare, _)) = authority.split_once('/') {
        return Err(bad("has a path, which a peer URL must not have", Some(format!("{scheme}{bare}"))));
    }
    let split = address::split(authority, USUAL_PORT);
    let (host, _) =
        split.map_err(|Flaw { what, instead }| bad(what, instead.map(|right| format!("{scheme}{right}"))))?;
    if let Some((_, zone)) = host.split_once('%')
        && !zone.starts_with("25")
    {
        let right = Some(url.replacen('%', "%25", 1));
        return Err(bad("has a zone behind %, which is written %25 in a URL", right));
    }
    Ok(url.to_owned())
}

/// A checked `url` in the one spelling of its address.
fn one_spelling(url: &str) -> String {
    let Some((scheme, authority)) = url.split_once("://") else { return url.to_owned() };
    match address::split(authority, USUAL_PORT) {
        Ok((host, port)) => {
            let (host, zone) = address::zoned(host);
            format!("{scheme}://{} {} {port}", address::canonical(host), zone.unwrap_or_default())
        }
        Err(_) => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ids that `etcdutl` 3.5.30 computed.
    #[test]
    fn ids_are_etcd_s() {
        let one = Membership::parse("m1=http://127.0.0.1:41810", "tok").unwrap();
        assert_eq!(one.members()[0].hex_id(), "7c1930e9557dec42");
        let three = "m1=http://127.0.0.1:41911,m2=http://127.0.0.1:41912,m3=http://127.0.0.1:41913";
        let three = Membership::parse(three, "tok3").unwrap();
        let ids: Vec<_> =
            three.members().iter().map(|member| (member.name.as_str(), member.hex_id())).collect();
        let expected = [("m2", "1d7cfb2882f7a1b6"), ("m3", "5985840ca7304b16"), ("m1", "9d1ba6c936c38c42")];
        assert_eq!(ids, expected.map(|(name, id)| (name, id.to_owned())));
    }

    #[test]
    fn a_member_with_several_urls_is_one() {
        let both = Membership::parse("a=http://b:2,c=http://d:4,a=http://b:1", "t").unwrap();
        assert_eq!(both.members().len(), 2);
        assert_eq!(
            both.member("a", Some("http://b:2,http://b:1")).unwrap().peer_urls,
            ["http://b:1", "http://b:2"]
        );
        assert_eq!(both.initial_cluster(), "a=http://b:1,a=http://b:2,c=http://d:4");
    }

    #[test]
    fn what_etcd_would_refuse_is_refused() {
        for (cluster, why) in [
            ("", "names no member"),
            ("http://b:1", "no NAME=URL"),
            ("a=b:1", "does not begin"),
            ("a=http://b", "no port"),
            ("a=http://:1", "no host"),
            ("a=http://b:1/x", "path"),
            ("a=http://b:1,c=http://b:1", "twice"),
            ("a\"=http://b:1", "quotes"),
            ("a<=http://b:1", "cannot be the name"),
            ("a=http://u@b:1", "no host has"),
            ("a=http://b:x", "no number"),
            ("a=http://b:65536", "no number"),
            ("..=http://b:1", "cannot be the name"),
        ] {
            let error = Membership::parse(cluster, "t").unwrap_err();
            assert!(error.to_string().contains(why), "{cluster}: {error}");
            assert_eq!(error.kind(), Kind::Usage);
        }
        let cluster = Membership::parse("a=http://b:1", "t").unwrap();
        assert!(cluster.member("b", None).unwrap_err().to_string().contains("does not name"));
        assert!(cluster.member("a", Some("http://b:2")).unwrap_err().to_string().contains("but"));
    }

    #[test]
    fn a_url_in_a_usual_misspelling_comes_with_the_right_one() {
        for (cluster, right) in [
            ("a=https://fd00::1:2380", "such as a=https://[fd00::1]:2380"),
            ("a=https://fd00::1", "such as a=https://[fd00::1]:2380"),
            ("a=https://[10.0.0.1]:2380", "such as a=https://10.0.0.1:2380"),
            ("a=https://[fe80::1%eth0]:2380", "such as a=https://[fe80::1%25eth0]:2380"),
            ("a=https://b:2380/", "such as a=https://b:2380"),
            ("\"a=https://b:1,c=https://d:1\"", "such as a=https://b:1,c=https://d:1"),
            ("a='https://b:1'", "such as a=https://b:1"),
        ] {
            let error = Membership::parse(cluster, "t").unwrap_err();
            assert_eq!(error.hint(), right, "{cluster}: {error}");
            let again = right.strip_prefix("such as ").unwrap();
            assert!(Membership::parse(again, "t").is_ok(), "{again}");
        }
    }

    /// As etcd and etcdutl compare them.
    #[test]
    fn one_address_may_be_spelled_in_two_ways() {
        let cluster =
            Membership::parse("a=https://[FD00:0:0::1]:2380,b=https://[fe80::1%25eth0]:1", "t").unwrap();
        assert_eq!(
            cluster.member("a", Some("https://[fd00::1]:2380")).unwrap().peer_urls,
            ["https://[FD00:0:0::1]:2380"]
        );
        assert!(cluster.member("b", Some("https://[fe80::1%25eth0]:1")).is_ok());
        for other in ["https://[fe80::1%25eth1]:1", "http://[fe80::1%25eth0]:1", "https://[fe80::1]:1"] {
            let error = cluster.member("b", Some(other)).unwrap_err();
            assert!(error.hint().contains("https://[fe80::1%25eth0]:1 for"), "{other}: {}", error.hint());
        }
    }
}

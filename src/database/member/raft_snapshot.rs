//! The raft snapshot with which a new cluster begins. Up to 3.6, etcd reads it when it starts; 3.4 and 3.5 learn their
//! members from its tree of v2 keys.
//!
//! `snap/snapshotter.go` and `v2store/store.go` in etcd. The tree is JSON as Go writes it: maps in the order of their keys,
//! and a history of a thousand events, all null except those of the members.

use std::collections::BTreeMap;

use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Deserialize, Serialize, Serializer};

use super::membership::{Member, Membership, json};
use super::raft::{FIRST_TERM, configuration_state};
use crate::database::protobuf::{Fields, Message};

/// The capacity of the history (`newEventHistory` in `v2store/watcher_hub.go`).
const HISTORY: usize = 1000;
/// Go's zero time.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// The name of the file: term and index.
#[must_use]
pub fn raft_snapshot_name(membership: &Membership) -> String {
    format!("{FIRST_TERM:016x}-{:016x}.snap", membership.last_index())
}

/// The contents of the whole file.
#[must_use]
pub fn raft_snapshot(membership: &Membership) -> Vec<u8> {
    let metadata = Message::default()
        .bytes(1, &configuration_state(membership))
        .number(2, membership.last_index())
        .number(3, FIRST_TERM);
    let snapshot =
        Message::default().bytes(1, &json(&V2Store::of(membership))).bytes(2, &metadata.finish()).finish();
    Message::default().number(1, u64::from(crc32c::crc32c(&snapshot))).bytes(2, &snapshot).finish()
}

/// Whether the tree in a raft snapshot has keys of the v2 API: those are below `/1`. False where it cannot be read.
#[must_use]
pub fn has_v2_keys(file: &[u8]) -> bool {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Store {
        root: Node,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Node {
        children: Option<BTreeMap<String, Node>>,
    }
    let within = |message, tag| {
        let mut fields = Fields::of(message).map_while(Result::ok).filter(|field| field.tag == tag);
        fields.next().and_then(|field| field.bytes().ok())
    };
    let store = within(file, 2).and_then(|snapshot| within(snapshot, 1));
    let store = store.and_then(|json| serde_json::from_slice::<Store>(json).ok());
    let children = |node: Node| node.children.unwrap_or_default();
    store.is_some_and(|store| children(store.root).remove("1").is_some_and(|keys| !children(keys).is_empty()))
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct V2Store {
    root: V2Node,
    watcher_hub: WatcherHub,
    current_index: u64,
    stats: Stats,
    current_version: u64,
}

impl V2Store {
    fn of(membership: &Membership) -> Self {
        let count = membership.last_index();
        let mut members: Vec<_> = (1..)
            .zip(membership.members())
            .map(|(index, member)| (member.hex_id(), member_node(index, member)))
            .collect();
        members.sort_by(|(one, _), (other, _)| one.cmp(other));
        let members = V2Node::directory("/0/members", 1, members);
        let zero = V2Node::directory("/0", 0, vec![("members".to_owned(), members)]);
        let one = V2Node::directory("/1", 0, Vec::new());
        Self {
            root: V2Node::directory("/", 0, vec![("0".to_owned(), zero), ("1".to_owned(), one)]),
            watcher_hub: WatcherHub { event_history: EventHistory::of(membership) },
            current_index: count,
            stats: Stats { create_success: count, ..Stats::default() },
            current_version: 2,
        }
    }
}

/// A key of the v2 API. It has either a value or children.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct V2Node {
    path: String,
    created_index: u64,
    modified_index: u64,
    expire_time: &'static str,
    value: String,
    children: Option<Children>,
}

impl V2Node {
    fn directory(path: &str, index: u64, children: Vec<(String, Self)>) -> Self {
        Self::new(path.to_owned(), index, String::new(), Some(Children(children)))
    }

    fn new(path: String, index: u64, value: String, children: Option<Children>) -> Self {
        Self { path, created_index: index, modified_index: index, expire_time: NEVER, value, children }
    }
}

/// The children, in ascending order of keys.
struct Children(Vec<(String, V2Node)>);

impl Serialize for Children {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, node) in &self.0 {
            map.serialize_entry(name, node)?;
        }
        map.end()
    }
}

fn member_path(member: &Member) -> String {
    format!("/0/members/{}", member.hex_id())
}

fn attributes_path(member: &Member) -> String {
    format!("{}/raftAttributes", member_path(member))
}

fn attributes(member: &Member) -> String {
    #[derive(Serialize)]
    struct Attributes<'a> {
        #[serde(rename = "peerURLs")]
        peer_urls: &'a [String],
    }
    String::from_utf8_lossy(&json(&Attributes { peer_urls: &member.peer_urls })).into_owned()
}

fn member_node(index: u64, member: &Member) -> V2Node {
    let node = V2Node::new(attributes_path(member), index, attributes(member), None);
    V2Node::directory(&member_path(member), index, vec![("raftAttributes".to_owned(), node)])
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct WatcherHub {
    event_history: EventHistory,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct EventHistory {
    queue: Queue,
    start_index: u64,
    last_index: u64,
}

impl EventHistory {
    fn of(membership: &Membership) -> Self {
        let count = membership.members().len();
        let events = Events(
            membership
                .members()
                .iter()
                .zip(1..)
                .map(|(member, index)| Event::creation(index, member))
                .collect(),
        );
        // Every place of the ring is taken or empty; membership is bounded so that the ring never wraps.
        let queue = Queue { events, size: count, front: 0, back: count % HISTORY, capacity: HISTORY };
        Self { queue, start_index: 1, last_index: membership.last_index() }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Queue {
    events: Events,
    size: usize,
    front: usize,
    back: usize,
    capacity: usize,
}

/// The events, padded with null to [`HISTORY`].
struct Events(Vec<Event>);

impl Serialize for Events {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut sequence = serializer.serialize_seq(Some(HISTORY))?;
        let empty = std::iter::repeat_n(None, HISTORY.saturating_sub(self.0.len()));
        for event in self.0.iter().map(Some).chain(empty) {
            sequence.serialize_element(&event)?;
        }
        sequence.end()
    }
}

#[derive(Serialize)]
struct Event {
    action: &'static str,
    node: EventNode,
}

impl Event {
    fn creation(index: u64, member: &Member) -> Self {
        let node = EventNode {
            key: attributes_path(member),
            value: attributes(member),
            modified_index: index,
            created_index: index,
        };
        Self { action: "create", node }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EventNode {
    key: String,
    value: String,
    modified_index: u64,
    created_index: u64,
}

/// The counters of the v2 API.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Stats {
    gets_success: u64,
    gets_fail: u64,
    sets_success: u64,
    sets_fail: u64,
    delete_success: u64,
    delete_fail: u64,
    update_success: u64,
    update_fail: u64,
    create_success: u64,
    create_fail: u64,
    compare_and_swap_success: u64,
    compare_and_swap_fail: u64,
    compare_and_delete_success: u64,
    compare_and_delete_fail: u64,
    expire_count: u64,
    watchers: u64,
}

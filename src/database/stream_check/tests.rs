//! Databases built page by page.

use super::awaited::{COUNTED_MAX, UNFINISHED_SIZE_MAX, WAITING_MAX};
use super::notes::{BUCKETS_SIZE_MAX, FAR_LEAVES_MAX, NOTES_MAX};
use super::other_note::BucketPlace;
use super::*;
use crate::database::bolt::page::{Bucket, LeafEntry, branch, leaf, leaf_elements};
use crate::database::kubernetes::Kubernetes;
use crate::database::protobuf::Message;
use crate::database::schema::{
    CLUSTER_BUCKET, DOWNGRADE, FINISHED_COMPACTION, KEY_BUCKET, MEMBERS_BUCKET, MEMBERS_MAX, META_BUCKET,
};
use harness::bolt::of_pages as database;

const PAGE_SIZE: usize = 4096;

fn overflow(size: usize) -> Option<u32> {
    u32::try_from(size.div_ceil(PAGE_SIZE) - 1).ok()
}

fn key(main: i64) -> Vec<u8> {
    Revision { main, sub: 0 }.to_bytes().to_vec()
}

fn keys(id: u64, revisions: &[i64], value_size: usize) -> (u64, Vec<u8>) {
    let entries: Vec<LeafEntry> =
        revisions.iter().map(|main| (key(*main), vec![1; value_size], false)).collect();
    (id, leaf(id, &entries, overflow).unwrap())
}

fn branch_of(id: u64, children: &[(i64, u64)]) -> (u64, Vec<u8>) {
    let children: Vec<(Vec<u8>, u64)> = children.iter().map(|(main, child)| (key(*main), *child)).collect();
    (id, branch(id, &children, overflow).unwrap())
}

/// The leaf of the root bucket, with a bucket of keys that is a tree, two members and a compaction at 5.
fn root(id: u64, keys: u64) -> (u64, Vec<u8>) {
    let inline = |name: &[u8], entries: &[LeafEntry]| {
        (name.to_vec(), Bucket::inline(&leaf(0, entries, |_| Some(0)).unwrap(), 0), true)
    };
    let entry = |key: &[u8], value: &[u8]| (key.to_vec(), value.to_vec(), false);
    let compaction = Revision { main: 5, sub: 0 }.to_bytes();
    let buckets = [
        (KEY_BUCKET.to_vec(), Bucket::tree(keys, 0), true),
        inline(MEMBERS_BUCKET, &[entry(b"8e9e05c52164694d", b"{}"), entry(b"a", b"{}")]),
        inline(META_BUCKET, &[entry(FINISHED_COMPACTION, &compaction)]),
    ];
    (id, leaf(id, &buckets, overflow).unwrap())
}

fn read(database: &[u8], piece: usize) -> Result<StreamFacts, Unreadable> {
    let mut check = StreamCheck::default();
    database.chunks(piece).for_each(|piece| check.update(piece));
    check.finish()
}

fn expected(revision: i64) -> StreamFacts {
    StreamFacts {
        revision,
        compacted: Some(5),
        members: vec![0xa, 0x8e9e_05c5_2164_694d],
        downgrade: None,
        kubernetes: None,
    }
}

#[test]
fn facts_are_read_in_pieces_of_any_size() {
    let pages =
        [root(9, 3), branch_of(3, &[(1, 5), (100, 4)]), keys(4, &[100, 101], 10), keys(5, &[1, 2, 99], 10)];
    let database = [database(9, &pages), vec![0xFF; 32]].concat();
    for piece in [1, 7, 80, 4095, 4096, 4097, 10_000, usize::MAX] {
        assert_eq!(read(&database, piece), Ok(expected(101)), "pieces of {piece}");
    }
}

#[test]
fn what_the_tree_does_not_reach_is_not_believed() {
    let pages = [
        root(2, 3),
        keys(3, &[7, 8], 10),
        // Unused leaves, and one within the value of the leaf before it.
        keys(4, &[900], 10),
        keys(5, &[6], 3 * PAGE_SIZE),
        keys(6, &[901], 10),
    ];
    assert_eq!(read(&database(2, &pages), 5000), Ok(expected(8)));
}

#[test]
fn the_last_key_may_lie_in_an_overflow_page_that_another_page_claims() {
    // An unused page claims a page that the tree uses.
    let stale = keys(3, &[1, 2], 5 * PAGE_SIZE);
    let stale = (3, stale.1[..PAGE_SIZE].to_vec());
    for piece in [1000, 4096, 9000, 1 << 20] {
        let pages = [stale.clone(), root(4, 5), keys(5, &[20, 21, 22], 2 * PAGE_SIZE)];
        assert_eq!(read(&database(4, &pages), piece), Ok(expected(22)));
    }
}

#[test]
fn a_branch_may_have_overflow_pages() {
    let children: Vec<(i64, u64)> = (0..400).map(|number| (number * 10 + 1, 5)).chain([(9000, 6)]).collect();
    let branch = branch_of(7, &children);
    assert!(branch.1.len() > 3 * PAGE_SIZE);
    let pages = [root(2, 7), keys(5, &[1], 1), keys(6, &[9000, 9001], 1), branch];
    for piece in [1000, 4096, 1 << 20] {
        assert_eq!(read(&database(2, &pages), piece), Ok(expected(9001)));
    }
}

#[test]
fn the_buckets_may_be_a_tree() {
    let (_, all) = root(2, 3);
    let entries: Vec<LeafEntry> = leaf_elements(&all, 3)
        .map(|element| element.map(|element| (element.key.to_vec(), element.value.to_vec(), true)).unwrap())
        .collect();
    let children = [(b"key".to_vec(), 5), (b"meta".to_vec(), 4)];
    let pages = [
        (2, branch(2, &children, overflow).unwrap()),
        keys(3, &[7], 10),
        (4, leaf(4, &entries[2..], overflow).unwrap()),
        (5, leaf(5, &entries[..2], overflow).unwrap()),
    ];
    assert_eq!(read(&database(2, &pages), 4096), Ok(expected(7)));
}

#[test]
fn a_compaction_may_be_newer_than_the_last_write() {
    let empty = (3, leaf(3, &[], overflow).unwrap());
    assert_eq!(read(&database(2, &[root(2, 3), empty]), 4096), Ok(expected(5)));
    assert_eq!(read(&database(2, &[root(2, 3), keys(3, &[4], 1)]), 4096), Ok(expected(5)));
}

#[test]
fn what_leads_nowhere_is_said() {
    let why = |root_page: u64, pages: &[(u64, Vec<u8>)]| {
        read(&database(root_page, pages), 4096).unwrap_err().to_string()
    };
    insta::assert_snapshot!(why(2, &[root(2, 3), keys(4, &[1], 1)]), @"page 3, in the tree of its keys, is not part of one");
    insta::assert_snapshot!(why(3, &[root(2, 3), keys(4, &[1], 1)]), @"page 3 is not what the page above it says");
    insta::assert_snapshot!(why(2, &[root(2, 3), branch_of(3, &[(1, 3)])]), @"the tree of its keys is deeper than any of bbolt");
    insta::assert_snapshot!(why(2, &[(2, leaf(2, &[], overflow).unwrap())]), @r#"it has no bucket "key""#);
    let circle = (2, branch(2, &[(b"key".to_vec(), 2)], overflow).unwrap());
    insta::assert_snapshot!(why(2, &[circle]), @"its pages lead in a circle");
    insta::assert_snapshot!(read(b"short", 4096).unwrap_err(), @"its meta pages are missing");
    insta::assert_snapshot!(read(&[7; 9000], 100).unwrap_err(), @"its meta pages are missing");
}

/// A Secret under `name`, as a pair.
fn secret(name: &str, value_size: usize) -> Vec<u8> {
    let key = format!("/registry/secrets/default/{name}");
    let mut value = b"k8s\0\x0A\x0C\x0A\x02v1\x12\x06Secret\x12\x00".to_vec();
    value.resize(value_size.max(value.len()), 7);
    Message::default()
        .bytes(1, key.as_bytes())
        .number(2, 9)
        .number(3, 9)
        .number(4, 1)
        .bytes(5, &value)
        .finish()
}

/// A leaf of pairs under ascending revisions, beginning with `first`.
fn pairs(id: u64, first: i64, pairs: &[Vec<u8>]) -> (u64, Vec<u8>) {
    let entries: Vec<LeafEntry> =
        (first..).zip(pairs).map(|(main, pair)| (key(main), pair.clone(), false)).collect();
    (id, leaf(id, &entries, overflow).unwrap())
}

fn secrets(database: &[u8], piece: usize) -> Option<u64> {
    match read(database, piece).unwrap().kubernetes {
        Some(Kubernetes::Counted(counts)) => Some(counts.secrets),
        Some(Kubernetes::Uncounted) => None,
        None => Some(0),
    }
}

#[test]
fn what_the_tree_reaches_is_counted_wherever_it_lies() {
    // Long values push the beginnings of others into overflow pages, and one lies across two pages.
    let long = [secret("a", 4000), secret("b", 9000), secret("c", 10), secret("a", 20)];
    let children: Vec<(i64, u64)> =
        (0..300_u64).map(|number| (i64::try_from(number).unwrap() * 10 + 100, 30 + number)).collect();
    let mut pages = vec![
        root(2, 4),
        // Unused.
        pairs(3, 900, &[secret("stale", 10)]),
        branch_of(4, &[&[(1, 20)], &children[..]].concat()),
        pairs(20, 1, &long),
    ];
    assert!(pages[2].1.len() > 2 * PAGE_SIZE);
    pages.extend(children.iter().map(|(first, id)| pairs(*id, *first, &[secret(&format!("s{id}"), 10)])));
    let database = database(2, &pages);
    for piece in [1, 500, 4096, 5000, 1 << 20] {
        assert_eq!(secrets(&database, piece), Some(303), "pieces of {piece}");
    }
}

#[test]
fn a_small_bucket_is_counted_inside_its_bucket() {
    let (_, keys) = pairs(0, 1, &[secret("a", 10), secret("b", 10)]);
    let inline = |page: &[u8]| Bucket::inline(page, 0);
    let downgrade = br#"{"target-version":"3.4.0","enabled":true}"#;
    let cluster = leaf(0, &[(DOWNGRADE.to_vec(), downgrade.to_vec(), false)], |_| Some(0)).unwrap();
    let buckets = [
        (CLUSTER_BUCKET.to_vec(), inline(&cluster), true),
        (KEY_BUCKET.to_vec(), inline(&keys), true),
        (META_BUCKET.to_vec(), inline(&leaf(0, &[], |_| Some(0)).unwrap()), true),
    ];
    let database = database(2, &[(2, leaf(2, &buckets, overflow).unwrap())]);
    assert_eq!(secrets(&database, 4096), Some(2));
    assert_eq!(read(&database, 4096).unwrap().downgrade.as_deref(), Some("3.4.0"));
}

#[test]
fn a_tree_that_is_not_whole_is_not_counted() {
    let pages =
        [root(2, 3), branch_of(3, &[(1, 7), (9, 5)]), pairs(5, 9, &[secret("a", 10)]), keys(8, &[1], 1)];
    assert_eq!(secrets(&database(2, &pages), 4096), None);
}

#[test]
fn stale_copies_of_the_root_do_no_harm() {
    let mut pages = vec![keys(2, &[20], 10)];
    pages.extend((3..9000).map(|id| root(id, 2)));
    let mut check = StreamCheck::default();
    check.update(&database(8999, &pages));
    assert!(check.notes.buckets_size < BUCKETS_SIZE_MAX / 2, "{}", check.notes.buckets_size);
    assert_eq!(check.finish(), Ok(expected(20)));
}

#[test]
fn there_is_always_room_for_the_root() {
    let pages = [keys(2, &[20], 10), root(3, 2)];
    let mut check = StreamCheck::default();
    check.notes.buckets_size = BUCKETS_SIZE_MAX;
    check.update(&database(3, &pages));
    assert_eq!(check.finish(), Ok(expected(20)));
}

#[test]
fn pages_far_behind_are_followed_too() {
    let first = NOTES_MAX as u64;
    let mut check = StreamCheck::default();
    check.notes.set(first, &Noted::Branch(first + 3));
    check.notes.set(first + 1, &Noted::EmptyLeaf);
    check.notes.set(first + 2, &Noted::Keys(900));
    check.notes.set(first + 3, &Noted::Keys(20));
    check.notes.set(first + 4, &Noted::Nothing);
    assert!(check.notes.near.is_empty());
    assert_eq!(check.notes.last_revision(&BucketPlace::Tree(first)), Ok(Some(20)));
    assert_eq!(check.notes.last_revision(&BucketPlace::Tree(first + 1)), Ok(None));
    assert!(check.notes.last_revision(&BucketPlace::Tree(first + 4)).is_err());
    (0..2 * FAR_LEAVES_MAX as u64).for_each(|id| check.notes.set(first + 10 + id, &Noted::Keys(10)));
    assert_eq!(check.notes.far_leaves.len(), FAR_LEAVES_MAX);
    assert_eq!(check.notes.last_revision(&BucketPlace::Tree(first)), Ok(Some(20)));
}

#[test]
fn memory_is_bounded_whatever_the_pages_claim() {
    let mut check = StreamCheck::default();
    let entry = |key: &[u8]| [(key.to_vec(), Vec::new(), false)];
    // Pages that look relevant, and pages whose last key is far away.
    let pages: Vec<(u64, Vec<u8>)> = (2..6000)
        .map(|id| {
            let mut page = match id % 2 {
                0 => leaf(id, &entry(b"consistent_index"), |_| Some(200)).unwrap(),
                _ => keys(id, &[1, 2], 2000).1,
            };
            page[12..16].copy_from_slice(&200_u32.to_le_bytes());
            if id % 2 == 1 {
                // The offset of the second key.
                page[36..40].copy_from_slice(&700_000_u32.to_le_bytes());
            }
            (id, page)
        })
        .collect();
    check.update(&database(2, &pages));
    assert!(check.awaited.unfinished_size <= UNFINISHED_SIZE_MAX, "{}", check.awaited.unfinished_size);
    assert!(check.awaited.count() <= WAITING_MAX + COUNTED_MAX + UNFINISHED_SIZE_MAX / PAGE_SIZE);
    assert!(check.notes.near.len() <= NOTES_MAX);
    check.finish().unwrap_err();
}

/// Each page below is its own child so often that following it takes more memory each time.
#[test]
fn a_tree_that_leads_in_a_circle_is_refused_in_little_memory() {
    let children: Vec<(Vec<u8>, u64)> =
        (0..150_u64).map(|at| (format!("b{at:03}").into_bytes(), 2)).collect();
    let circle = |id: u64| (id, branch(id, &children, overflow).unwrap());
    let pages: Vec<(u64, Vec<u8>)> = (1..1000).map(|at| circle(2 * at)).collect();
    let error = read(&database(2, &pages), 1 << 20).unwrap_err();
    assert!(error.to_string().contains("more children than there can be"), "{error}");
}

#[test]
fn no_cluster_has_so_many_members() {
    let names: Vec<Vec<u8>> = (0..=MEMBERS_MAX).map(|id| format!("a{id:04x}").into_bytes()).collect();
    let empty = || Bucket::inline(&leaf(0, &[], |_| Some(0)).unwrap(), 0);
    let buckets = [
        (KEY_BUCKET.to_vec(), empty(), true),
        (MEMBERS_BUCKET.to_vec(), Bucket::tree(3, 0), true),
        (META_BUCKET.to_vec(), empty(), true),
    ];
    let with = |names: &[Vec<u8>]| {
        let mut pages = vec![(2, leaf(2, &buckets, overflow).unwrap())];
        let mut children = Vec::new();
        for (id, names) in (4..).zip(names.chunks(100)) {
            let entries: Vec<LeafEntry> =
                names.iter().map(|name| (name.clone(), b"{}".to_vec(), false)).collect();
            pages.push((id, leaf(id, &entries, overflow).unwrap()));
            children.push((names[0].clone(), id));
        }
        pages.push((3, branch(3, &children, overflow).unwrap()));
        read(&database(2, &pages), 4096)
    };
    assert_eq!(with(&names[1..]).unwrap().members.len(), MEMBERS_MAX);
    assert!(with(&names).unwrap_err().to_string().contains("more members"));
}

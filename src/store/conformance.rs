//! One suite of tests for every store. A new store is complete when the suite passes on it.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use sha2::{Digest as _, Sha256};

use super::contract::{Entry, Existing, Published, Store, Terms, Unpublished};
use super::sidecar::Sidecar;
use crate::error::{Kind, Result};
use crate::interrupt::Interrupt;

/// An empty store to test, and what a test needs beside the store's own operations.
pub(super) trait Subject {
    fn store(&self) -> &dyn Store;
    /// An object whose next write fails.
    fn failing(&self) -> Box<dyn Unpublished>;
    /// How many things are there, published or not.
    fn things(&self) -> usize;
}

const CREATE: Terms = Terms { existing: Existing::Refuse, sidecar: true };
const REPLACE: Terms = Terms { existing: Existing::Replace, sidecar: true };
const NUMBER: Terms = Terms { existing: Existing::Number, sidecar: true };
/// How often a test repeats what fails only if two threads meet in a short moment.
const ROUNDS: u32 = 30;

type Test<S> = fn(&S);

/// Runs the whole suite; `make` makes an empty store.
pub(super) fn conforms<S: Subject>(make: impl Fn() -> S) {
    let tests: [(&str, Test<S>); 19] = [
        ("an object is published whole", published_whole),
        ("a name is given before the first write", named_first),
        ("an existing name is refused", existing_name_is_refused),
        ("an object is replaced where that was asked for", replaced_on_request),
        ("one of two publishers wins", one_publisher_wins),
        ("an automatic name that is taken gets a number", taken_name_gets_a_number),
        ("publishers of one automatic name get a number each", publishers_get_a_number_each),
        ("a dropped object leaves nothing", dropped_leaves_nothing),
        ("an unpublished object is invisible", unpublished_is_invisible),
        ("ranges", ranges),
        ("a list is exact", list_is_exact),
        ("a missing object is not found", missing_is_not_found),
        ("a removal takes the sidecar along", removal_takes_the_sidecar),
        ("a failed write leaves nothing", failed_write_leaves_nothing),
        ("the sidecar has the digest", sidecar_has_the_digest),
        ("the sidecar comes after its object", sidecar_comes_after_its_object),
        ("an old sidecar goes before its object", old_sidecar_goes_before_its_object),
        ("any name works or is refused", any_name_works_or_is_refused),
        ("an interrupt before the commit prevents it", interrupt_prevents_the_commit),
    ];
    for (name, test) in tests {
        let mut log = std::io::stderr();
        // A failure to say so fails no test.
        let _ = writeln!(log, "conformance: {name}");
        test(&make());
    }
}

fn digest(content: &[u8]) -> [u8; 32] {
    Sha256::digest(content).into()
}

fn begun(store: &dyn Store, name: &str, terms: Terms, content: &[u8]) -> Box<dyn Unpublished> {
    let mut object = store.begin().unwrap();
    let address = object.name(OsStr::new(name), terms).unwrap();
    assert!(terms == NUMBER || address == store.address(OsStr::new(name)));
    object.write_all(content).unwrap();
    object
}

fn put(store: &dyn Store, name: &OsStr, terms: Terms, content: &[u8]) -> Result<Published> {
    let mut object = store.begin()?;
    object.name(name, terms)?;
    object.write_all(content).unwrap();
    let published = object.publish(Some(digest(content)), &Interrupt::new())?;
    assert!(published.shortfall.is_none(), "{published:?}");
    Ok(published)
}

fn get(store: &dyn Store, name: &OsStr) -> Vec<u8> {
    let mut content = Vec::new();
    store.open(name).unwrap().read_to_end(&mut content).unwrap();
    content
}

fn names(store: &dyn Store) -> Vec<OsString> {
    store.list().unwrap().into_iter().map(|entry| entry.name).collect()
}

/// Publishes `content` as `x.age`, which must be free.
fn with_x(subject: &impl Subject, content: &[u8]) {
    let _ = put(subject.store(), OsStr::new("x.age"), CREATE, content).unwrap();
}

fn published_whole(subject: &impl Subject) {
    let store = subject.store();
    let content: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    let mut object = store.begin().unwrap();
    object.name(OsStr::new("x.age"), CREATE).unwrap();
    content.chunks(10_007).for_each(|piece| object.write_all(piece).unwrap());
    let interrupt = Interrupt::new();
    let published = object.publish(Some(digest(&content)), &interrupt).unwrap();
    assert!(published.shortfall.is_none());
    assert!(published.path.ends_with(store.address(OsStr::new("x.age"))));
    assert_eq!(get(store, OsStr::new("x.age")), content);
    assert!(!interrupt.raise(), "the commit was not announced");
    // An empty object is one, too; without a digest it has no sidecar.
    let empty = begun(store, "empty", Terms { sidecar: false, ..CREATE }, b"");
    let _ = empty.publish(None, &Interrupt::new()).unwrap();
    assert_eq!(get(store, OsStr::new("empty")), b"");
    assert_eq!(store.sidecar(OsStr::new("empty")).unwrap(), None);
    // Its terms decide, even if there is a digest.
    let alone = begun(store, "alone", Terms { sidecar: false, ..CREATE }, b"");
    let _ = alone.publish(Some(digest(b"")), &Interrupt::new()).unwrap();
    assert_eq!(store.sidecar(OsStr::new("alone")).unwrap(), None);
}

fn named_first(subject: &impl Subject) {
    let mut object = subject.store().begin().unwrap();
    assert!(object.write(b"x").is_err());
    drop(object);
    let nameless = subject.store().begin().unwrap().publish(None, &Interrupt::new()).unwrap_err();
    assert_eq!(nameless.kind(), Kind::Destination);
    assert_eq!(subject.things(), 0);
}

fn existing_name_is_refused(subject: &impl Subject) {
    let (store, name) = (subject.store(), OsStr::new("x.age"));
    // Both begin before either is there, so that publishing itself has to refuse the second.
    let late = begun(store, "x.age", CREATE, b"second");
    with_x(subject, b"first");
    let refused = [
        late.publish(Some(digest(b"second")), &Interrupt::new()).unwrap_err(),
        store.begin().unwrap().name(name, CREATE).unwrap_err(),
        store.check(name, CREATE).unwrap_err(),
    ];
    assert_eq!(refused[0].to_string(), refused[2].to_string());
    for error in refused {
        assert_eq!(error.kind(), Kind::DestinationExists);
        let address = store.address(name).display().to_string();
        assert!(error.to_string().contains(&address), "{error}");
    }
    assert_eq!(get(store, name), b"first");
    assert_eq!(store.sidecar(name).unwrap().unwrap().sha256, digest(b"first"));
    assert_eq!(subject.things(), 2);
}

fn replaced_on_request(subject: &impl Subject) {
    let (store, name) = (subject.store(), OsStr::new("x.age"));
    with_x(subject, b"first");
    store.check(name, REPLACE).unwrap();
    let _ = put(store, name, REPLACE, b"the second").unwrap();
    assert_eq!(get(store, name), b"the second");
    assert_eq!(store.sidecar(name).unwrap().unwrap().sha256, digest(b"the second"));
    assert_eq!(subject.things(), 2);
}

fn one_publisher_wins(subject: &impl Subject) {
    for _ in 0..ROUNDS {
        one_of_eight_wins(subject);
        subject.store().remove(OsStr::new("x.age")).unwrap();
    }
}

fn one_of_eight_wins(subject: &impl Subject) {
    let (store, name) = (subject.store(), OsStr::new("x.age"));
    let outcomes: Vec<(u8, Result<Published>)> = std::thread::scope(|scope| {
        let objects: Vec<_> =
            (0..8_u8).map(|number| (number, begun(store, "x.age", CREATE, &[number]))).collect();
        let publish = |(number, object): (u8, Box<dyn Unpublished>)| {
            scope.spawn(move || (number, object.publish(Some(digest(&[number])), &Interrupt::new())))
        };
        let threads: Vec<_> = objects.into_iter().map(publish).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let winners: Vec<u8> =
        outcomes.iter().filter(|(_, done)| done.is_ok()).map(|(number, _)| *number).collect();
    assert_eq!(winners.len(), 1, "{outcomes:?}");
    for error in outcomes.into_iter().filter_map(|(_, outcome)| outcome.err()) {
        assert_eq!(error.kind(), Kind::DestinationExists, "{error}");
    }
    assert_eq!(get(store, name), winners);
    assert_eq!(store.sidecar(name).unwrap().unwrap().sha256, digest(&winners));
    assert_eq!(subject.things(), 2);
}

/// The automatic name with `number`, the first of which has none.
fn automatic(number: usize) -> OsString {
    let number = if number == 1 { String::new() } else { format!(".{number}") };
    format!("prod-20261121T053409Z-r48213{number}.db.zst.age").into()
}

fn taken_name_gets_a_number(subject: &impl Subject) {
    let (store, name) = (subject.store(), automatic(1));
    for number in 1..=12 {
        store.check(&name, NUMBER).unwrap();
        let mut object = store.begin().unwrap();
        let address = object.name(&name, NUMBER).unwrap();
        assert_eq!(address, store.address(&automatic(number)));
        object.write_all(&[0; 7][..number % 7]).unwrap();
        let published = object.publish(Some([7; 32]), &Interrupt::new()).unwrap();
        assert!(published.shortfall.is_none() && published.path.ends_with(&address), "{published:?}");
    }
    for number in 1..=12 {
        let name = automatic(number);
        assert_eq!(get(store, &name).len(), number % 7);
        assert_eq!(store.sidecar(&name).unwrap(), Some(Sidecar { sha256: [7; 32], name }));
    }
    // A number that became free is used again, and a name that is not automatic is refused.
    store.remove(&automatic(5)).unwrap();
    let _ = put(store, &name, NUMBER, b"again").unwrap();
    assert_eq!(get(store, &automatic(5)), b"again");
    let _ = put(store, OsStr::new("x.age"), NUMBER, b"first").unwrap();
    let refused = put(store, OsStr::new("x.age"), NUMBER, b"second").unwrap_err();
    assert_eq!(refused.kind(), Kind::DestinationExists);
    assert_eq!(get(store, OsStr::new("x.age")), b"first");
    assert_eq!(subject.things(), 2 * 13);
}

fn publishers_get_a_number_each(subject: &impl Subject) {
    const PUBLISHERS: u8 = 30;
    let (store, name) = (subject.store(), automatic(1));
    std::thread::scope(|scope| {
        let name = name.to_str().unwrap();
        let objects: Vec<_> =
            (0..PUBLISHERS).map(|number| (number, begun(store, name, NUMBER, &[number]))).collect();
        for (number, object) in objects {
            scope.spawn(move || {
                let published = object.publish(Some(digest(&[number])), &Interrupt::new()).unwrap();
                assert!(published.shortfall.is_none(), "{published:?}");
                let name = published.path.file_name().unwrap_or(published.path.as_os_str()).to_owned();
                let name =
                    OsStr::from_bytes(name.as_bytes().strip_prefix(b"memory:").unwrap_or(name.as_bytes()));
                assert_eq!(get(store, name), [number]);
            });
        }
    });
    let mut contents: Vec<u8> = (1..=usize::from(PUBLISHERS))
        .map(|number| {
            let (name, content) = (automatic(number), get(store, &automatic(number)));
            let sidecar = store.sidecar(&name).unwrap();
            assert_eq!(sidecar, Some(Sidecar { sha256: digest(&content), name }));
            content[0]
        })
        .collect();
    contents.sort_unstable();
    assert!(contents.into_iter().eq(0..PUBLISHERS));
    assert_eq!(subject.things(), 2 * usize::from(PUBLISHERS));
}

fn dropped_leaves_nothing(subject: &impl Subject) {
    let object = begun(subject.store(), "x.age", CREATE, b"content");
    assert!(subject.things() <= 1);
    drop(object);
    assert_eq!(subject.things(), 0);
    subject.store().check(OsStr::new("x.age"), CREATE).unwrap();
}

fn unpublished_is_invisible(subject: &impl Subject) {
    let (store, name) = (subject.store(), OsStr::new("x.age"));
    let _object = begun(store, "x.age", CREATE, b"content");
    assert_eq!(names(store), [""; 0]);
    assert_eq!(store.stat(name).unwrap_err().kind(), Kind::NotFound);
    assert!(store.open(name).is_err());
    assert_eq!(store.sidecar(name).unwrap(), None);
}

fn ranges(subject: &impl Subject) {
    with_x(subject, b"0123456789");
    let mut object = subject.store().open(OsStr::new("x.age")).unwrap();
    assert_eq!(object.size(), Some(10));
    for (offset, length, expected) in [
        (0, 4, &b"0123"[..]),
        (6, 4, b"6789"),
        (8, 4, b"89"),
        (10, 4, b""),
        (1000, 4, b""),
        (3, 0, b""),
        (0, 100, b"0123456789"),
    ] {
        let mut buffer = vec![0; length];
        let filled = object.read_at(offset, &mut buffer).unwrap();
        assert_eq!(&buffer[..filled], expected, "{offset} {length}");
    }
    // A range moves no position.
    let mut four = [0; 4];
    object.read_exact(&mut four).unwrap();
    assert_eq!(&four, b"0123");
    object.seek(SeekFrom::End(-2)).unwrap();
    let mut rest = Vec::new();
    object.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"89");
}

fn list_is_exact(subject: &impl Subject) {
    let store = subject.store();
    assert_eq!(store.list().unwrap(), []);
    for (name, content) in [("b.age", &b"12345"[..]), ("a.age", b""), ("B.age", b"1")] {
        let _ = put(store, OsStr::new(name), CREATE, content).unwrap();
    }
    let entries = store.list().unwrap();
    let found: Vec<_> = entries.iter().map(|entry| (entry.name.to_str().unwrap(), entry.size)).collect();
    let line = |name: &str| (64 + 2 + name.len() + 1) as u64;
    assert_eq!(
        found,
        [
            ("B.age", 1),
            ("B.age.sha256", line("B.age")),
            ("a.age", 0),
            ("a.age.sha256", line("a.age")),
            ("b.age", 5),
            ("b.age.sha256", line("b.age")),
        ]
    );
    for Entry { name, size, modified } in entries {
        let stat = store.stat(&name).unwrap();
        assert_eq!((stat.size, stat.modified), (size, modified));
        assert_eq!(store.open(&name).unwrap().modified(), modified);
    }
}

fn missing_is_not_found(subject: &impl Subject) {
    let store = subject.store();
    with_x(subject, b"content");
    for name in ["y.age", "x.age.age", "X.age", ""] {
        let name = OsStr::new(name);
        let errors = [store.stat(name).err(), store.open(name).err(), store.remove(name).err()];
        for error in errors.map(Option::unwrap) {
            assert_eq!(error.kind(), Kind::NotFound, "{error}");
            assert!(error.to_string().contains(&store.address(name).display().to_string()), "{error}");
        }
    }
    assert_eq!(subject.things(), 2);
}

/// Calls `look` again and again while `act` runs, so that it sees the states in between; each of the two may fail the test.
fn meanwhile(look: impl Fn() + Send + Sync, act: impl FnOnce()) {
    /// Sets the flag even where the test fails, so that no thread waits for ever.
    struct Done<'a>(&'a AtomicBool);
    impl Drop for Done<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let (looking, done) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _looking = Done(&looking);
            while !done.load(Ordering::Relaxed) {
                look();
                looking.store(true, Ordering::Relaxed);
            }
        });
        let _done = Done(&done);
        while !looking.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        act();
    });
}

fn removal_takes_the_sidecar(subject: &impl Subject) {
    let (store, name, other) = (subject.store(), OsStr::new("x.age"), OsStr::new("y.age"));
    let _ = put(store, other, CREATE, b"other").unwrap();
    for _ in 0..ROUNDS {
        with_x(subject, b"content");
        // No reader ever sees the archive without its sidecar.
        let look = || {
            let has_no_sidecar = store.sidecar(name).unwrap().is_none();
            assert!(!has_no_sidecar || store.stat(name).is_err(), "an archive without its sidecar");
        };
        meanwhile(look, || store.remove(name).unwrap());
        assert_eq!(names(store), ["y.age", "y.age.sha256"]);
    }
    // What is left of a removal that was cut short is removed by its own name.
    store.remove(OsStr::new("y.age.sha256")).unwrap();
    store.remove(other).unwrap();
    assert_eq!(subject.things(), 0);
}

fn failed_write_leaves_nothing(subject: &impl Subject) {
    let mut object = subject.failing();
    object.name(OsStr::new("x.age"), CREATE).unwrap();
    object.write_all(b"lost").unwrap_err();
    // Later writes would leave a hole.
    object.write_all(b"more").unwrap_err();
    object.publish(Some(digest(b"")), &Interrupt::new()).unwrap_err();
    assert_eq!(subject.things(), 0);
}

fn sidecar_has_the_digest(subject: &impl Subject) {
    let (store, name) = (subject.store(), OsStr::new("x.age"));
    with_x(subject, b"content");
    let expected = Sidecar { sha256: digest(b"content"), name: name.to_owned() };
    assert_eq!(get(store, &Sidecar::name_of(name)), expected.to_line());
    assert_eq!(store.sidecar(name).unwrap(), Some(expected));
}

fn sidecar_comes_after_its_object(subject: &impl Subject) {
    let (store, current) = (subject.store(), AtomicU32::new(0));
    let named = |number: u32| OsString::from(format!("{number}.age"));
    let look = || {
        let name = named(current.load(Ordering::Relaxed));
        let has_sidecar = store.sidecar(&name).unwrap().is_some();
        assert!(!has_sidecar || store.stat(&name).is_ok(), "a sidecar without its archive");
    };
    meanwhile(look, || {
        for number in 0..2 * ROUNDS {
            current.store(number, Ordering::Relaxed);
            let _ = put(store, &named(number), CREATE, b"content").unwrap();
        }
    });
}

fn old_sidecar_goes_before_its_object(subject: &impl Subject) {
    let (store, name) = (subject.store(), OsStr::new("x.age"));
    with_x(subject, b"first");
    let look = || {
        // The content between two equal looks at it is what the sidecar in between belongs to.
        let (before, sidecar, after) = (get(store, name), store.sidecar(name).unwrap(), get(store, name));
        if let Some(sidecar) = sidecar.filter(|_| before == after) {
            assert_eq!(sidecar.sha256, digest(&before), "an old sidecar beside a new archive");
        }
    };
    meanwhile(look, || {
        for number in 0..2 * ROUNDS {
            let _ = put(store, name, REPLACE, &number.to_le_bytes()).unwrap();
        }
    });
}

fn any_name_works_or_is_refused(subject: &impl Subject) {
    let store = subject.store();
    let long = "x".repeat(2000);
    let names: [&[u8]; 14] = [
        b" spaces ",
        b"-n",
        b"it's $HOME",
        b"quote\"",
        b"back\\slash",
        b"line\nbreak",
        b"%41",
        b"a+b?c#d&e",
        "\u{e9}\u{2028}\u{1f512}".as_bytes(),
        b"not \xff UTF-8",
        b"*",
        b"\x01",
        b".hidden",
        long.as_bytes(),
    ];
    for name in names.map(OsStr::from_bytes) {
        let things = subject.things();
        match put(store, name, CREATE, name.as_bytes()) {
            Ok(_) => {
                assert_eq!(get(store, name), name.as_bytes());
                assert!(store.list().unwrap().iter().any(|entry| entry.name == name), "{name:?}");
                assert_eq!(store.sidecar(name).unwrap().unwrap().name, name);
                store.remove(name).unwrap();
            }
            Err(error) => assert_eq!(error.kind(), Kind::Destination, "{name:?}: {error}"),
        }
        assert_eq!(subject.things(), things, "{name:?}");
    }
    for name in ["", ".", "..", "a/b", "../x", "a\0b"].map(OsStr::new) {
        assert_eq!(put(store, name, REPLACE, b"").unwrap_err().kind(), Kind::Destination, "{name:?}");
        assert_eq!(store.check(name, CREATE).unwrap_err().kind(), Kind::Destination, "{name:?}");
        assert_eq!(subject.things(), 0);
    }
}

fn interrupt_prevents_the_commit(subject: &impl Subject) {
    let store = subject.store();
    for terms in [CREATE, REPLACE] {
        let object = begun(store, if terms == CREATE { "y.age" } else { "x.age" }, terms, b"new");
        let interrupt = Interrupt::new();
        assert!(interrupt.raise());
        let error = object.publish(Some(digest(b"new")), &interrupt).unwrap_err();
        assert_eq!(error.kind(), Kind::Interrupted);
        if terms == CREATE {
            assert_eq!(subject.things(), 0);
            with_x(subject, b"old");
        }
    }
    assert_eq!(names(store), ["x.age", "x.age.sha256"]);
    assert_eq!(get(store, OsStr::new("x.age")), b"old");
    assert_eq!(store.sidecar(OsStr::new("x.age")).unwrap().unwrap().sha256, digest(b"old"));
}

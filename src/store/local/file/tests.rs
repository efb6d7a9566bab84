use super::*;
use crate::store::local::stale::Unfinished as _;
use rustix::fs::FlockOperation;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

const CONTENT: &[u8] = b"content of the archive";
const SHA256: [u8; 32] = [0xab; 32];

/// The methods that remain when those before them are not supported.
const METHODS: [&[Method]; 3] = [Method::ALL, &[Method::Link, Method::Reserve], &[Method::Reserve]];

fn place() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn written(place: &TempDir) -> UnpublishedFile {
    let mut unpublished = UnpublishedFile::create(place.path()).unwrap();
    unpublished.write_all(CONTENT).unwrap();
    unpublished.flush().unwrap();
    unpublished
}

fn publish(place: &TempDir, existing: Existing) -> Result<Published> {
    written(place).publish("x.age", existing, Some(SHA256), &Interrupt::new())
}

/// Publishes by these methods.
fn publish_by(
    methods: &[Method],
    unpublished: UnpublishedFile,
    name: &str,
    existing: Existing,
    sha256: [u8; 32],
) -> Result<Published> {
    let interrupt = Interrupt::new();
    let publication = Publication { methods, ..Publication::new(OsStr::new(name), existing, Some(sha256)) };
    let published = unpublished.publish_as(&publication, &interrupt)?;
    assert!(!interrupt.raise(), "the commit was not announced");
    Ok(published)
}

fn line(name: &str) -> Vec<u8> {
    Sidecar { sha256: SHA256, name: name.into() }.to_line()
}

/// Names and contents of everything in the directory; for links and the like, their type.
fn contents(place: &TempDir) -> BTreeMap<String, Vec<u8>> {
    let entry = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.unwrap();
        let file_type = entry.file_type().unwrap();
        let content = if file_type.is_file() {
            fs::read(entry.path()).unwrap()
        } else {
            format!("{file_type:?}").into()
        };
        (entry.file_name().into_string().unwrap(), content)
    };
    fs::read_dir(place.path()).unwrap().map(entry).collect()
}

fn expected(entries: &[(&str, &[u8])]) -> BTreeMap<String, Vec<u8>> {
    entries.iter().map(|(name, content)| ((*name).to_owned(), content.to_vec())).collect()
}

fn the_archive_and_its_sidecar() -> BTreeMap<String, Vec<u8>> {
    expected(&[("x.age", CONTENT), ("x.age.sha256", &line("x.age"))])
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn nothing_but_a_private_temporary_exists_before_publishing() {
    let place = place();
    let unpublished = written(&place);
    let names: Vec<String> = contents(&place).into_keys().collect();
    assert_eq!(names.len(), 1);
    assert!(is_temporary_name(names[0].as_bytes()), "{names:?}");
    assert_eq!(mode(&place.path().join(&names[0])), 0o600);
    drop(unpublished);
    assert_eq!(contents(&place), expected(&[]));
}

#[test]
fn archive_and_sidecar_are_published_by_every_method() {
    for methods in METHODS {
        let place = place();
        let published = publish_by(methods, written(&place), "x.age", Existing::Refuse, SHA256);
        let Published { path, shortfall } = published.unwrap();
        assert!(shortfall.is_none(), "{shortfall:?}");
        assert_eq!(path, place.path().join("x.age"));
        assert_eq!(contents(&place), the_archive_and_its_sidecar(), "{methods:?}");
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(&Sidecar::path_of(&path)), 0o600);
        assert_eq!(fs::metadata(&path).unwrap().nlink(), 1);
    }
}

#[test]
fn no_method_replaces_anything() {
    for methods in METHODS {
        let place = place();
        let unpublished = written(&place);
        // After the check, so that the method itself finds the name taken.
        for plant in [plant_file, plant_link] {
            plant(&place.path().join("taken"));
            let before = contents(&place);
            let mut temporary = Temporary::create(unpublished.temporary.directory()).unwrap();
            let error = commit::without_replacing(methods, &mut temporary, OsStr::new("taken")).unwrap_err();
            assert_eq!(error.kind(), Kind::DestinationExists, "{methods:?}: {error}");
            drop(temporary);
            assert_eq!(contents(&place), before, "{methods:?}");
            fs::remove_file(place.path().join("taken")).unwrap();
        }
        assert!(!place.path().join("elsewhere").exists(), "a link was followed");
    }
}

fn plant_file(path: &Path) {
    fs::write(path, "old").unwrap();
}

fn plant_link(path: &Path) {
    symlink("elsewhere", path).unwrap();
}

#[test]
fn a_reservation_goes_when_it_cannot_be_used() {
    let place = place();
    let unpublished = written(&place);
    let mut temporary = Temporary::create(unpublished.temporary.directory()).unwrap();
    fs::remove_file(temporary.path()).unwrap();
    let error = commit::without_replacing(&[Method::Reserve], &mut temporary, OsStr::new("x")).unwrap_err();
    assert_eq!(error.kind(), Kind::Io);
    assert!(!place.path().join("x").exists());
}

#[test]
fn a_sidecar_without_its_archive_is_replaced() {
    for existing in [Existing::Refuse, Existing::Replace] {
        let place = place();
        fs::write(place.path().join("x.age.sha256"), "of a removed archive").unwrap();
        let _ = publish(&place, existing).unwrap();
        assert_eq!(contents(&place), the_archive_and_its_sidecar());
    }
}

#[test]
fn without_a_digest_there_is_no_sidecar_and_any_name_will_do() {
    let place = place();
    let name = OsStr::from_bytes(b"snapshot \xff.db");
    fs::write(place.path().join("y.sha256"), "another user's").unwrap();
    let path = written(&place).publish(name, Existing::Refuse, None, &Interrupt::new()).unwrap().path;
    assert_eq!(fs::read(path).unwrap(), CONTENT);
    let _ = written(&place).publish("y", Existing::Replace, None, &Interrupt::new()).unwrap();
    assert_eq!(fs::read(place.path().join("y.sha256")).unwrap(), b"another user's");
}

#[test]
fn links_are_replaced_and_never_followed() {
    let place = place();
    let elsewhere = tempfile::tempdir().unwrap();
    let target = elsewhere.path().join("target");
    for name in ["x.age", "x.age.sha256"] {
        symlink(&target, place.path().join(name)).unwrap();
    }
    assert_eq!(publish(&place, Existing::Refuse).unwrap_err().kind(), Kind::DestinationExists);
    let _ = publish(&place, Existing::Replace).unwrap();
    assert_eq!(contents(&place), the_archive_and_its_sidecar());
    assert!(!target.exists());
}

#[test]
fn what_is_no_file_is_never_replaced() {
    let plants: [fn(&Path); 4] = [
        |path| fs::create_dir(path).unwrap(),
        |path| assert!(Command::new("mkfifo").arg(path).status().unwrap().success()),
        |path| drop(UnixListener::bind(path).unwrap()),
        |path| symlink("/dev/null", path).unwrap(),
    ];
    for plant in plants {
        for name in ["x.age", "x.age.sha256"] {
            let place = place();
            plant(&place.path().join(name));
            let before = contents(&place);
            for existing in [Existing::Refuse, Existing::Replace] {
                let error = publish(&place, existing).unwrap_err();
                assert_eq!(error.kind(), Kind::Destination, "{error}");
                assert!(error.to_string().contains(name), "{error}");
                assert_eq!(contents(&place), before);
                assert!(check(place.path(), "x.age", existing, true).is_err());
            }
        }
    }
    let error = check(Path::new("/dev"), "null", Existing::Replace, false).unwrap_err();
    assert!(error.to_string().contains("/dev/null is a device"), "{error}");
    assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
}

#[test]
fn impossible_names_are_refused() {
    let place = place();
    let temporary = ".etcd-seal-0123456789abcdef.tmp";
    let long = "x".repeat(256);
    let long_with_sidecar = "x".repeat(250);
    for name in ["", ".", "..", "a/b", "../x", "a\0b", temporary, &long, &long_with_sidecar] {
        let error =
            written(&place).publish(name, Existing::Replace, Some(SHA256), &Interrupt::new()).unwrap_err();
        assert_eq!(error.kind(), Kind::Destination, "{name:?}: {error}");
        assert_eq!(contents(&place), expected(&[]), "{name:?}");
    }
}

#[test]
fn a_directory_that_vanished_or_was_replaced_is_noticed() {
    let outer = place();
    let directory = outer.path().join("backups");

    fs::create_dir(&directory).unwrap();
    let unpublished = UnpublishedFile::create(&directory).unwrap();
    fs::remove_dir_all(&directory).unwrap();
    let error = unpublished.publish("x.age", Existing::Refuse, Some(SHA256), &Interrupt::new()).unwrap_err();
    assert_eq!(error.kind(), Kind::Io, "{error}");

    fs::create_dir(&directory).unwrap();
    let unpublished = UnpublishedFile::create(&directory).unwrap();
    fs::rename(&directory, outer.path().join("moved")).unwrap();
    fs::create_dir(&directory).unwrap();
    let error = unpublished.publish("x.age", Existing::Refuse, Some(SHA256), &Interrupt::new()).unwrap_err();
    assert_eq!(error.kind(), Kind::Io);
    assert!(error.to_string().contains("replaced"), "{error}");
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
    assert_eq!(fs::read_dir(outer.path().join("moved")).unwrap().count(), 0);
}

#[test]
fn missing_directories_are_destinations_that_do_not_exist() {
    let place = place();
    let error = UnpublishedFile::create(&place.path().join("unmounted")).unwrap_err();
    assert_eq!(error.kind(), Kind::Destination);
    assert!(error.hint().contains("is it mounted?"), "{}", error.hint());
    fs::write(place.path().join("file"), "").unwrap();
    let error = UnpublishedFile::create(&place.path().join("file")).unwrap_err();
    assert_eq!(error.kind(), Kind::Destination);
}

#[test]
fn a_removed_temporary_cannot_be_published() {
    for existing in [Existing::Refuse, Existing::Replace] {
        for methods in METHODS {
            let place = place();
            let unpublished = written(&place);
            fs::remove_file(unpublished.temporary.path()).unwrap();
            let error = publish_by(methods, unpublished, "x.age", existing, SHA256).unwrap_err();
            assert_eq!(error.kind(), Kind::Io);
            assert_eq!(contents(&place), expected(&[]), "{methods:?}");
        }
    }
}

#[test]
fn the_first_failed_write_ends_it() {
    let place = place();
    let mut unpublished = written(&place);
    // A read-only descriptor simulates a disk that is full for a moment.
    let good = unpublished.content.swap(File::open("/dev/null").unwrap());
    let first = unpublished.write(b"lost").unwrap_err();
    unpublished.content.swap(good);
    assert_eq!(unpublished.write(b"after the hole").unwrap_err().raw_os_error(), first.raw_os_error());
    assert!(unpublished.flush().is_err());
    let error = unpublished.publish("x.age", Existing::Refuse, None, &Interrupt::new()).unwrap_err();
    assert_eq!(error.kind(), Kind::Io);
    assert_eq!(contents(&place), expected(&[]));
}

#[test]
fn of_several_that_publish_the_same_name_one_wins() {
    for methods in METHODS {
        let place = place();
        let outcomes: Vec<Result<Published>> = std::thread::scope(|scope| {
            let publish = |number: u8| {
                let mut unpublished = UnpublishedFile::create(place.path()).unwrap();
                unpublished.write_all(&[number]).unwrap();
                publish_by(methods, unpublished, "x.age", Existing::Refuse, [number; 32])
            };
            let threads: Vec<_> = (0..8).map(|number| scope.spawn(move || publish(number))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
        for error in outcomes.into_iter().filter_map(Result::err) {
            assert_eq!(error.kind(), Kind::DestinationExists, "{error}");
        }
        let archive = place.path().join("x.age");
        let winner = fs::read(&archive).unwrap();
        assert_eq!(Sidecar::read_beside(&archive).unwrap().unwrap().sha256, [winner[0]; 32]);
        assert_eq!(contents(&place).len(), 2);
    }
}

#[test]
fn of_several_that_publish_the_same_automatic_name_each_gets_a_number() {
    let name = |number: &str| format!("prod-20261121T053409Z-r7{number}.db.zst.age");
    for methods in METHODS {
        let place = place();
        std::thread::scope(|scope| {
            for number in 0..8_u8 {
                let mut unpublished = UnpublishedFile::create(place.path()).unwrap();
                unpublished.write_all(&[number]).unwrap();
                scope.spawn(move || {
                    let published =
                        publish_by(methods, unpublished, &name(""), Existing::Number, [number; 32]);
                    let Published { path, shortfall } = published.unwrap();
                    assert!(shortfall.is_none(), "{shortfall:?}");
                    assert_eq!(fs::read(path).unwrap(), [number]);
                });
            }
        });
        for number in ["", ".2", ".3", ".4", ".5", ".6", ".7", ".8"] {
            let archive = place.path().join(name(number));
            let sidecar = Sidecar::read_beside(&archive).unwrap().unwrap();
            assert_eq!(sidecar.sha256, [fs::read(&archive).unwrap()[0]; 32], "{methods:?}");
            assert_eq!(sidecar.name, *name(number));
        }
        assert_eq!(contents(&place).len(), 16, "{methods:?}");
    }
}

/// Creates a file that a killed run could have left behind, last written `age` ago.
fn plant_temporary(place: &TempDir, name: &str, age: Duration) -> PathBuf {
    let path = place.path().join(name);
    let file = File::create(&path).unwrap();
    file.set_modified(SystemTime::now() - age).unwrap();
    path
}

const STALE: &str = ".etcd-seal-0123456789abcdef.tmp";
const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn a_stale_temporary_is_removed() {
    let place = place();
    let stale = plant_temporary(&place, STALE, HOUR);
    let _living = written(&place);
    assert!(!stale.exists());
}

#[test]
fn a_locked_temporary_is_never_removed() {
    let place = place();
    let living = written(&place);
    let file = File::options().write(true).open(living.temporary.path()).unwrap();
    file.set_modified(SystemTime::now() - HOUR).unwrap();
    drop(file);
    let other = written(&place);
    assert!(living.temporary.path().exists());
    assert_ne!(living.temporary.path(), other.temporary.path());
    let _ = living.publish("x", Existing::Refuse, None, &Interrupt::new()).unwrap();
    let _ = other.publish("y", Existing::Refuse, None, &Interrupt::new()).unwrap();
    assert_eq!(contents(&place), expected(&[("x", CONTENT), ("y", CONTENT)]));
}

#[test]
fn nothing_else_is_taken_for_stale() {
    let place = place();
    let young = plant_temporary(&place, STALE, Duration::from_secs(30));
    let future = place.path().join(".etcd-seal-0123456789abcde0.tmp");
    File::create(&future).unwrap().set_modified(SystemTime::now() + HOUR).unwrap();
    let others = [
        "x.age",
        ".etcd-seal-0123456789abcdef",
        ".etcd-seal-0123456789abcde.tmp",
        ".etcd-seal-0123456789abcdef0.tmp",
        ".etcd-seal-0123456789abcdeF.tmp",
        ".etcd-seal-0123456789abcdeg.tmp",
        "etcd-seal-0123456789abcdef.tmp",
        ".etcd-seal-0123456789abcdef.tmp.age",
    ]
    .map(|name| plant_temporary(&place, name, HOUR));
    let directory = place.path().join(".etcd-seal-0123456789abcde1.tmp");
    fs::create_dir(&directory).unwrap();
    File::open(&directory).unwrap().set_modified(SystemTime::now() - HOUR).unwrap();

    let elsewhere = tempfile::tempdir().unwrap();
    let target = plant_temporary(&elsewhere, "target", HOUR);
    let link = place.path().join(".etcd-seal-0123456789abcde2.tmp");
    symlink(&target, &link).unwrap();
    let fifo = place.path().join(".etcd-seal-0123456789abcde3.tmp");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    assert!(Command::new("touch").args(["-d", "1 hour ago"]).arg(&fifo).status().unwrap().success());
    // With a reader, an open for writing would succeed at once.
    let _reader = File::options().read(true).write(true).open(&fifo).unwrap();

    let _living = written(&place);
    for path in others.iter().chain([&young, &future, &directory, &target]) {
        assert!(path.exists(), "{} was removed", path.display());
    }
    assert!(link.is_symlink() && fs::symlink_metadata(&fifo).unwrap().file_type().is_fifo());
}

#[test]
fn a_temporary_of_another_user_is_never_removed() {
    if !crate::store::local::may_give_files_away() {
        return;
    }
    let place = place();
    let stale = plant_temporary(&place, STALE, HOUR);
    std::os::unix::fs::chown(&stale, Some(65_534), None).unwrap();
    let _living = written(&place);
    assert!(stale.exists());
}

#[test]
fn where_locks_do_not_work_nothing_is_removed() {
    let place = place();
    let living = written(&place);
    let stale = plant_temporary(&place, STALE, HOUR);
    // This simulates a filesystem that grants every lock.
    rustix::fs::flock(living.temporary.open_file(), FlockOperation::Unlock).unwrap();
    assert!(!living.temporary.locks_work().unwrap());
    stale::remove_beside(&living.temporary);
    assert!(stale.exists());
    rustix::fs::flock(living.temporary.open_file(), FlockOperation::LockExclusive).unwrap();
    assert!(living.temporary.locks_work().unwrap());
    stale::remove_beside(&living.temporary);
    assert!(!stale.exists());
}

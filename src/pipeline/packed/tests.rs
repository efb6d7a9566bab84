use std::io::Write;

use super::*;
use crate::database::snapshot::snapshot_for_tests;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use flate2::{Compression, Crc};

fn snapshot() -> Vec<u8> {
    snapshot_for_tests(5, |at| (at / 3).to_le_bytes()[0])
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn zstd(content: &[u8]) -> Vec<u8> {
    let mut encoder = ::zstd::Encoder::new(Vec::new(), 3).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// How a zip archive is written.
#[derive(Clone, Copy)]
struct Zip {
    method: u16,
    flags: u16,
    /// The sizes are in fields of 64 bits.
    zip64: bool,
    files: u16,
}

/// As Go's `archive/zip` writes it, and so k3s.
const OF_GO: Zip = Zip { method: 8, flags: 8, zip64: false, files: 1 };

impl Zip {
    fn write(self, content: &[u8]) -> Vec<u8> {
        let packed = if self.method == 8 {
            let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(content).unwrap();
            encoder.finish().unwrap()
        } else {
            content.to_vec()
        };
        let mut crc = Crc::new();
        crc.update(content);
        let sums = Sums { crc: crc.sum(), packed: packed.len() as u64, size: content.len() as u64 };
        let (mut archive, mut directory) = (Vec::new(), Vec::new());
        for _ in 0..self.files {
            archive.extend(self.header(
                0x0403_4B50,
                &[],
                if self.flags & 8 == 0 { sums } else { Sums::NONE },
            ));
            archive.extend(&packed);
            if self.flags & 8 != 0 {
                archive.extend(b"PK\x07\x08");
                archive.extend(sums.crc.to_le_bytes());
                archive.extend(self.size(sums.packed));
                archive.extend(self.size(sums.size));
            }
            directory.extend(self.header(0x0201_4B50, &[0; 14], sums));
        }
        if self.zip64 {
            directory.extend(b"PK\x06\x06");
            directory.extend(44_u64.to_le_bytes());
            directory.extend([0; 44]);
            directory.extend(b"PK\x06\x07");
            directory.extend([0; 16]);
        }
        directory.extend(b"PK\x05\x06\0\0\0\0");
        directory.extend([self.files.to_le_bytes(); 2].concat());
        directory.extend([0; 8]);
        directory.extend(b"\x07\0comment");
        [archive, directory].concat()
    }

    fn size(self, size: u64) -> Vec<u8> {
        let small = u32::try_from(size).unwrap().to_le_bytes().to_vec();
        if self.zip64 { size.to_le_bytes().to_vec() } else { small }
    }

    /// A local header, or with `more` one of the directory.
    fn header(self, signature: u32, more: &[u8], sums: Sums) -> Vec<u8> {
        let in_field = self.zip64 && sums != Sums::NONE;
        let mut header = signature.to_le_bytes().to_vec();
        header.extend(if more.is_empty() { &[20, 0][..] } else { &[20, 0, 20, 0] });
        header.extend([self.flags.to_le_bytes(), self.method.to_le_bytes(), [0; 2], [0; 2]].concat());
        header.extend(sums.crc.to_le_bytes());
        let sizes = [sums.packed, sums.size].map(|size| u32::try_from(size).unwrap());
        header.extend(sizes.map(|size| if in_field { u32::MAX } else { size }.to_le_bytes()).concat());
        header.extend([4, 0, if in_field { 20 } else { 0 }, 0]);
        header.extend(more);
        header.extend(b"s.db");
        if in_field {
            header.extend([1, 0, 16, 0]);
            header.extend([sums.size.to_le_bytes(), sums.packed.to_le_bytes()].concat());
        }
        header
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Sums {
    crc: u32,
    packed: u64,
    size: u64,
}

impl Sums {
    const NONE: Self = Self { crc: 0, packed: 0, size: 0 };
}

/// A reader whose reads give one byte.
struct Bytewise<'a>(&'a [u8]);

impl Read for Bytewise<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len().min(1);
        self.0.read(&mut buffer[..length])
    }
}

fn read(reader: impl Read + Send) -> Result<Vec<u8>> {
    let subject = Subject::Stream("x".to_owned());
    let mut content = Vec::new();
    let read = unpacked(reader, &subject)?.reader.read_to_end(&mut content);
    read.map_err(|error| fault(error, |error| unreadable(error, &subject)))?;
    Ok(content)
}

fn all(content: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let halves = content.split_at(content.len() / 2);
    let whole = [&b"\x50\x2A\x4D\x18\x03\0\0\0{ }"[..], &zstd(content)].concat();
    vec![
        ("gzip", gzip(content)),
        ("two members", [gzip(halves.0), gzip(halves.1)].concat()),
        ("zstd", zstd(content)),
        ("two frames", [zstd(halves.0), zstd(halves.1)].concat()),
        ("behind a skippable frame", whole),
        ("zip", OF_GO.write(content)),
        ("zip with its sizes first", Zip { flags: 0, ..OF_GO }.write(content)),
        ("zip without compression", Zip { method: 0, flags: 0, ..OF_GO }.write(content)),
        ("zip64", Zip { zip64: true, ..OF_GO }.write(content)),
        ("zip64 with its sizes first", Zip { zip64: true, flags: 0, ..OF_GO }.write(content)),
    ]
}

#[test]
fn what_is_packed_comes_out_whole() {
    let snapshot = snapshot();
    assert_eq!(read(&snapshot[..]).unwrap(), snapshot);
    assert_eq!(read(Bytewise(&snapshot)).unwrap(), snapshot);
    for (name, packed) in all(&snapshot) {
        assert_eq!(read(&packed[..]).unwrap(), snapshot, "{name}");
        assert_eq!(read(Bytewise(&packed)).unwrap(), snapshot, "{name}");
    }
}

#[test]
fn a_cut_and_a_byte_too_many_are_noticed() {
    let snapshot = snapshot();
    for (name, packed) in all(&snapshot) {
        let between = ["two members", "two frames"].contains(&name);
        for length in ENOUGH..packed.len() {
            match read(&packed[..length]) {
                Err(error) => assert_eq!(error.kind(), Kind::SnapshotLength, "{name}, {length}: {error}"),
                // The first of two is whole by itself; the length of the snapshot tells.
                Ok(content) => assert!(between && content.len() == snapshot.len() / 2, "{name}, {length}"),
            }
        }
        for surplus in [&b"\0"[..], b"garbage that follows the end"] {
            let error = read(&[&packed[..], surplus].concat()[..]).unwrap_err();
            assert!([Kind::NotASnapshot, Kind::SnapshotLength].contains(&error.kind()), "{name}: {error}");
        }
    }
}

#[test]
fn a_flipped_bit_never_changes_what_comes_out() {
    let snapshot = snapshot();
    for (name, packed) in all(&snapshot) {
        let mut refused = 0;
        for at in 0..packed.len() {
            let mut bad = packed.clone();
            bad[at] ^= 4;
            match read(&bad[..]) {
                Err(_) => refused += 1,
                // A time or a name in a header, or the magic number, without which it is a plain file.
                Ok(content) => assert!(content == snapshot || content == bad, "{name}, byte {at}"),
            }
        }
        assert!(refused > packed.len() / 2, "{name}: {refused} of {}", packed.len());
    }
}

#[test]
fn what_is_no_single_snapshot_is_named_and_leads_on() {
    let mut tar = vec![b'x'; 600];
    tar[257..262].copy_from_slice(b"ustar");
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
    zlib.write_all(&snapshot()).unwrap();
    let header = OF_GO.write(&snapshot())[..34].to_vec();
    let in_directory = [&header[..30], b"dir/"].concat();
    let cases = [
        (b"age-encryption.org/v1\n-> X25519".to_vec(), "an age file", "etcd-seal verify"),
        (tar.clone(), "a tar archive", "tar -xf"),
        (gzip(&tar), "a gzip file, and in it is a tar archive", "tar -xf"),
        (gzip(&gzip(&snapshot())), "a gzip file, and in it is a gzip file", "gzip -d"),
        (zlib.finish().unwrap(), "a zlib stream", "zlib-flate"),
        (b"\xFD7zXZ\0\0\x04".to_vec(), "an xz file", "xz -d"),
        (Zip { files: 2, ..OF_GO }.write(&snapshot()), "more than one file", "unzip"),
        (Zip { files: 0, ..OF_GO }.write(b""), "nothing is in it", "another copy"),
        (Zip { flags: 9, ..OF_GO }.write(&snapshot()), "encrypted", "7z x"),
        (Zip { method: 12, ..OF_GO }.write(&snapshot()), "the method 12", "unzip"),
        (Zip { method: 0, ..OF_GO }.write(&snapshot()), "how long", "unzip"),
        (in_directory, "more than one file", "unzip"),
    ];
    for (bytes, what, way_out) in cases {
        let error = read(&bytes[..]).unwrap_err();
        assert_eq!(error.kind(), Kind::NotASnapshot, "{what}");
        let told = format!("{error} {}", error.hint());
        assert!(told.contains(what) && told.contains(way_out), "{told}");
    }
}

#[test]
fn no_more_comes_out_than_a_snapshot_could_need() {
    let bomb = zstd(&vec![0; 200 << 20]);
    let error = read(&bomb[..]).unwrap_err();
    assert_eq!(error.kind(), Kind::NotASnapshot);
    assert!(error.to_string().contains("1024 times"), "{error}");
}

#[test]
fn a_window_beyond_the_bound_is_refused_with_the_command_that_takes_it() {
    let mut encoder = ::zstd::Encoder::new(Vec::new(), 3).unwrap();
    encoder.window_log(27).unwrap();
    encoder.long_distance_matching(true).unwrap();
    encoder.write_all(&snapshot()).unwrap();
    let error = read(&encoder.finish().unwrap()[..]).unwrap_err();
    assert!(error.hint().contains("--long=31"), "{error} {}", error.hint());
}

#[test]
fn a_disk_that_fails_is_no_fault_of_the_snapshot() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::from_raw_os_error(5))
        }
    }
    for (name, packed) in all(&snapshot()) {
        let error = read(packed[..packed.len() / 2].chain(Failing)).unwrap_err();
        assert_eq!(error.kind(), Kind::Io, "{name}: {error}");
    }
}

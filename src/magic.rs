//! Recognises files by their first bytes, to tell what a file is that was taken for an archive or a snapshot.

use std::fmt;

use crate::keys::{AGE_BEGIN, ARMOR_BEGIN};

/// A kind of file that operators have in their hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileType {
    /// A bbolt database: a snapshot, or the `db` file of a member.
    Snapshot,
    /// An age file, ASCII-armoured or not.
    Age,
    /// gzip (RFC 1952).
    Gzip,
    /// A zip archive (APPNOTE.TXT), as k3s and RKE2 write it.
    Zip,
    /// zstd (RFC 8878).
    Zstd,
    /// xz.
    Xz,
    /// bzip2.
    Bzip2,
    /// LZ4.
    Lz4,
    /// 7-Zip.
    SevenZip,
    /// zlib (RFC 1950), as etcd-backup-restore writes it.
    Zlib,
    /// tar, POSIX or GNU.
    Tar,
    /// A file of etcd's write-ahead log.
    WriteAheadLog,
    /// A raft snapshot, `member/snap/….snap`.
    RaftSnapshot,
    /// A private key: an age identity or an ssh key.
    Identity,
    /// HTML or XML, as the error page of a web server or an object store.
    Markup,
}

/// The types that a number at the beginning tells, by offset and number.
const MAGICS: &[(FileType, usize, &[u8])] = &[
    (FileType::Age, 0, AGE_BEGIN.as_bytes()),
    (FileType::Age, 0, ARMOR_BEGIN.as_bytes()),
    (FileType::Gzip, 0, b"\x1F\x8B"),
    (FileType::Zip, 0, b"PK\x03\x04"),
    // A zip archive without a file in it.
    (FileType::Zip, 0, b"PK\x05\x06"),
    (FileType::Zstd, 0, &0xFD2F_B528_u32.to_le_bytes()),
    (FileType::Xz, 0, b"\xFD7zXZ\0"),
    (FileType::Bzip2, 0, b"BZh"),
    (FileType::Lz4, 0, &0x184D_2204_u32.to_le_bytes()),
    (FileType::SevenZip, 0, b"7z\xBC\xAF\x27\x1C"),
    // Of bbolt's meta pages, behind the header of the page. It comes after those at the very beginning: zstd leaves it where it
    // is in a snapshot that it has packed.
    (FileType::Snapshot, 16, &0xED0C_DAED_u32.to_le_bytes()),
    (FileType::Tar, 257, b"ustar"),
];

/// Bytes that tell every type but tar.
pub(crate) const ENOUGH: usize = 20;

impl FileType {
    /// The type of a file that begins with `begin`; a few hundred bytes tell all of them.
    #[must_use]
    pub(crate) fn of(begin: &[u8]) -> Option<Self> {
        let magic =
            MAGICS.iter().find(|(_, at, magic)| begin.get(*at..).is_some_and(|at| at.starts_with(magic)));
        match magic {
            Some((file_type, _, _)) => Some(*file_type),
            None if is_skippable_frame(begin) => Some(Self::Zstd),
            None if is_zlib(begin) => Some(Self::Zlib),
            None if is_write_ahead_log(begin) => Some(Self::WriteAheadLog),
            None if is_raft_snapshot(begin) => Some(Self::RaftSnapshot),
            None if is_identity(begin) => Some(Self::Identity),
            None if is_markup(begin) => Some(Self::Markup),
            None => None,
        }
    }

    /// What to do with it where an archive was expected.
    #[must_use]
    pub(crate) fn instead_of_archive(self) -> String {
        match self {
            Self::Snapshot => {
                "seal it with etcd-seal save `from` FILE, or restore from it with `from_snapshot` FILE"
                    .to_owned()
            }
            Self::Gzip | Self::Zip | Self::Zstd => {
                "if it holds a snapshot, seal it with etcd-seal save `from` FILE, or \
                 restore from it with `from_snapshot` FILE: both unpack it"
                    .to_owned()
            }
            Self::Identity => "pass it with `identity` FILE, and name the archive that it opens".to_owned(),
            _ => self.way_out(
                "name the archive that comes out; a snapshot is sealed with etcd-seal save `from` FILE",
            ),
        }
    }

    /// What to do with it where a snapshot was expected.
    #[must_use]
    pub(crate) fn instead_of_snapshot(self) -> String {
        match self {
            Self::Age => "an archive is verified with etcd-seal verify `identity` KEY FILE, and restored with etcd-seal \
                          restore `identity` KEY FILE"
                .to_owned(),
            Self::Identity => "a key opens archives, and no snapshot needs one: name the snapshot".to_owned(),
            _ => self.way_out("name the snapshot that comes out"),
        }
    }

    fn way_out(self, then: &str) -> String {
        let unpack = match self {
            Self::Gzip => "gzip -d",
            Self::Zip => "unzip",
            Self::Zstd => "zstd -d",
            Self::Xz => "xz -d",
            Self::Bzip2 => "bzip2 -d",
            Self::Lz4 => "lz4 -d",
            Self::SevenZip => "7z x",
            Self::Zlib => "zlib-flate -uncompress, of the package qpdf",
            Self::Tar => "tar -xf",
            Self::WriteAheadLog | Self::RaftSnapshot => {
                return "it belongs to a data directory of etcd: stop the etcd that runs on that, then seal the whole of it with \
                        etcd-seal save `from_data_dir` DIR, or restore from it with etcd-seal restore `from_data_dir` DIR"
                    .to_owned();
            }
            Self::Markup => {
                return "a server answered so in place of the file: read it, and fetch the file again"
                    .to_owned();
            }
            Self::Snapshot | Self::Age | Self::Identity => return then.to_owned(),
        };
        format!("unpack it with {unpack}, and {then}")
    }
}

impl fmt::Display for FileType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Snapshot => "a plain, unencrypted etcd snapshot",
            Self::Age => "an age file, as every archive is",
            Self::Gzip => "a gzip file",
            Self::Zip => "a zip archive",
            Self::Zstd => "a zstd file",
            Self::Xz => "an xz file",
            Self::Bzip2 => "a bzip2 file",
            Self::Lz4 => "an LZ4 file",
            Self::SevenZip => "a 7-Zip archive",
            Self::Zlib => "a zlib stream",
            Self::Tar => "a tar archive",
            Self::WriteAheadLog => "a file of etcd's write-ahead log",
            Self::RaftSnapshot => "a raft snapshot of etcd, which holds no keys",
            Self::Identity => "a private key",
            Self::Markup => "HTML or XML",
        })
    }
}

/// RFC 8878, 3.1.2: zstd files of some tools begin with such a frame, and so does the zstd stream in an archive.
fn is_skippable_frame(begin: &[u8]) -> bool {
    let magic = begin.first_chunk().map(|magic| u32::from_le_bytes(*magic));
    magic.is_some_and(|magic| (0x184D_2A50..=0x184D_2A5F).contains(&magic))
}

/// RFC 1950, 2.2: deflate with a window of 32 KiB, a check of the header, no dictionary.
fn is_zlib(begin: &[u8]) -> bool {
    matches!(begin, [0x78, flags, ..] if (0x7800 + u16::from(*flags)).is_multiple_of(31) && flags & 0x20 == 0)
}

/// `wal/encoder.go` in etcd: each file begins with a record of the type `CRC`. Before a record stands its length, whose top
/// byte says how far it is padded to a multiple of eight.
fn is_write_ahead_log(begin: &[u8]) -> bool {
    let Some((length, record)) = begin.split_first_chunk() else { return false };
    let marked = u64::from_le_bytes(*length);
    let (length, padding) = (marked & !(0xFF << 56), marked >> 56);
    let padded = match padding {
        0 => length == 8,
        marked => length + (marked & 7) == 8 && marked & !7 == 0x80,
    };
    padded && (4..=8).contains(&length) && record.starts_with(b"\x08\x04\x10")
}

/// `snappb.Snapshot` in etcd: a checksum, then a `raftpb.Snapshot` that begins with its data, the JSON of the v2 tree.
fn is_raft_snapshot(begin: &[u8]) -> bool {
    let after_number =
        |bytes: &'_ [u8]| bytes.iter().take(10).position(|byte| byte & 0x80 == 0).map(|last| last + 1);
    let mut rest = begin;
    for tag in [0x08, 0x12, 0x0A] {
        let Some(number) = rest.strip_prefix(&[tag]) else { return false };
        let Some(length) = after_number(number) else { return false };
        rest = &number[length..];
    }
    rest.starts_with(b"{\"Root\"")
}

/// A file as age-keygen or ssh-keygen writes it; age's has comments before the key.
fn is_identity(begin: &[u8]) -> bool {
    let mut lines = begin.split(|byte| *byte == b'\n').filter(|line| !line.starts_with(b"#"));
    let first = lines.find(|line| !line.trim_ascii().is_empty()).unwrap_or_default();
    let is_pem = first.starts_with(b"-----BEGIN ") && first.trim_ascii_end().ends_with(b"PRIVATE KEY-----");
    first.starts_with(b"AGE-SECRET-KEY-") || first.starts_with(b"AGE-PLUGIN-") || is_pem
}

fn is_markup(begin: &[u8]) -> bool {
    let text = begin.trim_ascii_start().to_ascii_lowercase();
    ["<!doctype html", "<html", "<?xml", "<error"].iter().any(|tag| text.starts_with(tag.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_recognised_and_leads_on() {
        let tar = [&[b'x'; 257][..], b"ustar\x0000"].concat();
        let database = [&[0; 16][..], b"\xED\xDA\x0C\xED"].concat();
        let raft_snapshot = b"\x08\x96\xE3\xC2\x94\x0B\x12\x99\x02\x0A\xF0\x01{\"Root\":{}";
        let cases: &[(&[u8], FileType, &str)] = &[
            (&database, FileType::Snapshot, "a plain"),
            (b"age-encryption.org/v1\n", FileType::Age, "etcd-seal restore"),
            (b"-----BEGIN AGE ENCRYPTED FILE-----\n", FileType::Age, "etcd-seal verify"),
            (b"\x1F\x8B\x08\0", FileType::Gzip, "gzip -d"),
            (b"PK\x03\x04\x14", FileType::Zip, "unzip"),
            (b"PK\x05\x06\0", FileType::Zip, "unzip"),
            (b"\x28\xB5\x2F\xFD\x24", FileType::Zstd, "zstd -d"),
            (
                b"\x28\xB5\x2F\xFD\x60\x20\x0C\x95\x33\0\x44\x50\0\x04\0\0\xED\xDA\x0C\xED",
                FileType::Zstd,
                "zstd -d",
            ),
            (b"\x50\x2A\x4D\x18\x04", FileType::Zstd, "zstd -d"),
            (b"\xFD7zXZ\0\0", FileType::Xz, "xz -d"),
            (b"BZh9", FileType::Bzip2, "bzip2 -d"),
            (b"\x04\x22\x4D\x18", FileType::Lz4, "lz4 -d"),
            (b"7z\xBC\xAF\x27\x1C\0", FileType::SevenZip, "7z x"),
            (b"\x78\x9C\xED", FileType::Zlib, "zlib-flate"),
            (&tar, FileType::Tar, "tar -xf"),
            (b"\x04\0\0\0\0\0\0\x84\x08\x04\x10\0\0\0\0\0", FileType::WriteAheadLog, "save `from_data_dir`"),
            (
                b"\x08\0\0\0\0\0\0\0\x08\x04\x10\x96\xE3\xC2\x94\x0B",
                FileType::WriteAheadLog,
                "save `from_data_dir`",
            ),
            (raft_snapshot, FileType::RaftSnapshot, "save `from_data_dir`"),
            (
                b"# created: x\n# public key: age1x\nAGE-SECRET-KEY-1X\n",
                FileType::Identity,
                "`identity` FILE",
            ),
            (b"-----BEGIN OPENSSH PRIVATE KEY-----\n", FileType::Identity, "`identity` FILE"),
            (b"\n<!DOCTYPE HTML><html>", FileType::Markup, "fetch the file again"),
            (b"<?xml version=\"1.0\"?>\n<Error>", FileType::Markup, "a server answered"),
        ];
        for (begin, expected, way_out) in cases {
            assert_eq!(FileType::of(begin), Some(*expected), "{begin:02x?}");
            let told =
                format!("{expected} {} {}", expected.instead_of_archive(), expected.instead_of_snapshot());
            assert!(told.contains(way_out), "{told}");
        }
    }

    #[test]
    fn other_files_and_beginnings_that_are_too_short_are_not() {
        let others: [&[u8]; 8] = [
            b"",
            b"P",
            b"x",
            b"apiVersion: v1\nkind: Secret",
            b"xyz",
            b"x\x9D",
            &[0; 300],
            b"\x08\x04\x10\0",
        ];
        for other in others {
            assert_eq!(FileType::of(other), None, "{other:02x?}");
        }
    }
}

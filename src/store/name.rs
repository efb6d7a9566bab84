//! The automatic name of an archive.

use std::ffi::{OsStr, OsString};
use std::fmt;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

use crate::error::Result;

/// The suffix of the name of every archive.
pub(super) const ARCHIVE_SUFFIX: &[u8] = b".age";

/// The suffix of every automatic name: a database, compressed by zstd, encrypted by age.
const SUFFIX: &str = ".db.zst.age";

/// The cluster part of a name when nothing is known about the cluster.
const UNNAMED: &str = "snapshot";

/// Bytes of the cluster part at most; the whole name then fits every filesystem, and a sidecar's too.
const CLUSTER_LIMIT: usize = 64;

/// The highest number in a name. That many archives of one cluster, second and revision are no accident.
const NUMBER_MAX: u64 = 10_000;

/// `<cluster>-<YYYYMMDDTHHMMSSZ>-r<revision>.db.zst.age`, or with a number where that name is taken:
/// `<cluster>-<YYYYMMDDTHHMMSSZ>-r<revision>.2.db.zst.age`.
///
/// [`ArchiveName::parse`] reads back unchanged what [`ArchiveName::new`] makes of a time in the years 0 to 9999.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveName {
    /// Cluster part, already sanitised.
    pub cluster: String,
    /// UTC, whole seconds.
    pub time: Timestamp,
    /// 0 means unknown.
    pub revision: u64,
    /// `None` for the first archive with this name; the others are numbered from 2.
    pub number: Option<u64>,
}

impl ArchiveName {
    /// Sanitises `cluster`: bytes outside `[A-Za-z0-9._]` and a leading dot become `_`, the first 64 are kept, and an empty
    /// one becomes `snapshot`. Cuts `time` to whole seconds.
    #[must_use]
    pub fn new(cluster: &str, time: Timestamp, revision: u64) -> Self {
        Self { cluster: sanitise(cluster), time: whole_seconds(time), revision, number: None }
    }

    /// Parses a file name from the right, as `^(.+)-(\d{8}T\d{6}Z)-r(\d+)(\.\d+)?\.db\.zst\.age$` does.
    ///
    /// It takes the cluster part as it stands, with hyphens, because an operator may have renamed the file. It also returns
    /// `None` where the digits are no time, revision or number are beyond 64 bits, or the cluster part cannot be in a file
    /// name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let stem = name.strip_suffix(SUFFIX)?;
        let (rest, revision) = stem.rsplit_once("-r")?;
        let (cluster, time) = rest.rsplit_once('-')?;
        if cluster.is_empty() || cluster.contains(['/', '\n', '\0']) {
            return None;
        }
        let (revision, number) = match revision.split_once('.') {
            Some((revision, number)) => (revision, Some(digits(number)?)),
            None => (revision, None),
        };
        let (cluster, time, revision) = (cluster.to_owned(), parse_time(time)?, digits(revision)?);
        Some(Self { cluster, time, revision, number })
    }

    /// The name of the next archive that would have this name without a number.
    fn with_next_number(&self) -> Self {
        let number = self.number.unwrap_or(1).saturating_add(1);
        Self { number: Some(number), ..self.clone() }
    }
}

/// The first name that is not taken: `name` or, if that is an automatic one, the same with a higher number. `None` where a
/// name that is not automatic is taken, or the numbers are used up.
///
/// # Errors
/// The errors of `is_taken`.
pub(super) fn first_free(
    name: &OsStr,
    mut is_taken: impl FnMut(&OsStr) -> Result<bool>,
) -> Result<Option<OsString>> {
    let mut next = name.to_str().and_then(ArchiveName::parse);
    let mut name = name.to_owned();
    while is_taken(&name)? {
        next = next.map(|name| name.with_next_number()).filter(|name| name.number <= Some(NUMBER_MAX));
        let Some(next) = &next else { return Ok(None) };
        name = next.to_string().into();
    }
    Ok(Some(name))
}

impl fmt::Display for ArchiveName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = Offset::UTC.to_datetime(self.time);
        write!(f, "{}-{:04}{:02}{:02}", self.cluster, time.year(), time.month(), time.day())?;
        write!(f, "T{:02}{:02}{:02}Z", time.hour(), time.minute(), time.second())?;
        write!(f, "-r{}", self.revision)?;
        self.number.map_or(Ok(()), |number| write!(f, ".{number}"))?;
        f.write_str(SUFFIX)
    }
}

fn sanitise(cluster: &str) -> String {
    if cluster.is_empty() {
        return UNNAMED.to_owned();
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'_';
    cluster
        .bytes()
        .take(CLUSTER_LIMIT)
        .enumerate()
        .map(|(index, byte)| if allowed(byte) && (index, byte) != (0, b'.') { char::from(byte) } else { '_' })
        .collect()
}

/// Rounds towards the past, also before 1970.
#[must_use]
pub fn whole_seconds(time: Timestamp) -> Timestamp {
    let second = time.as_nanosecond().div_euclid(1_000_000_000);
    i64::try_from(second)
        .ok()
        .and_then(|second| Timestamp::from_second(second).ok())
        .unwrap_or(Timestamp::MIN)
}

/// Parses `YYYYMMDDTHHMMSSZ`. A leap second is refused: this program never writes one.
fn parse_time(text: &str) -> Option<Timestamp> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    if date.len() != 8 || time.len() != 6 {
        return None;
    }
    let (date, time) = (digits(date)?, digits(time)?);
    let field = |value: u64| i8::try_from(value % 100).ok();
    let time = DateTime::new(
        i16::try_from(date / 10_000).ok()?,
        field(date / 100)?,
        field(date)?,
        field(time / 10_000)?,
        field(time / 100)?,
        field(time)?,
        0,
    );
    Offset::UTC.to_timestamp(time.ok()?).ok()
}

/// Accepts ASCII digits only: `u64::from_str` would accept a sign as well.
fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_name_reads_as_documented() {
        let name = ArchiveName::new("prod", time("2026-11-21T05:34:09.987Z"), 1_234_567);
        assert_eq!(name.to_string(), "prod-20261121T053409Z-r1234567.db.zst.age");
        let (second, third) = (name.with_next_number(), name.with_next_number().with_next_number());
        assert_eq!(second.to_string(), "prod-20261121T053409Z-r1234567.2.db.zst.age");
        assert_eq!(third.to_string(), "prod-20261121T053409Z-r1234567.3.db.zst.age");
    }

    #[test]
    fn a_taken_name_gets_the_next_free_number_if_it_is_automatic() {
        let name = |number: &str| format!("prod-20261121T053409Z-r7{number}.db.zst.age");
        let free = |wanted: &str, taken: &[&str]| {
            let taken: Vec<OsString> = taken.iter().map(OsString::from).collect();
            first_free(OsStr::new(wanted), |name| Ok(taken.iter().any(|taken| taken == name))).unwrap()
        };
        assert_eq!(free(&name(""), &[]), Some(name("").into()));
        assert_eq!(free(&name(""), &[&name("")]), Some(name(".2").into()));
        assert_eq!(free(&name(""), &[&name(""), &name(".2"), &name(".4")]), Some(name(".3").into()));
        assert_eq!(free(&name(".9"), &[&name(".9")]), Some(name(".10").into()));
        assert_eq!(free("x.age", &[]), Some("x.age".into()));
        assert_eq!(free("x.age", &["x.age"]), None);
        let mut tried = 0;
        let none = first_free(OsStr::new(&name("")), |_| {
            tried += 1;
            Ok(true)
        });
        assert_eq!((none.unwrap(), tried), (None, NUMBER_MAX));
    }

    #[test]
    fn clusters_are_sanitised_by_the_byte() {
        let cluster = |text: &str| ArchiveName::new(text, Timestamp::UNIX_EPOCH, 0).cluster;
        assert_eq!(cluster("prod-eu/1 a"), "prod_eu_1_a");
        assert_eq!(cluster(".hidden.v2"), "_hidden.v2");
        assert_eq!(cluster("..").as_str(), "_.");
        assert_eq!(cluster("é\n\0"), "____");
        assert_eq!(cluster(""), "snapshot");
        assert_eq!(cluster(&"x".repeat(65)), "x".repeat(64));
        assert_eq!(cluster(&"é".repeat(40)), "_".repeat(64));
    }

    #[test]
    fn parsing_begins_at_the_right() {
        let name = ArchiveName::parse("a-20200101T000000Z-r1-b-20261121T053409Z-r0.db.zst.age").unwrap();
        assert_eq!(name.cluster, "a-20200101T000000Z-r1-b");
        assert_eq!(name.time, time("2026-11-21T05:34:09Z"));
        assert_eq!(name.revision, 0);
        assert_eq!(name.number, None);
        assert_eq!(ArchiveName::parse("-r-20261121T053409Z-r7.db.zst.age").unwrap().cluster, "-r");
        let numbered = ArchiveName::parse("p.2-20261121T053409Z-r7.12.db.zst.age").unwrap();
        assert_eq!((numbered.cluster.as_str(), numbered.revision, numbered.number), ("p.2", 7, Some(12)));
    }

    #[test]
    fn names_of_others_are_not_parsed() {
        let others = [
            "",
            ".db.zst.age",
            "prod.db.zst.age",
            "-20261121T053409Z-r1.db.zst.age",
            "prod-20261121T053409Z-r.db.zst.age",
            "prod-20261121T053409Z-r+1.db.zst.age",
            "prod-20261121T053409Z-r-1.db.zst.age",
            "prod-20261121T053409Z-r1.db.zst.age.sha256",
            "prod-20261121T053409Z-r1.db.zst.AGE",
            "prod-20261121T053409-r1.db.zst.age",
            "prod-2021121T053409Z-r1.db.zst.age",
            "prod-020261121T053409Z-r1.db.zst.age",
            "prod-20261121T53409Z-r1.db.zst.age",
            "prod-20261121T0053409Z-r1.db.zst.age",
            "prod-+0261121T053409Z-r1.db.zst.age",
            "prod-20261321T053409Z-r1.db.zst.age",
            "prod-20260230T053409Z-r1.db.zst.age",
            "prod-20261121T240000Z-r1.db.zst.age",
            "prod-20261121T235960Z-r1.db.zst.age",
            "prod-20261121T053409Z-r18446744073709551616.db.zst.age",
            "prod-20261121T053409Z-r1.18446744073709551616.db.zst.age",
            "prod-20261121T053409Z-r1..db.zst.age",
            "prod-20261121T053409Z-r.2.db.zst.age",
            "prod-20261121T053409Z-r1.2.3.db.zst.age",
            "prod-20261121T053409Z-r1.+2.db.zst.age",
            "prod-20261121T053409Z.2-r1.db.zst.age",
            "prod-20261121T053409Z-r1١.db.zst.age",
            "../prod-20261121T053409Z-r1.db.zst.age",
            "pr\nod-20261121T053409Z-r1.db.zst.age",
            "prod-20261121T053409Z-r1.db.zst.age\n",
        ];
        for name in others {
            assert_eq!(ArchiveName::parse(name), None, "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_formatted_parses_to_the_same(
            cluster in any::<String>(),
            second in -62_167_219_200_i64..=253_402_207_200,
            nanosecond in 0..1_000_000_000_i32,
            revision: u64,
            number: u64,
        ) {
            let name = ArchiveName::new(&cluster, Timestamp::new(second, 0).unwrap(), revision);
            let numbered = ArchiveName { number: Some(number), ..name.clone() };
            prop_assert!(numbered.to_string().len() <= 255 - ".sha256".len());
            prop_assert_eq!(ArchiveName::parse(&numbered.to_string()), Some(numbered));
            let text = name.to_string();
            prop_assert_eq!(ArchiveName::parse(&text), Some(name.clone()));
            prop_assert!(text.len() <= 255 - ".sha256".len());
            prop_assert!(!text.starts_with('.'));
            prop_assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)));
            let later = Timestamp::new(second, nanosecond).unwrap();
            prop_assert_eq!(ArchiveName::new(&cluster, later, revision), name);
        }

        #[test]
        fn what_is_parsed_formats_to_the_same_but_for_leading_zeros(
            cluster in "[^/\n\0]{1,20}",
            date in "(19|20)[0-9]{2}(0[1-9]|1[0-2])(0[1-9]|1[0-9]|2[0-8])",
            clock in "([01][0-9]|2[0-3])[0-5][0-9][0-5][0-9]",
            zeros in "0{0,3}",
            revision: u64,
            number: Option<u64>,
        ) {
            let start = format!("{cluster}-{date}T{clock}Z-r");
            let after = |zeros: &str| number.map(|number| format!(".{zeros}{number}")).unwrap_or_default();
            let parsed = ArchiveName::parse(&format!("{start}{zeros}{revision}{}{SUFFIX}", after(&zeros)));
            let expected = format!("{start}{revision}{}{SUFFIX}", after(""));
            prop_assert_eq!(parsed.map(|name| name.to_string()), Some(expected));
        }

        #[test]
        fn nothing_makes_parsing_panic(name in "\\PC*(-[0-9TZ]{0,16})?(-r[0-9]{0,22})?(\\.[0-9]{0,22})?(\\.db\\.zst\\.age)?") {
            let _ = ArchiveName::parse(&name);
        }
    }
}

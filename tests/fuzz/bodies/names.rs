//! Names of archives and lines of sidecars, which are found in directories that others may write to.

use etcd_seal::low_level::store::name::ArchiveName;
use etcd_seal::low_level::store::sidecar::Sidecar;
use jiff::Timestamp;

/// Parses, and makes names of whatever it is.
pub fn run(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if let Some(name) = ArchiveName::parse(&text) {
        let again = ArchiveName::parse(&name.to_string());
        assert_eq!(again.as_ref(), Some(&name), "{text:?} is not what it is written as");
    }
    let (number, rest) = input.split_first_chunk().unwrap_or((&[0; 8], input));
    let number = u64::from_le_bytes(*number);
    let seconds = i64::try_from(number % 253_402_207_200).unwrap_or(0);
    let time = Timestamp::from_second(seconds).expect("before the year 10000");
    let name = ArchiveName::new(&String::from_utf8_lossy(rest), time, number);
    assert_eq!(ArchiveName::parse(&name.to_string()), Some(name));

    if let Some(sidecar) = Sidecar::parse(input) {
        assert_eq!(Sidecar::parse(&sidecar.to_line()), Some(sidecar));
    }
}

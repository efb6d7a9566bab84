//! Addresses of object stores and of other hosts, which operators name where only a file of this host will do: the way from or
//! to there is a pipe.

use std::ffi::OsStr;

use super::name::ARCHIVE_SUFFIX;
use super::shell::{left_by_the_shell, shell_word};
use crate::error::{Error, Kind};

/// What an operator names by an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// An archive to write.
    NewArchive,
    /// A snapshot to write.
    NewSnapshot,
    /// An archive to read.
    Archive,
    /// A snapshot to read.
    Snapshot,
    /// The directory of a member, or of a cluster's members.
    DataDirectory,
}

impl Purpose {
    /// The end of a sentence that says what will do.
    fn what_will_do(self) -> &'static str {
        match self {
            Self::NewArchive => "a destination is a directory or file of this host, or -",
            Self::NewSnapshot => "a snapshot is written to a file of this host, or -",
            Self::Archive => "an archive to read is a file of this host, or -",
            Self::Snapshot => "a snapshot to read is a file of this host, or -",
            Self::DataDirectory => "the data of a member go to a directory of this host",
        }
    }

    fn kind(self) -> Kind {
        match self {
            Self::NewArchive | Self::NewSnapshot | Self::DataDirectory => Kind::Destination,
            Self::Archive | Self::Snapshot => Kind::NotFound,
        }
    }

    /// A name in a command for a file that the operator has not named.
    fn example(self) -> &'static str {
        match self {
            Self::NewArchive | Self::Archive => "NAME.age",
            Self::NewSnapshot | Self::Snapshot | Self::DataDirectory => "snapshot.db",
        }
    }

    /// `path` if it names a file, otherwise an example in it. Every archive has the suffix.
    fn file(self, path: &str) -> String {
        let is_file = match self {
            Self::NewArchive | Self::Archive => path.as_bytes().ends_with(ARCHIVE_SUFFIX),
            _ => path.contains('/') && !path.ends_with('/'),
        };
        if is_file { path.to_owned() } else { format!("{}/{}", path.trim_end_matches('/'), self.example()) }
    }

    /// The hint with the `client` of that place.
    fn way(self, client: &Client) -> String {
        let Client { read, write, .. } = client;
        match self {
            Self::NewArchive => format!(
                "set -o pipefail; etcd-seal save - … | {write}; where that fails, remove what it left there; or save into \
                 a directory, and copy the archive with its .sha256 file"
            ),
            Self::NewSnapshot => format!(
                "set -o pipefail; etcd-seal restore … -o - | {write}; where that fails, remove what it left there; a snapshot \
                 is not encrypted"
            ),
            Self::Archive => format!(
                "set -o pipefail; {read} | etcd-seal … -, with - in place of the archive; or copy it here, with its .sha256 file"
            ),
            Self::Snapshot => format!("set -o pipefail; {read} | etcd-seal … -, with - in place of the file"),
            Self::DataDirectory => match &client.host {
                Some((host, path)) => {
                    let host = shell_word(host);
                    format!(
                        "restore there, where etcd-seal and the identity have to be: ssh {host} etcd-seal restore - … \
                         `data_dir` {} < ARCHIVE",
                        shell_word(path)
                    )
                }
                None => "name one on a local disk, where etcd is to find it".to_owned(),
            },
        }
    }
}

/// The commands that read and write an address.
struct Client {
    /// What the address is.
    what: &'static str,
    /// Writes its content to standard output.
    read: String,
    /// Takes its content from standard input.
    write: String,
    /// The host and the path there; `None` for an object store.
    host: Option<(String, String)>,
}

/// The error for `text` where it is an address of an object store or of another host, or what a shell was to replace; `None`
/// for any other text.
#[must_use]
pub fn elsewhere(text: &OsStr, purpose: Purpose) -> Option<Error> {
    if let Some(hint) = left_by_the_shell(text) {
        let message = format!("there is no {}", text.to_string_lossy());
        return Some(Error::new(purpose.kind(), message).with_hint(hint));
    }
    let text = text.to_str()?;
    if purpose == Purpose::Archive && text.contains('*') {
        let hint = "a shell leaves a pattern as it is where no file matches: name the directory; is its filesystem mounted?";
        return Some(Error::new(purpose.kind(), format!("there is no archive {text}")).with_hint(hint));
    }
    let (what, way) = match text.split_once("://") {
        Some(("file", path)) => ("an address", format!("name the path alone: {}", shell_word(path))),
        Some((scheme, rest)) if is_scheme(scheme) => {
            let client = of_scheme(&scheme.to_ascii_lowercase(), text, rest, purpose)?;
            (client.what, purpose.way(&client))
        }
        _ => {
            let client = of_host(text, purpose)?;
            (client.what, purpose.way(&client))
        }
    };
    let message = format!("{text} is {what}, and {}", purpose.what_will_do());
    Some(Error::new(purpose.kind(), message).with_hint(way))
}

/// Whether it is the beginning of an address, as RFC 3986 (section 3.1) has it.
fn is_scheme(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    text.starts_with(|first: char| first.is_ascii_alphabetic()) && text.bytes().all(allowed)
}

/// The client for `text`, an address of `scheme`.
fn of_scheme(scheme: &str, text: &str, rest: &str, purpose: Purpose) -> Option<Client> {
    let file = purpose.file(rest);
    let store = |read: String, write: String| {
        Some(Client { what: "an address of an object store", read, write, host: None })
    };
    match scheme {
        "s3" => {
            let address = shell_word(format!("s3://{file}"));
            store(format!("aws s3 cp {address} -"), format!("aws s3 cp - {address}"))
        }
        "gs" => {
            let address = shell_word(format!("gs://{file}"));
            store(format!("gcloud storage cat {address}"), format!("gcloud storage cp - {address}"))
        }
        "az" | "azure" => {
            let address = shell_word(format!("https://ACCOUNT.blob.core.windows.net/{file}"));
            store(
                format!("azcopy copy {address} --from-to=BlobPipe"),
                format!("azcopy copy {address} --from-to=PipeBlob"),
            )
        }
        "ssh" | "sftp" | "scp" => {
            let (host, path) = rest.split_once('/')?;
            Some(over_ssh("an address of another host", host, &format!("/{path}"), purpose))
        }
        _ => {
            let remote = format!("REMOTE:{}", shell_word(file));
            let read = match scheme {
                "http" | "https" => format!("curl -fsS {}", shell_word(text)),
                _ => format!("rclone cat {remote}"),
            };
            Some(Client { what: "an address", read, write: format!("rclone rcat {remote}"), host: None })
        }
    }
}

/// The client for `HOST:/PATH`, as scp and rsync take it.
fn of_host(text: &str, purpose: Purpose) -> Option<Client> {
    let (host, path) = text.split_once(":/")?;
    let is_host = !host.is_empty() && !host.contains(|part: char| part == '/' || part.is_whitespace());
    let is_path = !path.starts_with('/');
    (is_host && is_path).then(|| over_ssh("a path on another host", host, &format!("/{path}"), purpose))
}

fn over_ssh(what: &'static str, host: &str, path: &str, purpose: Purpose) -> Client {
    let file = shell_word(purpose.file(path));
    let command =
        |command: &str| format!("ssh {} {}", shell_word(host), shell_word(format!("{command} {file}")));
    Client {
        what,
        read: command("cat"),
        write: command("cat >"),
        host: Some((host.to_owned(), path.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint_for(purpose: Purpose, text: &str) -> String {
        let error = elsewhere(OsStr::new(text), purpose).unwrap_or_else(|| panic!("{text}"));
        assert_eq!(error.kind(), purpose.kind());
        assert!(error.to_string().starts_with(text), "{error}");
        error.hint().to_owned()
    }

    fn hint(text: &str) -> String {
        hint_for(Purpose::NewArchive, text)
    }

    #[test]
    fn what_is_read_comes_through_a_pipe() {
        for (address, command) in [
            ("s3://bucket/etcd/x.age", "; aws s3 cp s3://bucket/etcd/x.age - | etcd-seal … -,"),
            ("gs://bucket/x.age", "; gcloud storage cat gs://bucket/x.age | "),
            ("https://backup/x.age?token=1&x", "; curl -fsS 'https://backup/x.age?token=1&x' | "),
            ("swift://box/x.age", "; rclone cat REMOTE:box/x.age | "),
            ("root@backup:/srv/x.age", "; ssh root@backup 'cat /srv/x.age' | "),
        ] {
            assert!(hint_for(Purpose::Archive, address).contains(command), "{address}");
        }
        assert!(hint_for(Purpose::Snapshot, "s3://b/etcd/x").contains("aws s3 cp s3://b/etcd/x - |"));
    }

    #[test]
    fn what_a_shell_was_to_replace_is_told() {
        assert!(hint_of("~/b/x.age").contains("write \"$HOME\"/b/x.age, or"), "{}", hint_of("~/b/x.age"));
        assert!(hint_of("~/").contains("write \"$HOME\"/, or"));
        assert!(hint_of("/backups/*.age").contains("no file matches"));
    }

    fn hint_of(text: &str) -> String {
        elsewhere(OsStr::new(text), Purpose::Archive).unwrap().hint().to_owned()
    }

    #[test]
    fn a_snapshot_and_the_data_of_a_member_have_ways_of_their_own() {
        let snapshot = hint_for(Purpose::NewSnapshot, "s3://bucket/etcd/");
        assert!(
            snapshot.contains("restore … -o - | aws s3 cp - s3://bucket/etcd/snapshot.db;"),
            "{snapshot}"
        );
        let member = hint_for(Purpose::DataDirectory, "cp-1:/var/lib/etcd");
        assert!(member.contains("ssh cp-1 etcd-seal restore - … `data_dir` /var/lib/etcd < "), "{member}");
        assert!(hint_for(Purpose::DataDirectory, "s3://bucket/etcd").contains("a local disk"));
    }

    #[test]
    fn an_address_leads_to_the_client_of_its_store() {
        for (address, command) in [
            ("s3://bucket/etcd/x.age", "| aws s3 cp - s3://bucket/etcd/x.age;"),
            ("S3://bucket", "| aws s3 cp - s3://bucket/NAME.age;"),
            ("gs://bucket/etcd/", "| gcloud storage cp - gs://bucket/etcd/NAME.age;"),
            (
                "az://box/x.age",
                "| azcopy copy https://ACCOUNT.blob.core.windows.net/box/x.age --from-to=PipeBlob;",
            ),
            ("swift://box/a b.age", "| rclone rcat REMOTE:'box/a b.age';"),
            ("file:///backups", "name the path alone: /backups"),
        ] {
            assert!(hint(address).contains(command), "{}", hint(address));
        }
    }

    #[test]
    fn a_path_on_another_host_leads_to_ssh() {
        for (address, command) in [
            ("backup:/srv/x.age", "| ssh backup 'cat > /srv/x.age';"),
            ("root@10.0.0.9:/srv/", "| ssh root@10.0.0.9 'cat > /srv/NAME.age';"),
            ("ssh://root@backup/srv/x.age", "| ssh root@backup 'cat > /srv/x.age';"),
        ] {
            assert!(hint(address).contains(command), "{}", hint(address));
        }
    }

    #[test]
    fn a_path_of_this_host_is_no_address() {
        for path in
            ["/backups/", "x.age", "12:30.age", "a/b:/c", ":/x.age", "a b:/c", "://x", "1s3://x/", "-", ""]
        {
            assert!(elsewhere(OsStr::new(path), Purpose::NewArchive).is_none(), "{path}");
        }
    }
}

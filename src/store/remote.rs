//! Addresses of object stores and of other hosts, which operators name as a destination: the way there is a pipe.

use std::ffi::OsStr;

use super::name::ARCHIVE_SUFFIX;
use super::shell::shell_word;
use crate::error::{Error, Kind};

/// The name in a command for an archive that the operator has not named.
const NAME: &str = "NAME.age";

/// The error for a destination that is an address of an object store or of another host; `None` for any other text.
pub(super) fn refusal(text: &OsStr) -> Option<Error> {
    let text = text.to_str()?;
    let (what, way) = match text.split_once("://") {
        Some((scheme, rest)) if is_scheme(scheme) => of_scheme(&scheme.to_ascii_lowercase(), rest)?,
        _ => of_host(text)?,
    };
    let message = format!("{text} is {what}, and a destination is a directory or file of this host, or -");
    Some(Error::new(Kind::Destination, message).with_hint(way))
}

/// Whether it is the beginning of an address, as RFC 3986 (section 3.1) has it.
fn is_scheme(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    text.starts_with(|first: char| first.is_ascii_alphabetic()) && text.bytes().all(allowed)
}

/// What an address of `scheme` is, and the way there.
fn of_scheme(scheme: &str, rest: &str) -> Option<(&'static str, String)> {
    let object = named(rest);
    let store = "an address of an object store";
    Some(match scheme {
        "s3" => (store, piped(&format!("aws s3 cp - {}", shell_word(format!("s3://{object}"))))),
        "gs" => (store, piped(&format!("gcloud storage cp - {}", shell_word(format!("gs://{object}"))))),
        "az" | "azure" => {
            let address = shell_word(format!("https://ACCOUNT.blob.core.windows.net/{object}"));
            (store, piped(&format!("azcopy copy {address} --from-to=PipeBlob")))
        }
        "ssh" | "sftp" | "scp" => {
            let (host, path) = rest.split_once('/')?;
            ("an address of another host", piped(&over_ssh(host, &format!("/{path}"))))
        }
        "file" => ("an address", format!("name the path alone: {}", shell_word(rest))),
        _ => ("an address", piped(&format!("rclone rcat REMOTE:{}", shell_word(object)))),
    })
}

/// What `HOST:/PATH` is, as scp and rsync take it, and the way there.
fn of_host(text: &str) -> Option<(&'static str, String)> {
    let (host, path) = text.split_once(":/")?;
    let is_host = !host.is_empty() && !host.contains(|part: char| part == '/' || part.is_whitespace());
    let is_path = !path.starts_with('/');
    (is_host && is_path).then(|| ("a path on another host", piped(&over_ssh(host, &format!("/{path}")))))
}

/// The command that writes its standard input to `path` on `host`.
fn over_ssh(host: &str, path: &str) -> String {
    let write = format!("cat > {}", shell_word(named(path)));
    format!("ssh {} {}", shell_word(host), shell_word(write))
}

/// `path` if it names an archive, otherwise a name in it.
fn named(path: &str) -> String {
    if path.as_bytes().ends_with(ARCHIVE_SUFFIX) {
        path.to_owned()
    } else {
        format!("{}/{NAME}", path.trim_end_matches('/'))
    }
}

/// The hint with the `command` that takes an archive from a pipe.
fn piped(command: &str) -> String {
    format!(
        "set -o pipefail; etcd-seal save - … | {command}; where that fails, remove what it left there; or save into a \
         directory, and copy the archive with its .sha256 file"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint(text: &str) -> String {
        let error = refusal(OsStr::new(text)).unwrap_or_else(|| panic!("{text}"));
        assert_eq!(error.kind(), Kind::Destination);
        assert!(error.to_string().starts_with(text), "{error}");
        error.hint().to_owned()
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
            assert!(refusal(OsStr::new(path)).is_none(), "{path}");
        }
    }
}

//! How to start a restored member: the command line of its etcd, and the text beside each member of a cluster.
//!
//! The command blocks of that text are those of etcd-seal-recovery(7), word for word; a test compares them.

use std::fmt::Write as _;
use std::path::Path;

use super::units;
use crate::database::member::{Member, Membership};
use crate::database::versions::Release;
use crate::store::member::MEMBER;
use crate::store::shell::shell_word;

/// From this size on a database gets a quota of its own: etcd takes no write beyond its default of 2 GiB.
const LARGE_DATABASE: u64 = 3 << 29;
/// The quota up to which etcd gives no warning when it starts.
const USUAL_QUOTA: u64 = 8 << 30;

/// The `--quota-backend-bytes` for a database of `size` bytes; `None` where etcd's default is enough.
#[must_use]
pub fn quota(size: u64) -> Option<u64> {
    let doubled = |quota: &u64| quota.checked_mul(2);
    let mut quotas = std::iter::successors(Some(USUAL_QUOTA), doubled);
    quotas.find(|quota| size <= quota / 4 * 3).filter(|_| size > LARGE_DATABASE)
}

/// The flags that etcd needs to start on `member`, whose database has `size` bytes, with its directories first where they are
/// known. Client URLs and TLS are left out: they are no part of a member.
///
/// etcd reads `--initial-cluster` and the like only for a new member, and this one has a write-ahead log.
#[must_use]
pub fn etcd_flags(
    member: &Member,
    data_dir: Option<&Path>,
    wal_dir: Option<&Path>,
    size: u64,
) -> Vec<String> {
    let directory = |flag: &str, path: &Path| format!("--{flag}={}", path.display());
    let listen: Vec<String> = member.peer_urls.iter().map(|url| listen_url(url)).collect();
    let directories = data_dir
        .map(|path| directory("data-dir", path))
        .into_iter()
        .chain(wal_dir.map(|path| directory("wal-dir", path)));
    directories
        .chain([
            format!("--name={}", member.name),
            format!("--listen-peer-urls={}", listen.join(",")),
            format!("--initial-advertise-peer-urls={}", member.peer_urls.join(",")),
        ])
        .chain(quota(size).map(|quota| format!("--quota-backend-bytes={quota}")))
        .collect()
}

/// The shell command line that starts etcd with `flags`.
#[must_use]
pub fn etcd_command(flags: &[String]) -> String {
    let words: Vec<String> = flags.iter().map(shell_word).collect();
    format!("etcd {}", words.join(" "))
}

/// The listen URL for the advertised `url`: etcd listens on addresses, and resolves no name but `localhost`.
fn listen_url(url: &str) -> String {
    let parts = url.split_once("://").filter(|(scheme, _)| scheme.starts_with("http"));
    let Some((scheme, (host, port))) =
        parts.and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once(':')?)))
    else {
        return url.to_owned();
    };
    let address = host.trim_start_matches('[').trim_end_matches(']');
    if host == "localhost" || address.parse::<std::net::IpAddr>().is_ok() {
        return url.to_owned();
    }
    format!("{scheme}://0.0.0.0:{port}")
}

/// The text beside this member, which the operator copies to its host. Its database has `size` bytes and is of the release
/// `data`.
pub(super) fn instructions(
    membership: &Membership,
    member: &Member,
    size: u64,
    data: Option<Release>,
) -> String {
    let mut text = format!(
        "The member {name} of a restored etcd cluster, {hex}\n\
         ============================================================\n\n\
         Every member of the cluster was made from the same archive: {members}.\n\
         The directory `{MEMBER}` beside this file belongs into the data directory of the etcd on the host of {name}.\n\
         These are steps 3 to 6 of etcd-seal-recovery(7), which says more. Do them as root, in one bash, in the\n\
         directory in which this member lies as members/{name}.\n{needed}\n\
         Settings. The last three are what the configuration of the etcd on that host says:\n\n",
        name = shell_word(&member.name),
        hex = member.hex_id(),
        members = names(membership),
        needed = data
            .map(|data| format!("\nThe data are of etcd {data}: start etcd {data} or newer on them.\n"))
            .unwrap_or_default(),
    );
    let settings = [
        ("NAME", member.name.as_str()),
        ("PEER_URL", &member.peer_urls.join(",")),
        ("CLIENT_URL", &client_url(member)),
        ("DATA_DIR", "/var/lib/etcd"),
        ("OWNER", "etcd:etcd"),
    ];
    for (variable, value) in settings {
        let _ = writeln!(text, "    {variable}={}", shell_word(value));
    }
    if let Some(quota) = quota(size) {
        let _ = write!(
            text,
            "\nThe database has {}, and etcd takes no write beyond its quota, which is 2 GiB by default. So add to the flags\n\
             of every etcd, in step 5:\n\n    --quota-backend-bytes={quota}\n",
            units::size(size)
        );
    }
    for (title, block) in STEPS {
        let _ = write!(text, "\n{title}\n\n");
        for line in block.lines() {
            let _ = writeln!(text, "    {line}");
        }
    }
    text
}

fn names(membership: &Membership) -> String {
    let mut names: Vec<String> = membership.members().iter().map(|member| shell_word(&member.name)).collect();
    names.sort_unstable();
    names.join(", ")
}

/// The most likely client URL of this member.
fn client_url(member: &Member) -> String {
    let first = member.peer_urls.first().map(String::as_str).unwrap_or_default();
    first.rsplit_once(':').map_or_else(|| first.to_owned(), |(host, _)| format!("{host}:2379"))
}

/// The steps in order, each with the block of the page that does it.
const STEPS: &[(&str, &str)] = &[
    (
        "3. Stop whatever writes to etcd, then every etcd of the old cluster, on every host. None may come back: a member of\n\
         \x20  the old cluster does not belong to this one.",
        "systemctl disable --now etcd && ! pgrep -x etcd",
    ),
    (
        "   If that fails, or if another supervisor runs etcd, stop that one first, and then etcd by hand:",
        r"pkill -x etcd
timeout 60 sh -c 'while pgrep -x etcd; do sleep 1; done' ||
  pkill -KILL -x etcd
sleep 1; ! pgrep -x etcd",
    ),
    (
        "4. On every host, this moves the old member aside and the new one in. If that etcd has a --wal-dir, its old log\n\
         \x20  goes aside too, and the new one is in member/wal: move it there.",
        r#"mkdir -p "$DATA_DIR" && rm -rf "$DATA_DIR/member.new" &&
  cp -a "members/$NAME/member" "$DATA_DIR/member.new" &&
  if [ -e "$DATA_DIR/member" ]; then
    mv -T "$DATA_DIR/member" \
      "$DATA_DIR/member.replaced-$(date -u +%Y%m%dT%H%M%SZ)"
  fi &&
  mv -T "$DATA_DIR/member.new" "$DATA_DIR/member" &&
  chown -R "$OWNER" "$DATA_DIR" && chmod 700 "$DATA_DIR" && sync"#,
    ),
    (
        "5. Start, on every host, one soon after the other: one alone waits for more than half of them.",
        "systemctl enable --now etcd",
    ),
    (
        "   Or by hand, with the TLS flags of your cluster added. Where PEER_URL has a name in place of an address,\n\
         \x20  --listen-peer-urls needs an address, such as https://0.0.0.0:2380.",
        r#"etcd --data-dir "$DATA_DIR" --name "$NAME" \
  --listen-client-urls "$CLIENT_URL" \
  --advertise-client-urls "$CLIENT_URL" \
  --listen-peer-urls "$PEER_URL" \
  --initial-advertise-peer-urls "$PEER_URL" >>etcd.log 2>&1 &"#,
    ),
    (
        "6. Check, on one host, with what etcdctl needs in ETCDCTL_CACERT, ETCDCTL_CERT, ETCDCTL_KEY and ETCDCTL_USER.\n\
         \x20  Then start what writes to etcd again, and restart whatever watches it, unless the revision was raised\n\
         \x20  (--kubernetes, --bump-revision): then it notices by itself.",
        r#"export ETCDCTL_ENDPOINTS="$CLIENT_URL"
timeout 120 sh -c '
  until list=$(etcdctl member list) &&
    ! echo "$list" | grep unstarted &&
    etcdctl endpoint health --cluster &&
    [ "$(etcdctl endpoint hashkv --cluster |
      cut -d, -f2 | sort -u | wc -l)" -eq 1 ]
  do sleep 1
  done' &&
  etcdctl endpoint status --cluster -w table &&
  etcdctl get '' --prefix --keys-only --limit 10"#,
    ),
    (
        "With kubeadm etcd is a static pod. Step 3 there, on every control plane node; it takes some 35 seconds, as an API\n\
         \x20  server without etcd uses up its grace period:",
        r#"mkdir -p /root/stopped &&
  mv /etc/kubernetes/manifests/*.yaml /root/stopped/ &&
  timeout 120 sh -c '
    until pods=$(crictl ps -q --name "etcd|kube-apiserver") &&
      [ -z "$pods" ]
    do sleep 1
    done'"#,
    ),
    (
        "   If the pods do not go, because kubelet does not run or does not see the change, stop them by hand, and let kubelet\n\
         \x20  begin again in step 5 with systemctl start kubelet:",
        r#"systemctl stop kubelet
crictl ps -q --name "etcd|kube-apiserver" |
  xargs -r crictl stop --timeout 40
if pgrep -x "etcd|kube-apiserver"; then
  pkill -KILL -x "etcd|kube-apiserver"; sleep 1
fi
! pgrep -x "etcd|kube-apiserver""#,
    ),
    (
        "   In step 4 OWNER is root:root. The manifest needs no change as long as node names and addresses are the old ones:\n\
         \x20  --name, --initial-advertise-peer-urls, --listen-peer-urls and --data-dir have to be those of the member;\n\
         \x20  --initial-cluster and --initial-cluster-state are not read. Step 5, on every control plane node:",
        "mv /root/stopped/etcd.yaml /etc/kubernetes/manifests/",
    ),
    (
        "   After step 6 start the others, on every control plane node:",
        "mv /root/stopped/*.yaml /etc/kubernetes/manifests/",
    ),
    (
        "   and restart kubelet on every node, and what else watches the API. Without --kubernetes that is not a\n\
         \x20  recommendation but a must.",
        "",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_a_shell_needs_it() {
        assert_eq!(shell_word("--name=etcd-1"), "--name=etcd-1");
        assert_eq!(shell_word("--data-dir=/var/lib/my etcd"), "'--data-dir=/var/lib/my etcd'");
        assert_eq!(shell_word("--name=a'b;$(rm)"), r"'--name=a'\''b;$(rm)'");
        assert_eq!(
            shell_word("--listen-peer-urls=http://[::1]:2380"),
            "'--listen-peer-urls=http://[::1]:2380'"
        );
        assert_eq!(shell_word("~"), "'~'");
        assert_eq!(shell_word(""), "''");
    }

    #[test]
    fn etcd_listens_at_addresses() {
        for (url, listen) in [
            ("https://10.0.0.1:2380", "https://10.0.0.1:2380"),
            ("http://localhost:2380", "http://localhost:2380"),
            ("http://[::1]:2380", "http://[::1]:2380"),
            ("https://etcd-1.example:2380", "https://0.0.0.0:2380"),
            ("unix://localhost:2", "unix://localhost:2"),
        ] {
            assert_eq!(listen_url(url), listen);
        }
    }

    #[test]
    fn directories_come_first_and_nothing_that_etcd_ignores() {
        let cluster = "a=https://10.0.0.1:2380,b=https://10.0.0.2:2380";
        let membership = Membership::parse(cluster, "token").unwrap();
        let member = membership.member("a", None).unwrap();
        let flags = etcd_flags(member, Some(Path::new("/var/lib/my etcd")), Some(Path::new("/wal")), 1 << 20);
        assert_eq!(
            etcd_command(&flags),
            "etcd '--data-dir=/var/lib/my etcd' --wal-dir=/wal --name=a --listen-peer-urls=https://10.0.0.1:2380 \
             --initial-advertise-peer-urls=https://10.0.0.1:2380"
        );
        let text = instructions(&membership, member, 1 << 20, Release::of("3.5.0"));
        assert!(
            text.contains("    NAME=a\n") && text.contains("    CLIENT_URL=https://10.0.0.1:2379\n"),
            "{text}"
        );
        assert!(
            text.contains("\n\nThe data are of etcd 3.5: start etcd 3.5 or newer on them.\n\n"),
            "{text}"
        );
        assert!(!text.contains("token") && !text.contains("quota"), "{text}");
    }

    #[test]
    fn a_large_database_gets_a_quota_that_leaves_room() {
        const GIB: u64 = 1 << 30;
        for (size, expected) in [
            (0, None),
            (3 * GIB / 2, None),
            (3 * GIB / 2 + 1, Some(8 * GIB)),
            (6 * GIB, Some(8 * GIB)),
            (6 * GIB + 1, Some(16 * GIB)),
            (100 * GIB, Some(256 * GIB)),
            (u64::MAX, None),
        ] {
            assert_eq!(quota(size), expected, "{size}");
        }
        let membership = Membership::parse("a=https://10.0.0.1:2380", "t").unwrap();
        let member = membership.member("a", None).unwrap();
        let flags = etcd_flags(member, None, None, 2 * GIB);
        assert_eq!(flags.last().unwrap(), "--quota-backend-bytes=8589934592");
        let text = instructions(&membership, member, 2 * GIB, None);
        assert!(
            text.contains("has 2.0 GiB") && text.contains("    --quota-backend-bytes=8589934592\n"),
            "{text}"
        );
    }
}

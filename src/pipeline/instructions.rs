//! What stands beside each member of a restored cluster: how to bring it to life.

use std::fmt::Write as _;

use crate::database::membership::{Member, Membership};
use crate::store::member::MEMBER;

/// The flags `member` has to be started with, one on each line. They must be the ones it was restored with.
#[must_use]
pub fn etcd_flags(membership: &Membership, member: &Member) -> Vec<String> {
    vec![
        format!("--name={}", member.name),
        format!("--initial-advertise-peer-urls={}", member.peer_urls.join(",")),
        format!("--initial-cluster={}", membership.initial_cluster()),
        format!("--initial-cluster-token={}", membership.token()),
        "--initial-cluster-state=new".to_owned(),
    ]
}

/// The text for whoever carries this member to its host.
pub(super) fn instructions(membership: &Membership, member: &Member) -> String {
    let mut text = format!(
        "The member {name} of a restored etcd cluster, {hex}\n\
         ============================================================\n\n\
         Every member of the cluster was made from the same archive: {members}. More is in etcd-seal-recovery(7).\n\
         The directory `{MEMBER}` beside this file belongs into the data directory of the etcd on the host of {name}.\n\n\
         Flags of etcd for this member (peer URLs, names and token must be these):\n\n",
        name = member.name,
        hex = member.hex_id(),
        members = names(membership),
    );
    for flag in etcd_flags(membership, member) {
        let _ = writeln!(text, "    {flag}");
    }
    text.push_str(STEPS);
    let _ = write!(
        text,
        "\nCheck, once all members run:\n\n\
         \x20   etcdctl member list -w table      # {count} members, all started\n\
         \x20   etcdctl endpoint status --cluster -w table\n\
         \x20   etcdctl endpoint hashkv --cluster # the same hash everywhere\n",
        count = membership.members().len(),
    );
    text
}

fn names(membership: &Membership) -> String {
    let mut names: Vec<&str> = membership.members().iter().map(|member| member.name.as_str()).collect();
    names.sort_unstable();
    names.join(", ")
}

/// The order of steps, the same for every member.
const STEPS: &str = "
Steps, on every host, in this order:

  1. Stop whatever writes to etcd (kube-apiserver), and every etcd of the old cluster. None of them may come back: a
     member of the old cluster does not belong to this one.
  2. Move the old data away: mv /var/lib/etcd/member /var/lib/etcd/member.old
  3. Bring the directory `member` to its host, for the user that runs etcd alone, and give it its name when it is whole:
         cp -a member /var/lib/etcd/member.new && chown -R etcd:etcd /var/lib/etcd && chmod 700 /var/lib/etcd &&
             mv /var/lib/etcd/member.new /var/lib/etcd/member
  4. Start etcd with the flags above, on all hosts within the time it waits for the others. One alone does not serve
     before more than half of them run.
  5. Start what writes to etcd, when the checks below are right.

On a control plane of kubeadm etcd is a static pod:

  1. On every control plane host: mkdir -p /root/stopped && mv /etc/kubernetes/manifests/*.yaml /root/stopped/
     Wait until crictl ps shows neither etcd nor kube-apiserver.
  2. Steps 2 and 3 above; etcd runs as root there: leave chown out.
  3. Put the flags above into /root/stopped/etcd.yaml, where it has others.
  4. On every host: mv /root/stopped/etcd.yaml /etc/kubernetes/manifests/ and check as below, then move the other
     manifests back.
  5. Restart kubelet, kube-controller-manager and kube-scheduler everywhere, and whatever watches the API, unless the
     revision was raised (--bump-revision): then they notice by themselves.
";

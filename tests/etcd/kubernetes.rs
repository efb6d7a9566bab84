//! What Kubernetes keeps in an etcd, counted while a snapshot of it streams by and told by every command.

use harness::sandbox::Sandbox;
use harness::{Etcd, Options, an_etcd, each_etcd, etcds, run};
use serde_json::{Value, json};

/// A Secret as kube-apiserver stores it without encryption.
const PLAIN: &[u8] = b"k8s\0\x0A\x0C\x0A\x02v1\x12\x06Secret\x12\0";

/// What `save` says of Kubernetes, what it says as JSON, and what the other commands say of the same archive.
fn told(sandbox: &Sandbox, etcd: &Etcd, name: &str) -> (String, Value) {
    let archive = sandbox.backups().join(name);
    let save = || sandbox.save().args(["--endpoints", &etcd.address()]);
    let as_json = save().arg("--json").arg(sandbox.path("json.age")).arg("--force").succeed().object();
    let saved = save().arg(&archive).succeed();
    let line = |text: &str| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix("Kubernetes"));
        line.map(|line| line.trim_start_matches([':', ' ']).to_owned()).unwrap_or_default()
    };
    let text = line(saved.text());
    for command in ["info", "verify"] {
        let open = || sandbox.open(command).arg(&archive);
        assert_eq!(line(open().succeed().text()), text, "{command}");
        assert_eq!(open().arg("--json").succeed().object()["contents"], as_json["contents"], "{command}");
        let closed = sandbox.seal([command]).arg(&archive).succeed();
        assert!(
            !closed.text().contains("Kubernetes") && !closed.text().contains("Secret"),
            "{}",
            closed.text()
        );
    }
    (text, as_json["contents"]["kubernetes"].clone())
}

#[test]
fn every_command_says_which_keys_the_secrets_need() {
    for etcd in each_etcd() {
        let sandbox = Sandbox::furnished();
        assert_eq!(told(&sandbox, &etcd, "empty.age"), (String::new(), Value::Null));
        // So few that they are inside the bucket of buckets.
        etcd.put("/registry/secrets/default/a", b"k8s:enc:aescbc:v1:key1:xxx");
        assert_eq!(told(&sandbox, &etcd, "few.age").0, "1 Secret, all encrypted; needs aescbc key \"key1\"");

        let long = "x".repeat(100_000);
        etcd.put("/registry/secrets/default/a", b"k8s:enc:secretbox:v1:key2:yyy");
        etcd.put("/registry/secrets/default/long", format!("k8s:enc:secretbox:v1:key2:{long}").as_bytes());
        etcd.put("/registry/configmaps/default/c", format!("k8s:enc:kms:v2:vault:{long}").as_bytes());
        etcd.put("/registry/secrets/default/gone", PLAIN);
        run(etcd.etcdctl().args(["del", "/registry/secrets/default/gone"]));
        etcd.fill("/registry/pods/default", 300, 2000);
        etcd.put("/kubernetes.io/secrets/default/plain", PLAIN);
        etcd.put("/prod/registry/secrets/default/plain", PLAIN);
        let (text, fields) = told(&sandbox, &etcd, "mixed.age");
        assert_eq!(
            text,
            "2 of 4 Secrets stored in plain; needs kms v2 \"vault\" (configmaps), secretbox key \"key2\" (secrets); \
             older revisions also need aescbc key \"key1\""
        );
        let expected = json!({
            "secrets": 4,
            "plain_secrets": 2,
            "encryption": [
                { "provider": "kms", "version": "v2", "name": "vault", "resources": ["configmaps"] },
                { "provider": "secretbox", "name": "key2", "resources": ["secrets"] },
            ],
            "older_encryption": [{ "provider": "aescbc", "name": "key1", "resources": ["secrets"] }],
        });
        assert_eq!(fields, expected);

        // A compaction takes the older revisions away, and leaves their pages unused in the file.
        let revision = contents(&sandbox, "../backups/mixed.age")["revision"].to_string();
        run(etcd.etcdctl().args(["compact", "--physical", &revision]));
        let (text, fields) = told(&sandbox, &etcd, "compacted.age");
        assert!(text.ends_with("secretbox key \"key2\" (secrets)"), "{text}");
        assert_eq!((&fields["secrets"], &fields["plain_secrets"]), (&json!(4), &json!(2)));
    }
}

/// The facts of the database in an archive.
fn contents(sandbox: &Sandbox, archive: &str) -> Value {
    sandbox.open("info").args(["--json", archive]).succeed().object()["contents"].clone()
}

#[test]
fn a_drill_says_which_keys_the_secrets_need() {
    let Some(etcd) = an_etcd() else { return };
    etcd.put("/registry/secrets/default/a", b"k8s:enc:aesgcm:v1:key1:xxx");
    let sandbox = Sandbox::furnished();
    sandbox.save().args(["--endpoints", &etcd.address()]).arg("a.age").succeed();
    let drill = || sandbox.open("drill").arg("a.age").arg("--etcd").arg(etcd.binary());
    let text = drill().succeed();
    let line = "Kubernetes: 1 Secret, all encrypted; needs aesgcm key \"key1\"";
    assert!(text.text().lines().any(|told| told.trim() == line), "{}", text.text());
    let database = &drill().arg("--json").succeed().object()["database"];
    assert_eq!(database["kubernetes"]["encryption"][0]["provider"], "aesgcm", "{database}");
}

#[test]
fn a_downgrade_in_progress_is_a_warning_of_every_command() {
    let mut warned = 0;
    for binary in etcds() {
        let etcd = Etcd::start(&binary, &Options::default());
        etcd.put("a", b"b");
        let sandbox = Sandbox::furnished();
        let save = || sandbox.save().args(["-q", "--endpoints", &etcd.address(), "--force"]).arg("a.age");
        assert_eq!(save().succeed().stderr, "");
        // etcd 3.4 knows no downgrade.
        let Some(target) = etcd.begin_downgrade() else { continue };
        let warning = format!("a downgrade of etcd to {target} is in progress");
        for command in
            [save(), sandbox.open("info").arg("a.age"), sandbox.open("verify").args(["-q", "a.age"])]
        {
            let ended = command.succeed();
            assert!(ended.stderr.contains(&warning), "{}", ended.stderr);
        }
        assert_eq!(contents(&sandbox, "a.age")["downgrade"], target);
        warned += 1;
    }
    assert!(warned > 0 || etcds().len() < 2, "no etcd begins a downgrade");
}

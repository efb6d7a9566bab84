//! What an etcd holds, put there and read back with etcdctl: keys, leases, users and roles.

use super::Etcd;
use super::program::Program;
use super::sandbox::Sandbox;
use serde_json::{Value, json};
use std::fmt::Write;

/// Who talks to a member, and how: words for etcdctl, which are etcd-seal's too.
#[derive(Clone, Default)]
pub struct Access {
    /// `--endpoints` and how to be let in.
    pub flags: Vec<String>,
}

impl Access {
    /// At this endpoint, with these other flags.
    pub fn new<F: AsRef<str>>(endpoint: &str, flags: &[F]) -> Self {
        let endpoint = ["--endpoints".to_owned(), endpoint.to_owned()];
        Self {
            flags: endpoint.into_iter().chain(flags.iter().map(|flag| flag.as_ref().to_owned())).collect(),
        }
    }

    /// The same with more flags.
    pub fn with(&self, flags: &[&str]) -> Self {
        let more = flags.iter().map(|&flag| flag.to_owned());
        Self { flags: self.flags.iter().cloned().chain(more).collect() }
    }
}

/// The etcdctl that came with `member`, or the one on `PATH`.
pub fn etcdctl(sandbox: &Sandbox, member: &Etcd) -> Program {
    let beside = member.binary().with_file_name("etcdctl");
    let program = if beside.is_file() { beside } else { "etcdctl".into() };
    sandbox.program(program)
}

/// A member and who talks to it.
pub struct Client<'a> {
    sandbox: &'a Sandbox,
    member: &'a Etcd,
    access: Access,
}

/// How many keys [`Client::load`] leaves.
pub const KEYS_LOADED: usize = 387;

impl<'a> Client<'a> {
    /// Talks to `member`.
    pub fn new(sandbox: &'a Sandbox, member: &'a Etcd, access: Access) -> Self {
        Self { sandbox, member, access }
    }

    /// Runs etcdctl and returns what it prints.
    pub fn run(&self, words: &[&str]) -> String {
        self.feed(words, "")
    }

    fn feed(&self, words: &[&str], input: &str) -> String {
        let etcdctl = etcdctl(self.sandbox, self.member).args(&self.access.flags).args(words);
        etcdctl.input(input).succeed().text().to_owned()
    }

    fn document(&self, words: &[&str]) -> Value {
        let mut document: Value =
            serde_json::from_str(&self.run(&[words, &["-w", "json"]].concat())).unwrap();
        // Who answered, and in which term, is no content.
        document.as_object_mut().unwrap().remove("header");
        document
    }

    fn transact(&self, operations: &[String]) {
        self.feed(&["txn"], &format!("\n{}\n\n\n", operations.join("\n")));
    }

    /// Keys of every kind: some written once, some again and again, some deleted, some deleted and back, some bound
    /// to leases, some empty and some binary; a user and a role beside.
    pub fn load(&self) {
        let puts = |from: usize, to: usize, value: &str| -> Vec<String> {
            (from..to).map(|key| format!("put registry/pods/{key:04} \"{value} {key}\"")).collect()
        };
        for from in (0..360).step_by(60) {
            self.transact(&puts(from, from + 60, &"value ".repeat(from)));
        }
        for round in 0..4 {
            self.transact(&puts(20 * round, 100, &format!("again {round}")));
        }
        self.transact(&(110..120).map(|key| format!("del registry/pods/{key:04}")).collect::<Vec<_>>());
        self.transact(&puts(115, 120, "back"));
        for lease in 0..4 {
            let granted = self.run(&["lease", "grant", &(3600 + lease).to_string()]);
            let id = granted.split(' ').nth(1).unwrap();
            let puts: Vec<_> =
                (0..7).map(|key| format!("put leases/{lease}/{key} bound --lease={id}")).collect();
            self.transact(&puts);
        }
        self.run(&["put", "empty", ""]);
        self.run(&["put", "words and ß", "größe"]);
        self.feed(&["put", "binary"], "\u{1}\u{7f}\u{0}\r\n\u{fffd}");
        self.run(&["put", "large", &"0123456789abcdef".repeat(6000)]);
        self.run(&["user", "add", "alice:of wonderland"]);
        self.run(&["role", "add", "reader"]);
        self.run(&["role", "grant-permission", "reader", "--prefix=true", "read", "registry/"]);
        self.run(&["role", "grant-permission", "reader", "readwrite", "empty"]);
        self.run(&["user", "grant-role", "alice", "reader"]);
    }

    /// All of it, in a form that can be compared.
    pub fn contents(&self) -> String {
        let mut contents = String::new();
        let mut tell = |what: &str, value: &Value| writeln!(contents, "{what}: {value}").unwrap();
        // Each has key, create_revision, mod_revision, version, value and lease.
        for key in self.document(&["get", "", "--prefix"])["kvs"].as_array().unwrap_or(&Vec::new()) {
            tell("key", key);
        }
        for (lease, keys) in self.leases() {
            tell(&lease, &keys);
        }
        let users = self.document(&["user", "list"]);
        for user in users["users"].as_array().unwrap_or(&Vec::new()) {
            tell(&format!("user {user}"), &self.document(&["user", "get", user.as_str().unwrap()]));
        }
        let roles = self.document(&["role", "list"]);
        for role in roles["roles"].as_array().unwrap_or(&Vec::new()) {
            tell(&format!("role {role}"), &self.document(&["role", "get", role.as_str().unwrap()]));
        }
        contents
    }

    /// Each lease, by id, with what it was granted and the keys bound to it. What is left of it changes by itself.
    fn leases(&self) -> Vec<(String, Value)> {
        let listed = self.run(&["lease", "list"]);
        let mut leases: Vec<_> = listed
            .lines()
            .filter(|line| !line.starts_with("found"))
            .map(|id| {
                let lease = self.document(&["lease", "timetolive", id, "--keys"]);
                let mut keys: Vec<_> =
                    lease["keys"].as_array().unwrap().iter().map(Value::to_string).collect();
                keys.sort();
                (format!("lease {id}"), json!([lease["granted-ttl"], keys]))
            })
            .collect();
        leases.sort_by(|(one, _), (other, _)| one.cmp(other));
        leases
    }
}

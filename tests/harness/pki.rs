//! Certificates, made with the openssl program.

use super::run;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

/// A certificate authority and what it signs, made with the openssl program.
pub struct Pki {
    dir: TempDir,
}

/// A certificate and its key, PEM.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Leaf {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Under what names and addresses the members of these tests are known.
pub const LOOPBACK_NAMES: &str = "DNS:localhost,IP:127.0.0.1";

impl Pki {
    /// A new authority.
    pub fn new() -> Self {
        let pki = Self { dir: tempfile::tempdir().unwrap() };
        run(openssl()
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
            .args(["-days", "30", "-subj", "/CN=test authority"])
            .args(["-addext", "basicConstraints=critical,CA:true", "-keyout"])
            .arg(pki.path("authority.key"))
            .arg("-out")
            .arg(pki.authority()));
        pki
    }

    /// The authority's certificate.
    pub fn authority(&self) -> PathBuf {
        self.path("authority.pem")
    }

    /// A certificate for `common_name`, valid for the subject alternative `names`, such as [`LOOPBACK_NAMES`].
    pub fn issue(&self, common_name: &str, names: &str) -> Leaf {
        self.issue_for_days(common_name, names, 30)
    }

    /// The same, but it ended yesterday.
    pub fn issue_expired(&self, common_name: &str, names: &str) -> Leaf {
        self.issue_for_days(common_name, names, -1)
    }

    /// The same, valid for so many days from now on.
    pub fn issue_for_days(&self, common_name: &str, names: &str, days: i32) -> Leaf {
        let leaf = Leaf {
            certificate: self.path(&format!("{common_name}{days}.pem")),
            key: self.path(&format!("{common_name}{days}.key")),
        };
        let (request, extensions) = (self.path("request.pem"), self.path("extensions"));
        run(openssl()
            .args(["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
            .args(["-subj", &format!("/CN={common_name}"), "-keyout"])
            .arg(&leaf.key)
            .arg("-out")
            .arg(&request));
        std::fs::write(&extensions, format!("basicConstraints=CA:false\nsubjectAltName={names}\n")).unwrap();
        run(openssl()
            .args(["x509", "-req", "-CAcreateserial", "-days", &days.to_string(), "-CA"])
            .arg(self.authority())
            .arg("-CAkey")
            .arg(self.path("authority.key"))
            .arg("-in")
            .arg(&request)
            .arg("-extfile")
            .arg(&extensions)
            .arg("-out")
            .arg(&leaf.certificate));
        leaf
    }

    /// The flags of a client that shows this certificate, for etcdctl and etcd-seal alike.
    pub fn flags(&self, client: &Leaf) -> [String; 6] {
        let [ca, certificate, key] = [&self.authority(), &client.certificate, &client.key]
            .map(|path| path.to_str().unwrap().to_owned());
        ["--cacert".to_owned(), ca, "--cert".to_owned(), certificate, "--key".to_owned(), key]
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

impl Default for Pki {
    fn default() -> Self {
        Self::new()
    }
}

fn openssl() -> Command {
    Command::new("openssl")
}

//! TLS as etcd's own client takes it: etcdctl is the judge, certificate by certificate.

use etcd_seal::low_level::error::{Error, Kind};
use etcd_seal::low_level::etcd::{self, Connection};
use etcd_seal::low_level::interrupt::Interrupt;
use harness::fake::{Fake, Script, Step};
use harness::process::{Kept, await_that};
use harness::{ConnectionExt, Etcd, Leaf, Options, ServerTls, connection, etcds, run};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

/// The names under which the servers of these tests are reached.
const NAMES: &str = "subjectAltName=DNS:localhost,IP:127.0.0.1\n";

/// How long a member may take to answer while many of them start.
const PATIENCE: Duration = Duration::from_secs(30);

/// For an authority.
const AUTHORITY: &str = "basicConstraints=critical,CA:true\nkeyUsage=critical,keyCertSign\n";

/// For a server or a client that is no authority.
const LEAF: &str = "basicConstraints=CA:false\nsubjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n";

/// A directory of certificates.
struct Workshop {
    dir: TempDir,
}

/// How to make a certificate.
struct Order<'a> {
    name: &'a str,
    /// The kind of key: a curve, `ed25519` or `rsa:BITS`, with `rsa:BITS:PRIMES` for a key that is made fast.
    key: &'a str,
    /// By itself where there is none.
    issuer: Option<&'a Leaf>,
    /// `None` makes X.509 version 1.
    extensions: Option<&'a str>,
    /// More for `openssl x509`.
    flags: &'a [&'a str],
}

impl Workshop {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn authority(&self, name: &str, key: &str) -> Leaf {
        self.make(&Order { name, key, issuer: None, extensions: Some(AUTHORITY), flags: &[] })
    }

    fn leaf(&self, name: &str, key: &str, issuer: &Leaf) -> Leaf {
        self.make(&Order { name, key, issuer: Some(issuer), extensions: Some(LEAF), flags: &[] })
    }

    fn make(&self, order: &Order<'_>) -> Leaf {
        let made = Leaf {
            certificate: self.path(&format!("{}.crt", order.name)),
            key: self.path(&format!("{}.key", order.name)),
        };
        make_key(order.key, &made.key);
        let request = self.path(&format!("{}.csr", order.name));
        let mut ask = openssl();
        ask.args(["req", "-new", "-subj", &format!("/O=Tests/CN={}", order.name), "-key"]).arg(&made.key);
        run(ask.arg("-out").arg(&request));
        let mut sign = openssl();
        sign.args(["x509", "-req"]).arg("-in").arg(&request).arg("-out").arg(&made.certificate);
        match order.issuer {
            Some(issuer) => sign.arg("-CA").arg(&issuer.certificate).arg("-CAkey").arg(&issuer.key),
            None => sign.arg("-signkey").arg(&made.key),
        };
        for [flag, usual] in [["-set_serial", "7"], ["-days", "30"]] {
            if !order.flags.contains(&flag) {
                sign.args([flag, usual]);
            }
        }
        sign.args(order.flags);
        if let Some(extensions) = order.extensions {
            let file = self.path(&format!("{}.ext", order.name));
            std::fs::write(&file, extensions).unwrap();
            sign.arg("-extfile").arg(&file);
        }
        run(&mut sign);
        if order.extensions.is_none() {
            let text = run(openssl().args(["x509", "-noout", "-text", "-in"]).arg(&made.certificate));
            assert!(text.contains("Version: 1 "), "this openssl makes no version 1:\n{text}");
        }
        made
    }

    /// A file of these files, one after the other.
    fn joined(&self, name: &str, parts: &[&Path]) -> PathBuf {
        let path = self.path(name);
        let whole: Vec<String> = parts.iter().map(|part| std::fs::read_to_string(part).unwrap()).collect();
        std::fs::write(&path, whole.concat()).unwrap();
        path
    }

    /// A copy of `file` with its text changed.
    fn changed(&self, name: &str, file: &Path, change: impl Fn(String) -> String) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, change(std::fs::read_to_string(file).unwrap())).unwrap();
        path
    }

    /// What openssl makes of `file` with `arguments`.
    fn converted(&self, name: &str, file: &Path, arguments: &[&str]) -> PathBuf {
        let path = self.path(name);
        run(openssl().args(arguments).arg("-in").arg(file).arg("-out").arg(&path));
        path
    }
}

fn openssl() -> Command {
    Command::new("openssl")
}

fn make_key(kind: &str, path: &Path) {
    let mut command = openssl();
    match kind.split(':').collect::<Vec<_>>()[..] {
        ["rsa", bits] => command.args(["genrsa", "-out"]).arg(path).arg(bits),
        ["rsa", bits, primes] => command.args(["genrsa", "-primes", primes, "-out"]).arg(path).arg(bits),
        ["ed25519"] => command.args(["genpkey", "-algorithm", "ed25519", "-out"]).arg(path),
        [curve] => command
            .args(["genpkey", "-algorithm", "EC", "-pkeyopt", &format!("ec_paramgen_curve:{curve}"), "-out"])
            .arg(path),
        _ => panic!("no kind of key: {kind}"),
    };
    command.stderr(Stdio::null());
    run(&mut command);
}

/// What a client has.
#[derive(Clone, Default)]
struct Client {
    cacert: Option<PathBuf>,
    shows: Option<Leaf>,
    skip: bool,
    /// `localhost` unless it is set.
    host: Option<&'static str>,
}

impl Client {
    fn trusting(cacert: &Path) -> Self {
        Self { cacert: Some(cacert.to_owned()), ..Self::default() }
    }

    fn skipping() -> Self {
        Self { skip: true, ..Self::default() }
    }

    fn showing(self, made: &Leaf) -> Self {
        Self { shows: Some(made.clone()), ..self }
    }

    fn endpoint(&self, member: &Etcd) -> String {
        let port = member.address().rsplit_once(':').unwrap().1.to_owned();
        format!("https://{}:{port}", self.host.unwrap_or("127.0.0.1"))
    }

    fn connection(&self, member: &Etcd) -> Connection {
        reached(&self.endpoint(member), self.cacert.as_ref(), self.shows.as_ref()).with(|connection| {
            connection.insecure_skip_tls_verify = self.skip;
            (connection.dial_timeout, connection.command_timeout) = (PATIENCE, PATIENCE);
        })
    }

    /// An etcdctl that succeeds where it gets an answer.
    fn etcdctl(&self, member: &Etcd) -> Child {
        let beside = member.binary().with_file_name("etcdctl");
        let etcdctl = if beside.is_file() { beside } else { PathBuf::from("etcdctl") };
        let mut command = Command::new(etcdctl);
        command.args(["--command-timeout", "8s", "--dial-timeout", "8s"]);
        command.arg("--endpoints").arg(self.endpoint(member));
        for (flag, file) in [
            ("--cacert", &self.cacert),
            ("--cert", &self.shows.clone().map(|shows| shows.certificate)),
            ("--key", &self.shows.clone().map(|shows| shows.key)),
        ] {
            if let Some(file) = file {
                command.arg(flag).arg(file);
            }
        }
        if self.skip {
            command.args(["--insecure-transport=false", "--insecure-skip-tls-verify"]);
        }
        command.args(["get", "a"]).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    }
}

/// A connection to an endpoint with these files.
fn reached(endpoint: &str, cacert: Option<&PathBuf>, shows: Option<&Leaf>) -> Connection {
    let plain = connection(&[endpoint]);
    let trusting = cacert.into_iter().fold(plain, ConnectionExt::trusting);
    shows.into_iter().fold(trusting, ConnectionExt::showing)
}

/// Opens a snapshot and reads its first bytes.
fn ours(runtime: &Runtime, connection: &Connection) -> Result<(), Error> {
    runtime.block_on(async {
        let mut snapshot = etcd::open(connection, &Interrupt::new()).await?;
        snapshot.next().await.map(drop)
    })
}

/// What etcdctl and this program make of a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    /// Both take it.
    Both,
    /// etcdctl takes it, and this program says why it does not.
    EtcdctlAlone,
    /// This program takes it, and etcdctl does not.
    OursAlone,
    /// Neither takes it.
    Neither,
    /// Newer etcds refuse what older ones take; this program takes it at least where etcdctl does.
    AsEtcdctl,
}

impl Verdict {
    fn fits(self, expected: Self) -> bool {
        self == expected || (expected == Self::AsEtcdctl && self != Self::EtcdctlAlone)
    }
}

/// A server and its clients.
struct Setup {
    name: &'static str,
    server: Leaf,
    client_authority: Option<PathBuf>,
    flags: Vec<&'static str>,
    clients: Clients,
}

impl Setup {
    fn of(name: &'static str, server: Leaf, clients: Clients) -> Self {
        Self { name, server, client_authority: None, flags: Vec::new(), clients }
    }

    /// What differs from what is expected, on each etcd.
    fn differences(&self, binary: &Path) -> Vec<String> {
        let tls = ServerTls { leaf: self.server.clone(), client_authority: self.client_authority.clone() };
        let flags = self.flags.iter().map(|&flag| flag.to_owned()).collect();
        let member = Etcd::start(binary, &Options { tls: Some(tls), flags, ..Options::default() });
        let runtime = Runtime::new().unwrap();
        let mut differences = Vec::new();
        // An etcdctl that gets no answer tries for some seconds, so all of them run at once.
        let asking: Vec<Child> = self.clients.iter().map(|(_, client, _)| client.etcdctl(&member)).collect();
        for ((name, client, expected), mut asking) in self.clients.iter().zip(asking) {
            let answer = ours(&runtime, &client.connection(&member));
            let verdict = match (asking.wait().unwrap().success(), answer.is_ok()) {
                (true, true) => Verdict::Both,
                (true, false) => Verdict::EtcdctlAlone,
                (false, true) => Verdict::OursAlone,
                (false, false) => Verdict::Neither,
            };
            if !verdict.fits(*expected) {
                differences
                    .push(format!("{}, {name}: {verdict:?} instead of {expected:?}: {answer:?}", self.name));
            }
            if let Err(error) = answer {
                assert_readable(&error);
            }
        }
        differences
    }
}

/// An error is a sentence: no name of a variant or structure of a crate stands in it.
#[track_caller]
fn assert_readable(error: &Error) {
    assert!([Kind::EtcdTls, Kind::Usage, Kind::EtcdUnreachable].contains(&error.kind()), "{error:?}");
    let usual = ["serverAuth", "subjectAltName", "ChaCha20-Poly1305", "clientAuth"];
    let text = format!("{error} {}", error.hint());
    let words = text.split(' ').filter(|word| !word.contains('/'));
    for word in
        words.flat_map(|word| word.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-'))
    {
        let inner = word.chars().zip(word.chars().skip(1));
        let camel =
            inner.filter(|(one, next)| one.is_ascii_lowercase() && next.is_ascii_uppercase()).count() > 0;
        assert!(!camel || usual.contains(&word), "{word}: {text}");
    }
    assert!(!text.contains(['{', '}']) && !text.contains("::Error"), "{text}");
}

/// A server whose clients have certificates, and what those may be.
fn clients_of_one_server(shop: &Workshop) -> Setup {
    let ca = shop.authority("ca", "P-256");
    let server = shop.leaf("server", "P-256", &ca);
    let mut clients = clients_of_all_kinds(shop, &ca);
    clients.extend(clients_with_odd_files(shop, &ca));
    clients.extend(clients_with_other_authorities(shop, &ca, &server));
    let client_authority = Some(ca.certificate.clone());
    Setup { client_authority, ..Setup::of("clients", server, clients) }
}

type Clients = Vec<(&'static str, Client, Verdict)>;

fn clients_of_all_kinds(shop: &Workshop, ca: &Leaf) -> Clients {
    use Verdict::{AsEtcdctl, Both, EtcdctlAlone, Neither};
    let showing = |made: &Leaf| Client::trusting(&ca.certificate).showing(made);
    let of_kind = |name: &str, key: &str| showing(&shop.leaf(name, key, ca));
    let made = |name: &str, key: &str, extensions: Option<&str>, flags: &[&str]| {
        showing(&shop.make(&Order { name, key, issuer: Some(ca), extensions, flags }))
    };
    vec![
        ("P-256", of_kind("p256", "P-256"), Both),
        ("P-384", of_kind("p384", "P-384"), Both),
        ("P-521", of_kind("p521", "P-521"), Both),
        ("Ed25519", of_kind("ed25519", "ed25519"), Both),
        ("RSA 2048", of_kind("rsa2048", "rsa:2048"), Both),
        ("RSA 4096", of_kind("rsa4096", "rsa:4096"), Both),
        ("version 1", made("v1", "P-256", None, &[]), Both),
        ("version 1, RSA", made("v1rsa", "rsa:2048", None, &[]), Both),
        ("version 1, P-521", made("v1p521", "P-521", None, &[]), Both),
        ("SHA-512", made("sha512", "P-256", Some(LEAF), &["-sha512"]), Both),
        ("a negative serial number", made("serial", "P-256", Some(LEAF), &["-set_serial", "-5"]), AsEtcdctl),
        ("the authority itself", showing(ca), Both),
        ("an expired one", made("expired", "P-256", Some(LEAF), &["-days", "-1"]), Neither),
        ("RSA 1024", of_kind("rsa1024", "rsa:1024"), EtcdctlAlone),
    ]
}

fn clients_with_odd_files(shop: &Workshop, ca: &Leaf) -> Clients {
    use Verdict::{Both, Neither, OursAlone};
    let (plain, rsa) = (shop.leaf("client", "P-256", ca), shop.leaf("rsa", "rsa:2048", ca));
    let (name, issuer) = ("between", Some(ca));
    let between =
        shop.make(&Order { name, key: "P-384", issuer, extensions: Some(AUTHORITY), flags: &["-sha384"] });
    let below = shop.leaf("below", "P-256", &between);
    let chain = shop.joined("chain.pem", &[&below.certificate, &between.certificate]);
    let combined = shop.joined("combined.pem", &[&plain.key, &plain.certificate]);
    let crlf = |name: &str, file: &Path| shop.changed(name, file, |text| text.replace('\n', "\r\n"));
    let crlf_ca = crlf("crlf-ca.pem", &ca.certificate);
    let crlf_client =
        Leaf { certificate: crlf("crlf.crt", &plain.certificate), key: crlf("crlf.key", &plain.key) };
    let sec1 = shop.converted("sec1.key", &plain.key, &["ec"]);
    let parameters = shop.changed("parameters.key", &sec1, |text| {
        format!("-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n{text}")
    });
    let pkcs1 = shop.converted("pkcs1.key", &rsa.key, &["rsa", "-traditional"]);
    let labelled = shop
        .changed("labelled.pem", &ca.certificate, |text| text.replace(" CERTIFICATE", " X509 CERTIFICATE"));
    let trusted = shop.converted("trusted.pem", &ca.certificate, &["x509", "-trustout", "-setalias", "x"]);
    let text = shop.converted("text.pem", &ca.certificate, &["x509", "-text"]);
    let marked = shop.changed("marked.pem", &ca.certificate, |text| format!("\u{feff}{text}"));
    let shows = |certificate: &Path, key: &Path| {
        let leaf = Leaf { certificate: certificate.to_owned(), key: key.to_owned() };
        Client::trusting(&ca.certificate).showing(&leaf)
    };
    let trusting = |cacert: &Path| Client::trusting(cacert).showing(&plain);
    vec![
        ("a chain", shows(&chain, &below.key), Both),
        ("certificate and key in one file", shows(&combined, &combined), Both),
        ("a key with parameters", shows(&plain.certificate, &parameters), Both),
        ("a key of SEC 1", shows(&plain.certificate, &sec1), Both),
        ("a key of PKCS#1", shows(&rsa.certificate, &pkcs1), Both),
        ("lines as of Windows", Client::trusting(&crlf_ca).showing(&crlf_client), Both),
        ("text around", trusting(&text), Both),
        ("an old label", trusting(&labelled), Both),
        ("a trusted certificate", trusting(&trusted), Neither),
        ("a byte order mark", trusting(&marked), OursAlone),
    ]
}

fn clients_with_other_authorities(shop: &Workshop, ca: &Leaf, server: &Leaf) -> Clients {
    use Verdict::{Both, Neither};
    let other = shop.authority("other", "P-256");
    let (plain, foreign) = (shop.leaf("usual", "P-256", ca), shop.leaf("foreign", "P-256", &other));
    let bundle = shop.joined("bundle.pem", &[&other.certificate, &ca.certificate]);
    let trusting = |cacert: &Path| Client::trusting(cacert).showing(&plain);
    let at = |host| Client { host: Some(host), ..trusting(&ca.certificate) };
    vec![
        ("a bundle", trusting(&bundle), Both),
        ("the server's certificate as authority", trusting(&server.certificate), Both),
        ("the same, with the authority as client", Client::trusting(&server.certificate).showing(ca), Both),
        ("by name", at("localhost"), Both),
        ("by another address", at("127.0.0.2"), Neither),
        ("unverified", Client::skipping().showing(&plain), Both),
        ("unverified, another authority", Client { skip: true, ..trusting(&other.certificate) }, Both),
        ("no client certificate", Client::trusting(&ca.certificate), Neither),
        ("one of another authority", Client::trusting(&ca.certificate).showing(&foreign), Neither),
        ("another authority", trusting(&other.certificate), Neither),
        ("a certificate that issued nothing", trusting(&plain.certificate), Neither),
    ]
}

/// Authorities of several kinds.
struct Issuers {
    p256: Leaf,
    p521: Leaf,
    ed25519: Leaf,
    rsa: Leaf,
    /// Its key has many primes, as one with two takes long to make.
    large: Leaf,
}

impl Issuers {
    fn new(shop: &Workshop) -> Self {
        Self {
            p256: shop.authority("p256-ca", "P-256"),
            p521: shop.authority("p521-ca", "P-521"),
            ed25519: shop.authority("ed25519-ca", "ed25519"),
            rsa: shop.authority("rsa-ca", "rsa:2048"),
            large: shop.authority("large-ca", "rsa:8192:5"),
        }
    }
}

/// A server with a client that trusts `ca`, of which this is expected, and one that verifies nothing.
fn verified(name: &'static str, server: Leaf, ca: &Leaf, expected: Verdict) -> Setup {
    let verified = ("verified", Client::trusting(&ca.certificate), expected);
    Setup::of(name, server, vec![verified, ("unverified", Client::skipping(), Verdict::Both)])
}

fn servers_of_all_kinds(shop: &Workshop, issuers: &Issuers) -> Vec<Setup> {
    let Issuers { p256, p521, ed25519, rsa, large } = issuers;
    let taken = |name: &'static str, key: &str, issuer: &Leaf, flags: &[&str]| {
        let file = name.replace(' ', "-");
        let order = Order { name: &file, key, issuer: Some(issuer), extensions: Some(LEAF), flags };
        verified(name, shop.make(&order), issuer, Verdict::Both)
    };
    let pss = ["-sha384", "-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest"];
    let hardened = vec!["--cipher-suites", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"];
    let small = shop.leaf("small", "rsa:1024", p256);
    let refused = [
        ("verified", Client::trusting(&p256.certificate), Verdict::EtcdctlAlone),
        ("unverified", Client::skipping(), Verdict::EtcdctlAlone),
    ];
    vec![
        taken("P-521 throughout", "P-521", p521, &[]),
        taken("P-521 under P-256", "P-521", p256, &[]),
        taken("P-256 with SHA-512", "P-256", p256, &["-sha512"]),
        taken("P-384 under P-521 with SHA-256", "P-384", p521, &["-sha256"]),
        taken("P-256 under P-521 with SHA-384", "P-256", p521, &["-sha384"]),
        taken("Ed25519 throughout", "ed25519", ed25519, &[]),
        taken("RSA 4096 under RSA 8192", "rsa:4096", large, &["-sha512"]),
        taken("RSA 8192", "rsa:8192:5", rsa, &[]),
        taken("RSA-PSS", "rsa:2048", rsa, &pss),
        taken("the end of time", "P-256", p256, &["-days", "2900000"]),
        Setup { flags: hardened, ..taken("hardened", "P-384", p256, &[]) },
        Setup::of("RSA 1024", small, refused.to_vec()),
    ]
}

fn servers_of_all_forms(shop: &Workshop, issuers: &Issuers) -> Vec<Setup> {
    use Verdict::{AsEtcdctl, Both, Neither};
    let Issuers { p256, rsa, .. } = issuers;
    let with = |name: &str, extensions: Option<&str>| {
        shop.make(&Order { name, key: "P-256", issuer: Some(p256), extensions, flags: &[] })
    };
    let flagged = |name: &str, issuer: &Leaf, flags: &[&str]| {
        shop.make(&Order { name, key: "P-256", issuer: Some(issuer), extensions: Some(LEAF), flags })
    };
    let any = with("any", Some(&format!("{NAMES}extendedKeyUsage=anyExtendedKeyUsage\n")));
    let for_clients = with("for-clients", Some(&format!("{NAMES}extendedKeyUsage=clientAuth\n")));
    let policy = with("policy", Some(&format!("{NAMES}certificatePolicies=critical,1.2.3.4\n")));
    let many =
        "subjectAltName=URI:spiffe://x/y,email:a@b.c,DNS:*.etcd.local,DNS:my_host,IP:::1,IP:127.0.0.1\n";
    let serial = ["-set_serial", "0xfffffffffffffffffffffffffffffffffffffff1"];
    let v1_ca = shop.make(&Order { name: "v1-ca", key: "P-256", issuer: None, extensions: None, flags: &[] });
    vec![
        verified("any purpose", any, p256, Both),
        verified("URIs and many names", with("many", Some(many)), p256, Both),
        verified("a critical policy", policy, p256, Both),
        verified("a long serial number", flagged("long", p256, &serial), p256, AsEtcdctl),
        verified("an authority of version 1", shop.leaf("under-v1", "P-256", &v1_ca), &v1_ca, Both),
        verified("version 1", with("v1-server", None), p256, Neither),
        verified("for clients", for_clients, p256, Neither),
        verified("other names", with("elsewhere", Some("subjectAltName=DNS:elsewhere\n")), p256, Neither),
        verified("no names", with("nameless", Some("basicConstraints=CA:false\n")), p256, Neither),
        verified("expired", flagged("old", p256, &["-days", "-1"]), p256, Neither),
        verified("SHA-1", flagged("sha1", rsa, &["-sha1"]), rsa, Neither),
    ]
}

fn servers_with_chains(shop: &Workshop, issuers: &Issuers) -> Vec<Setup> {
    use Verdict::{Both, Neither};
    let Issuers { p256, p521, .. } = issuers;
    let server_and_authority = format!("{AUTHORITY}{NAMES}");
    let make = |name: &str, issuer: Option<&Leaf>, extensions: Option<&str>, flags: &[&str]| {
        shop.make(&Order { name, key: "P-384", issuer, extensions, flags })
    };
    let behind = |name: &str, made: Leaf, issuer: &Leaf| Leaf {
        certificate: shop.joined(name, &[&made.certificate, &issuer.certificate]),
        key: made.key,
    };
    let both = Some(server_and_authority.as_str());
    let between = make("between-ca", Some(p521), Some(AUTHORITY), &["-sha256"]);
    let chain = behind("chain.crt", shop.leaf("below-server", "P-256", &between), &between);
    let through = behind("through.crt", make("through-ca", Some(&between), both, &[]), &between);
    // A client certificate of version 1 does not say that it is no authority.
    let v1_client = make("v1-client", Some(p256), None, &[]);
    let forged = behind("forged.crt", make("forged", Some(&v1_client), both, &[]), &v1_client);
    let leaf = shop.leaf("leaf-issuer", "P-256", p256);
    let by_leaf = behind("by-leaf.crt", make("by-leaf", Some(&leaf), both, &[]), &leaf);
    let own =
        |name: &'static str, made: Leaf, expected: Verdict| verified(name, made.clone(), &made, expected);
    let elsewhere = Some("subjectAltName=DNS:elsewhere\n");
    vec![
        verified("a chain", chain.clone(), p521, Both),
        verified("the middle of a chain is trusted", chain, &between, Both),
        verified("an issued authority", make("issued-ca", Some(p256), both, &[]), p256, Both),
        verified("an issued authority behind another", through, p521, Both),
        verified("issued by a certificate of version 1", forged, p256, Neither),
        verified("issued by a server", by_leaf.clone(), p256, Neither),
        verified("issued by a server that is trusted as itself", by_leaf, &leaf, Neither),
        own("self-signed", make("self", None, both, &[]), Both),
        own("self-signed, no authority", make("self-leaf", None, Some(NAMES), &[]), Both),
        own("self-signed, expired", make("self-old", None, Some(NAMES), &["-days", "-1"]), Neither),
        own("self-signed, elsewhere", make("self-far", None, elsewhere, &[]), Neither),
    ]
}

/// Every certificate that etcdctl takes is taken, but for those that are named.
#[test]
fn what_etcdctl_takes_is_taken() {
    const AT_ONCE: usize = 6;
    let binaries = etcds();
    let shop = Workshop::new();
    let issuers = Issuers::new(&shop);
    let setups: Vec<Setup> = std::iter::once(clients_of_one_server(&shop))
        .chain(servers_of_all_kinds(&shop, &issuers))
        .chain(servers_of_all_forms(&shop, &issuers))
        .chain(servers_with_chains(&shop, &issuers))
        .collect();
    let all: Vec<(&Path, &Setup)> = binaries
        .iter()
        .flat_map(|binary| setups.iter().map(move |setup| (binary.as_path(), setup)))
        .collect();
    let (left, differences) = (Mutex::new(all.into_iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((binary, setup)) = { left.lock().unwrap().next() } {
                    let found = setup.differences(binary).into_iter();
                    let found = found.map(|one| format!("{}: {one}", binary.display()));
                    differences.lock().unwrap().extend(found);
                }
            });
        }
    });
    let differences = differences.into_inner().unwrap();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// etcd makes these certificates itself, on P-521.
#[test]
fn the_certificates_of_auto_tls_are_taken() {
    for binary in etcds() {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let url = format!("https://127.0.0.1:{port}");
        let flags =
            ["--auto-tls", "--listen-client-urls", &url, "--advertise-client-urls", &url].map(str::to_owned);
        let member = Etcd::start(&binary, &Options { flags: flags.to_vec(), ..Options::default() });
        let cacert = member.data_dir().join("fixtures/client/cert.pem");
        let runtime = Runtime::new().unwrap();
        for client in [Client::trusting(&cacert), Client::skipping()] {
            let endpoints = vec![url.clone()];
            ours(&runtime, &client.connection(&member).with(|connection| connection.endpoints = endpoints))
                .unwrap();
        }
    }
}

/// What a server of TLS offers by ALPN, and what it does with what it decrypts.
enum Behind {
    /// It offers nothing and passes everything on, as a proxy in TCP mode.
    Passes(SocketAddr),
    /// It offers nothing and speaks HTTP/1.1.
    Web,
    /// It offers HTTP/1.1, as nginx without http2.
    WebByAlpn,
}

/// A server of TLS with this certificate; it lives as long as `runtime`.
fn tls_server(runtime: &Runtime, made: &Leaf, behind: Behind) -> SocketAddr {
    let chain = CertificateDer::pem_file_iter(&made.certificate).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(&made.key).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_no_client_auth().with_single_cert(chain, key).unwrap();
    if matches!(behind, Behind::WebByAlpn) {
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
    }
    let (acceptor, behind) = (TlsAcceptor::from(Arc::new(config)), Arc::new(behind));
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (acceptor, behind) = (acceptor.clone(), Arc::clone(&behind));
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(socket).await else { return };
                if let Behind::Passes(address) = *behind {
                    let mut backend = tokio::net::TcpStream::connect(address).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut stream, &mut backend).await;
                } else {
                    use tokio::io::AsyncWriteExt;
                    let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n").await;
                    let _ = stream.shutdown().await;
                }
            });
        }
    });
    address
}

/// A member without TLS.
fn plain_member() -> Fake {
    Fake::start(Script::of(&[Step::Send(0, 512), Step::Send(0, 32)]))
}

#[test]
fn a_proxy_that_ends_tls_without_alpn_leads_to_the_member() {
    let shop = Workshop::new();
    let ca = shop.authority("ca", "P-256");
    let (made, fake, runtime) = (shop.leaf("proxy", "P-256", &ca), plain_member(), Runtime::new().unwrap());
    let address = tls_server(&runtime, &made, Behind::Passes(fake.address));
    ours(&runtime, &connection(&[format!("https://{address}")]).trusting(&ca.certificate)).unwrap();
}

/// The sentence for each fault: which certificate, which name, which date, what was expected.
#[test]
fn each_fault_of_a_certificate_is_told_with_its_particulars() {
    let shop = Workshop::new();
    let (ca, other) = (shop.authority("ca", "P-256"), shop.authority("other", "P-256"));
    // An authority of the same name, made anew.
    let anew = Workshop::new();
    let again = anew.authority("ca", "P-256");
    let order = |name, extensions, flags| Order { name, key: "P-256", issuer: Some(&ca), extensions, flags };
    let runtime = Runtime::new().unwrap();
    let error_at = |address: SocketAddr, cacert: &Leaf| {
        let connection = connection(&[format!("https://{address}")]).trusting(&cacert.certificate);
        ours(&runtime, &connection).unwrap_err()
    };
    let judge = |made: Leaf, cacert: &Leaf, message: &str, hint: &str| {
        // rustls itself would refuse to be such a server.
        let (_server, address) = openssl_server(&made);
        let error = error_at(address, cacert);
        assert_eq!(error.kind(), Kind::EtcdTls, "{error:?}");
        assert!(error.to_string().contains(message), "no {message:?} in: {error}");
        assert!(error.hint().contains(hint), "no {hint:?} in: {}", error.hint());
        assert_readable(&error);
    };
    let message = "CN=good, O=Tests of the member is issued by CN=ca, O=Tests, and `cacert` holds CN=other";
    judge(shop.leaf("good", "P-256", &ca), &other, message, "`cacert`");
    let message = "the authority of this name in `cacert` has another key";
    judge(shop.leaf("anew", "P-256", &ca), &again, message, "`cacert`");
    let message = "the certificate CN=old, O=Tests expired on 2";
    judge(shop.make(&order("old", Some(LEAF), &["-days", "-1"])), &ca, message, "renew");
    let far = order("far", Some("subjectAltName=DNS:elsewhere,IP:10.0.0.1\n"), &[]);
    let message = "is for elsewhere, 10.0.0.1, and not for 127.0.0.1";
    judge(shop.make(&far), &ca, message, "such as elsewhere");
    let message = "CN=none, O=Tests of the member has no subject alternative name";
    let none = order("none", Some("basicConstraints=CA:false\n"), &[]);
    judge(shop.make(&none), &ca, message, "subjectAltName");
    let message = "no subject alternative name";
    judge(shop.make(&order("v1", None, &[])), &ca, message, "`insecure_skip_tls_verify`");
    let kind = order("kind", Some("subjectAltName=IP:127.0.0.1\nextendedKeyUsage=clientAuth\n"), &[]);
    judge(shop.make(&kind), &ca, "CN=kind, O=Tests is not for servers", "serverAuth");
    let message = "has an RSA key of 1024 bits, and 2048 to 8192 are needed";
    judge(shop.leaf("rsa", "rsa:1024", &ca), &ca, message, "openssl genpkey");

    let web = tls_server(&runtime, &shop.leaf("web", "P-256", &ca), Behind::WebByAlpn);
    let error = error_at(web, &ca);
    assert!(error.to_string().contains("speaks TLS, but not HTTP/2"), "{error}");
}

/// `openssl s_server`, which presents any certificate, and its address.
fn openssl_server(made: &Leaf) -> (Kept, SocketAddr) {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut server = openssl();
    server.args(["s_server", "-quiet", "-alpn", "h2", "-cipher", "DEFAULT@SECLEVEL=0", "-accept"]);
    server.arg(address.to_string()).arg("-cert").arg(&made.certificate).arg("-key").arg(&made.key);
    let server = server.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    await_that("openssl s_server listens", || TcpStream::connect(address).is_ok());
    (Kept(server.unwrap()), address)
}

/// What an operator has typed so far.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Typed {
    endpoint: String,
    cacert: Option<PathBuf>,
    shows: Option<Leaf>,
}

impl Typed {
    fn connection(&self) -> Connection {
        reached(&self.endpoint, self.cacert.as_ref(), self.shows.as_ref())
    }

    /// What the operator types after reading `hint`; `None` where it sends him to another server.
    fn after(&self, hint: &str, right: &Typed) -> Option<Self> {
        let mut next = self.clone();
        if let Some((_, url)) = hint.split_once("give the endpoint as ") {
            let end = url.find([',', ';', ' ']).unwrap_or(url.len());
            url[..end].clone_into(&mut next.endpoint);
            if hint.contains("`cacert`") {
                next.cacert.clone_from(&right.cacert);
            }
        } else if let Some((_, name)) = hint.split_once("its certificate carries, such as ") {
            let (before, port) = self.endpoint.rsplit_once(':').unwrap();
            let scheme = before.find("://").map_or("", |at| &before[..at + "://".len()]);
            next.endpoint = format!("{scheme}{name}:{port}");
        } else if hint.contains("client port") || hint.contains("check `endpoints`") {
            return None;
        } else if hint.contains("`cert` and `key`") {
            next.shows.clone_from(&right.shows);
        } else if hint.contains("with `cacert`") {
            next.cacert.clone_from(&right.cacert);
        } else {
            panic!("no proposal in: {hint}");
        }
        Some(next)
    }
}

/// Follows the hints from `typed` on; how it ends: with a snapshot, or with the word that this is no member.
fn walk(runtime: &Runtime, mut typed: Typed, right: &Typed) -> bool {
    let mut seen = Vec::new();
    loop {
        assert!(!seen.contains(&typed), "the hints lead in a circle: {seen:#?}\nand back to {typed:#?}");
        seen.push(typed.clone());
        let Err(error) = ours(runtime, &typed.connection()) else { return true };
        assert_readable(&error);
        match typed.after(error.hint(), right) {
            Some(next) => typed = next,
            None => return false,
        }
    }
}

#[test]
fn no_hint_is_contradicted_by_the_next() {
    let shop = Workshop::new();
    let (ca, other) = (shop.authority("ca", "P-256"), shop.authority("other", "P-256"));
    let (client, foreign) = (shop.leaf("client", "P-256", &ca), shop.leaf("foreign", "P-256", &other));
    let runtime = Runtime::new().unwrap();
    let fake = plain_member();
    let issue = |name: &str, names: &str| {
        let issuer = Some(&ca);
        shop.make(&Order { name, key: "P-256", issuer, extensions: Some(names), flags: &[] })
    };
    let server = issue("server", NAMES);
    let proxy = tls_server(&runtime, &server, Behind::Passes(fake.address));
    let by_name = issue("by-name", "subjectAltName=DNS:localhost\n");
    let misnamed = tls_server(&runtime, &by_name, Behind::Passes(fake.address));
    let web = tls_server(&runtime, &server, Behind::Web);
    let web_by_alpn = tls_server(&runtime, &server, Behind::WebByAlpn);
    let binary = etcds().remove(0);
    let tls = ServerTls { leaf: server, client_authority: Some(ca.certificate.clone()) };
    let mutual = Etcd::start(&binary, &Options { tls: Some(tls), ..Options::default() });
    let plain = Etcd::start(&binary, &Options::default());
    let banner = TcpListener::bind("127.0.0.1:0").unwrap();
    let banner_address = banner.local_addr().unwrap();
    std::thread::spawn(move || {
        for connection in banner.incoming() {
            let _ = connection.unwrap().write_all(b"SSH-2.0-sshd\r\n");
        }
    });
    let right = Typed { endpoint: String::new(), cacert: Some(ca.certificate.clone()), shows: Some(client) };
    for (address, member) in [
        (fake.address.to_string(), true),
        (plain.address(), true),
        (proxy.to_string(), true),
        (misnamed.to_string(), true),
        (mutual.address(), true),
        (web.to_string(), false),
        (web_by_alpn.to_string(), false),
        (banner_address.to_string(), false),
    ] {
        for scheme in ["", "http://", "https://"] {
            for cacert in [None, Some(&ca), Some(&other)] {
                for shows in [None, Some(foreign.clone())] {
                    let cacert = cacert.map(|made| made.certificate.clone());
                    let typed = Typed { endpoint: format!("{scheme}{address}"), cacert, shows };
                    assert_eq!(walk(&runtime, typed.clone(), &right), member, "{typed:?}");
                }
            }
        }
    }
}

/// Files in forms that are not taken come with the command that makes the right one of them, and that command does.
#[test]
fn a_file_in_another_form_comes_with_the_command_that_converts_it() {
    let shop = Workshop::new();
    let ca = shop.authority("ca", "P-256");
    let rsa = shop.leaf("rsa", "rsa:2048", &ca);
    let ed25519 = shop.leaf("ed25519", "ed25519", &ca);
    let der = shop.converted("der.crt", &rsa.certificate, &["x509", "-outform", "DER"]);
    let der_key = shop.converted("der.key", &rsa.key, &["pkey", "-outform", "DER"]);
    let short = shop.converted("short.key", &ed25519.key, &["pkey", "-outform", "DER"]);
    let trusted = shop.converted("trusted.crt", &rsa.certificate, &["x509", "-trustout"]);
    let pass = ["-aes256", "-passout", "pass:x"];
    let legacy = shop.converted("legacy.key", &rsa.key, &[&["rsa", "-traditional"], &pass[..]].concat());
    let pkcs8 = [&["pkcs8", "-topk8", "-v2", "aes256"], &pass[1..]].concat();
    let encrypted = shop.converted("encrypted.key", &rsa.key, &pkcs8);
    let export = ["pkcs12", "-export", "-passout", "pass:x", "-inkey", rsa.key.to_str().unwrap()];
    let pkcs12 = shop.converted("both.p12", &rsa.certificate, &export);
    let pkcs7 = shop.path("bundle.p7b");
    run(openssl().args(["crl2pkcs7", "-nocrl", "-certfile"]).arg(&rsa.certificate).arg("-out").arg(&pkcs7));
    let with = |certificate: &Path, key: &Path| {
        let leaf = Leaf { certificate: certificate.to_owned(), key: key.to_owned() };
        connection(&["https://127.0.0.1:2379"]).trusting(&ca.certificate).showing(&leaf)
    };
    for (certificate, key, told) in [
        (&der, &rsa.key, "it is DER"),
        (&rsa.certificate, &der_key, "it is DER"),
        (&ed25519.certificate, &short, "it is DER"),
        (&trusted, &rsa.key, "TRUSTED CERTIFICATE"),
        (&rsa.certificate, &legacy, "encrypted with a passphrase"),
        (&rsa.certificate, &encrypted, "encrypted with a passphrase"),
        (&pkcs12, &rsa.key, "PKCS#12"),
        (&rsa.certificate, &pkcs12, "PKCS#12"),
        (&pkcs7, &rsa.key, "PKCS#7"),
    ] {
        let error = etcd::check(&with(certificate, key)).unwrap_err();
        assert_eq!(error.kind(), Kind::Usage, "{error:?}");
        assert!(error.to_string().contains(told), "{error}");
        assert_readable(&error);
        let command = error.hint().split('`').find(|part| part.contains("openssl ")).unwrap().to_owned();
        let made = command.split(" -out ").nth(1).unwrap().trim_end_matches(')').to_owned();
        // The passphrase is asked for on a terminal.
        let protected = ["PKCS#12", "passphrase"].iter().any(|word| told.contains(word));
        let command = if protected { command.replace(" -in ", " -passin pass:x -in ") } else { command };
        run(Command::new("sh").args(["-c", &command]).stderr(Stdio::null()));
        let made = Path::new(&made);
        let (certificate, key) = if error.to_string().contains("`key`") {
            (certificate.as_path(), made)
        } else {
            (made, key.as_path())
        };
        etcd::check(&with(certificate, key)).unwrap_or_else(|error| panic!("{told}: {error}"));
    }
    let error = etcd::check(&with(&rsa.key, &rsa.certificate)).unwrap_err();
    assert!(error.to_string().contains("private key and no certificate"), "{error}");
}

//! Resolves etcdctl's connection flags and variables.
#![expect(
    clippy::doc_markdown,
    reason = "the comments of arguments are the help, and a terminal shows backticks as they are"
)]

use super::environment::{self, Environment};
use super::values::{parse_bool, parse_duration, parse_min_rate, parse_rate};
use crate::cli::prompt::Terminal;
use crate::error::{Error, Kind, Result};
use crate::etcd::{self, Connection, EndpointSecurity, TlsMode};
use clap::Args;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use std::path::PathBuf;
use std::time::Duration;

/// How to reach etcd: etcdctl's flags.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct ConnectionArguments {
    /// Members to choose from, separated by commas [default: 127.0.0.1:2379]
    ///
    /// Each is asked for its status; learners and those that cannot be reached are skipped, a follower is
    /// preferred to the leader.
    #[arg(long, value_name = "ENDPOINTS", value_delimiter = ',')]
    pub(crate) endpoints: Vec<String>,
    /// Verify the server's certificate with this CA bundle
    #[arg(long, value_name = "FILE")]
    pub(crate) cacert: Option<PathBuf>,
    /// Identify with this TLS client certificate
    #[arg(long, value_name = "FILE")]
    pub(crate) cert: Option<PathBuf>,
    /// The private key of --cert
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// User name and password; the password is asked for when it is left out
    #[arg(long, value_name = "NAME[:PASSWORD]", value_parser = secret)]
    pub(crate) user: Option<SecretString>,
    /// The password of --user; visible to every user of this host while the command runs
    ///
    /// Prefer ETCDCTL_PASSWORD, the prompt, or best a client certificate. When it is given, all of --user is the
    /// user's name.
    #[arg(long, value_name = "PASSWORD", value_parser = secret)]
    pub(crate) password: Option<SecretString>,
    /// Do not verify the server's certificate
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_parser = parse_bool)]
    pub(crate) insecure_skip_tls_verify: Option<bool>,
    /// Talk plaintext to endpoints without a scheme when nothing else asks for TLS [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_parser = parse_bool)]
    pub(crate) insecure_transport: Option<bool>,
    /// The longest a connection may take [default: 2s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) dial_timeout: Option<Duration>,
    /// The longest a call may take [default: 5s]
    ///
    /// The default does not bound the snapshot stream, which --stall-timeout guards; a value that is given bounds
    /// the whole stream too.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) command_timeout: Option<Duration>,
    /// Interval of keepalive pings; below 10s becomes 10s [default: 2s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) keepalive_time: Option<Duration>,
    /// The longest a keepalive ping may go unanswered [default: 6s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) keepalive_timeout: Option<Duration>,
    /// The longest the snapshot stream may stand still [default: 30s]
    ///
    /// So may the output, which keeps etcd waiting just the same: a pipe that takes not a byte for as long ends the save.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) stall_timeout: Option<Duration>,
    /// The most bytes a second to take from etcd, such as 512KiB or 20MiB: of all it sends, TLS included
    ///
    /// Spares the member's disk and network. But etcd keeps the old pages of its database for as long as the snapshot takes,
    /// so the slower it is, the more a busy database file may grow. To hold etcd back counts as no standstill.
    #[arg(long, value_name = "SIZE", value_parser = parse_rate)]
    pub(crate) limit_rate: Option<u64>,
    /// The fewest bytes a second the member must send, averaged over the stall timeout; 0 for no bound [default: 64KiB]
    ///
    /// Only the time counts in which the member is waited for: not that in which --limit-rate or the output holds it back. A
    /// member that sends a byte now and then never stands still, and would keep the snapshot open for ever.
    #[arg(long, value_name = "SIZE", value_parser = parse_min_rate)]
    pub(crate) min_rate: Option<u64>,
    /// Not supported yet: name the members with --endpoints
    #[arg(short = 'd', long, value_name = "DOMAIN")]
    pub(crate) discovery_srv: Option<String>,
    /// Not supported yet: name the members with --endpoints
    #[arg(long, value_name = "NAME")]
    pub(crate) discovery_srv_name: Option<String>,
    /// Not supported yet: name the members with --endpoints
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_parser = parse_bool)]
    pub(crate) insecure_discovery: Option<bool>,
}

/// The heading of etcdctl's flags.
pub(crate) const CONNECTION_HEADING: &str = "Connection";

/// The flags under [`CONNECTION_HEADING`], none of which makes sense with `--from`.
pub(crate) const CONNECTION_FLAGS: [&str; 18] = [
    "endpoints",
    "cacert",
    "cert",
    "key",
    "user",
    "password",
    "insecure_skip_tls_verify",
    "insecure_transport",
    "dial_timeout",
    "command_timeout",
    "keepalive_time",
    "keepalive_timeout",
    "stall_timeout",
    "limit_rate",
    "min_rate",
    "discovery_srv",
    "discovery_srv_name",
    "insecure_discovery",
];

/// A value that is not shown when arguments are.
#[expect(clippy::unnecessary_wraps, reason = "clap wants a parser that can fail")]
fn secret(text: &str) -> Result<SecretString, String> {
    Ok(text.into())
}

/// The environment variable of one of the connection flags.
#[must_use]
pub(crate) fn variable_of(flag: &str) -> String {
    let flag = flag.replace('-', "_").to_uppercase();
    let ours = ["STALL_TIMEOUT", "LIMIT_RATE", "MIN_RATE"].contains(&flag.as_str());
    if ours { format!("ETCD_SEAL_{flag}") } else { format!("ETCDCTL_{flag}") }
}

/// etcdctl's default endpoint.
const DEFAULT_ENDPOINT: &str = "127.0.0.1:2379";
/// etcdctl's defaults (`etcdctl/ctlv3/ctl.go`), except for the stall timeout and the lowest rate, which it does not have.
const DIAL_TIMEOUT: Duration = Duration::from_secs(2);
const COMMAND_TIMEOUT: Duration = Duration::from_secs(5);
const KEEPALIVE_TIME: Duration = Duration::from_secs(2);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(6);
const STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes per second; slower than any link over which a cluster could be backed up.
const MIN_RATE: u64 = 64 * 1024;

/// The connection to etcd, except for a password that is still to be asked for.
pub(crate) struct ConnectionSettings {
    connection: Connection,
    /// A user given without a password.
    user_without_password: Option<String>,
}

impl ConnectionSettings {
    /// Resolves flags before environment before defaults.
    ///
    /// # Errors
    /// [`Kind::Usage`].
    pub(crate) fn resolve(flags: ConnectionArguments, environment: &Environment) -> Result<Self> {
        refuse_discovery(&flags, environment)?;
        let (user, user_without_password) = resolve_user(flags.user, flags.password, environment)?;
        let path = |flag: Option<PathBuf>, name| {
            flag.or_else(|| environment.get(&variable_of(name)).map(PathBuf::from))
        };
        let boolean = |flag: Option<bool>, name| match flag {
            Some(value) => Ok(Some(value)),
            None => environment.parsed(&variable_of(name), parse_bool),
        };
        let duration = |flag: Option<Duration>, name| match flag {
            Some(value) => Ok(Some(value)),
            None => environment.parsed(&variable_of(name), parse_duration),
        };
        let limit_rate = match flags.limit_rate {
            Some(rate) => Some(rate),
            None => environment.parsed(environment::LIMIT_RATE, parse_rate)?,
        };
        let min_rate = match flags.min_rate {
            Some(rate) => Some(rate),
            None => environment.parsed(environment::MIN_RATE, parse_min_rate)?,
        };
        let bound = |flag, name| duration(flag, name).and_then(|value| not_zero(value, name));
        let command_timeout = bound(flags.command_timeout, "command-timeout")?;
        let connection = Connection {
            endpoints: resolve_endpoints(flags.endpoints, environment)?,
            cacert: path(flags.cacert, "cacert"),
            cert: path(flags.cert, "cert"),
            key: path(flags.key, "key"),
            insecure_skip_tls_verify: boolean(flags.insecure_skip_tls_verify, "insecure-skip-tls-verify")?
                .unwrap_or(false),
            insecure_transport: boolean(flags.insecure_transport, "insecure-transport")?.unwrap_or(true),
            user,
            dial_timeout: bound(flags.dial_timeout, "dial-timeout")?.unwrap_or(DIAL_TIMEOUT),
            command_timeout: command_timeout.unwrap_or(COMMAND_TIMEOUT),
            stream_timeout: command_timeout,
            stall_timeout: bound(flags.stall_timeout, "stall-timeout")?.unwrap_or(STALL_TIMEOUT),
            limit_rate,
            min_rate: min_rate.unwrap_or(MIN_RATE),
            keepalive_time: duration(flags.keepalive_time, "keepalive-time")?.unwrap_or(KEEPALIVE_TIME),
            keepalive_timeout: bound(flags.keepalive_timeout, "keepalive-timeout")?
                .unwrap_or(KEEPALIVE_TIMEOUT),
        };
        Ok(Self { connection, user_without_password })
    }

    /// The endpoints, for the plan of a dry run.
    #[must_use]
    pub(crate) fn endpoints(&self) -> &[String] {
        &self.connection.endpoints
    }

    /// Checks everything that needs no network, before the user is asked anything.
    ///
    /// # Errors
    /// The errors of [`etcd::check`].
    pub(crate) fn check(&self) -> Result<()> {
        etcd::check(&self.connection)
    }

    /// Warns, once for all endpoints, of what lacks the protection of TLS, and of a client certificate that expires soon.
    ///
    /// # Errors
    /// [`Kind::Usage`] for invalid endpoints, and for a client certificate that cannot be read.
    pub(crate) fn warn_of_tls(&self, now: Timestamp) -> Result<()> {
        for warning in self.unprotected()?.into_iter().chain(self.expiring(now)?) {
            tracing::warn!("{warning}");
        }
        Ok(())
    }

    /// Warns of a client certificate that expires soon: the backups would then fail, unnoticed under cron.
    fn expiring(&self, now: Timestamp) -> Result<Option<String>> {
        let Some(path) = &self.connection.cert else { return Ok(None) };
        let end = self.connection.client_certificate_end()?;
        Ok(end
            .and_then(|end| etcd::expiry(end, now))
            .map(|when| format!("the client certificate {} {when}", path.display())))
    }

    fn unprotected(&self) -> Result<Vec<String>> {
        let connection = &self.connection;
        let plain = |way: &EndpointSecurity| way.tls == TlsMode::None && !way.local;
        let plain: Vec<_> =
            connection.endpoint_security()?.into_iter().filter(plain).map(|way| way.endpoint).collect();
        let plain = plain.join(", ");
        let mut warnings = Vec::new();
        if !plain.is_empty() {
            if connection.user.is_some() || self.user_without_password.is_some() {
                warnings
                    .push(format!("the password goes to {plain} in clear text, without TLS: use https://"));
            }
            if connection.cert.is_some() {
                warnings.push(format!(
                    "the client certificate is not used at {plain}, without TLS: use https://"
                ));
            }
            if connection.cacert.is_some() {
                warnings.push(format!("--cacert verifies nothing at {plain}, without TLS: use https://"));
            }
        }
        if connection.insecure_skip_tls_verify {
            warnings.push(
                "--insecure-skip-tls-verify (or ETCDCTL_INSECURE_SKIP_TLS_VERIFY) is on: any certificate is accepted, \
                 so another server may answer in place of etcd; name the cluster's authority with --cacert instead"
                    .to_owned(),
            );
        }
        Ok(warnings)
    }

    /// Asks for a missing password.
    ///
    /// # Errors
    /// [`Kind::NoTerminal`].
    pub(crate) fn complete(mut self, terminal: &Terminal) -> Result<Connection> {
        if let Some(name) = self.user_without_password {
            let password = terminal.password(&name)?;
            self.connection.user = Some((name, password));
        }
        Ok(self.connection)
    }
}

fn resolve_endpoints(flags: Vec<String>, environment: &Environment) -> Result<Vec<String>> {
    let (name, endpoints) = if flags.is_empty() {
        let variable = environment.text("ETCDCTL_ENDPOINTS")?.unwrap_or(DEFAULT_ENDPOINT);
        ("ETCDCTL_ENDPOINTS", variable.split(',').map(str::to_owned).collect())
    } else {
        ("--endpoints", flags)
    };
    let endpoints: Vec<String> = endpoints.iter().map(|endpoint| endpoint.trim().to_owned()).collect();
    if endpoints.iter().any(String::is_empty) {
        return Err(Error::new(Kind::Usage, format!("{name} holds an empty endpoint"))
            .with_hint("separate endpoints by single commas, as in 10.0.0.1:2379,10.0.0.2:2379"));
    }
    Ok(endpoints)
}

/// The user with the password, or the name alone where the password is still to be asked for.
type User = (Option<(String, SecretString)>, Option<String>);

/// etcdctl's rule: if a password is given, `--user` is the name as a whole; otherwise it is split at its first colon.
fn resolve_user(
    user: Option<SecretString>,
    password: Option<SecretString>,
    environment: &Environment,
) -> Result<User> {
    let secret = |flag: Option<SecretString>, name| match flag {
        Some(value) => Ok(Some(value)),
        None => environment.secret(name),
    };
    let user = secret(user, environment::USER)?;
    let password = secret(password, environment::PASSWORD)?;
    let user = user.as_ref().map(ExposeSecret::expose_secret).unwrap_or_default();
    if user.is_empty() {
        if password.is_some_and(|password| !password.expose_secret().is_empty()) {
            tracing::warn!("a password without a user is ignored: name the user with --user or ETCDCTL_USER");
        }
        return Ok((None, None));
    }
    if let Some(password) = password.filter(|password| !password.expose_secret().is_empty()) {
        return Ok((Some((user.to_owned(), password)), None));
    }
    Ok(match user.split_once(':') {
        Some((name, password)) => (Some((name.to_owned(), password.into())), None),
        None => (None, Some(user.to_owned())),
    })
}

fn not_zero(value: Option<Duration>, flag: &str) -> Result<Option<Duration>> {
    if value == Some(Duration::ZERO) {
        return Err(Error::new(Kind::Usage, format!("--{flag} is zero"))
            .with_hint("leave it out for the default, or give the longest wait you accept"));
    }
    Ok(value)
}

/// Refuses etcdctl's DNS discovery, which is not implemented; ignoring it would connect to the wrong etcd.
fn refuse_discovery(flags: &ConnectionArguments, environment: &Environment) -> Result<()> {
    let from_environment =
        |name: &'static str| (flags.endpoints.is_empty() && environment.get(name).is_some()).then_some(name);
    let named = None
        .or(flags.discovery_srv.as_ref().map(|_| "--discovery-srv"))
        .or(flags.discovery_srv_name.as_ref().map(|_| "--discovery-srv-name"))
        .or(flags.insecure_discovery.map(|_| "--insecure-discovery"))
        .or_else(|| from_environment("ETCDCTL_DISCOVERY_SRV"));
    let Some(named) = named else { return Ok(()) };
    Err(Error::new(Kind::Usage, format!("{named} is not supported"))
        .with_hint("name the members with --endpoints, separated by commas"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::command_line::parse;
    use crate::cli::commands::{Arguments, Command};

    fn resolve(words: &[&str], variables: &[(&str, &str)]) -> Result<ConnectionSettings> {
        let words: Vec<_> = ["etcd-seal", "save"].iter().chain(words).map(Into::into).collect();
        let Ok(Arguments { command: Command::Save(save), .. }) = parse(&words) else { panic!("no save") };
        ConnectionSettings::resolve(save.connection, &Environment::of(variables))
    }

    fn connection(words: &[&str], variables: &[(&str, &str)]) -> Connection {
        resolve(words, variables).unwrap().connection
    }

    #[test]
    fn the_defaults_are_etcdctl_s() {
        let connection = connection(&[], &[]);
        assert_eq!(connection.endpoints, ["127.0.0.1:2379"]);
        assert_eq!((connection.cacert, connection.cert, connection.key), (None, None, None));
        assert!(connection.insecure_transport && !connection.insecure_skip_tls_verify);
        assert!(connection.user.is_none());
        assert_eq!(connection.dial_timeout, Duration::from_secs(2));
        assert_eq!(connection.command_timeout, Duration::from_secs(5));
        assert_eq!(connection.stream_timeout, None);
        assert_eq!(connection.stall_timeout, Duration::from_secs(30));
        assert_eq!((connection.limit_rate, connection.min_rate), (None, 65_536));
        assert_eq!(connection.keepalive_time, Duration::from_secs(2));
        assert_eq!(connection.keepalive_timeout, Duration::from_secs(6));
    }

    #[test]
    fn every_variable_is_read() {
        let connection = connection(
            &[],
            &[
                ("ETCDCTL_API", "3"),
                ("ETCDCTL_UNHEARD_OF", "x"),
                ("ETCDCTL_ENDPOINTS", "https://a:2379,b:2379"),
                ("ETCDCTL_CACERT", "/ca"),
                ("ETCDCTL_CERT", "/cert"),
                ("ETCDCTL_KEY", "/key"),
                ("ETCDCTL_INSECURE_SKIP_TLS_VERIFY", "T"),
                ("ETCDCTL_INSECURE_TRANSPORT", "0"),
                ("ETCDCTL_USER", "root:pa:ss"),
                ("ETCDCTL_DIAL_TIMEOUT", "3s"),
                ("ETCDCTL_COMMAND_TIMEOUT", "1m30s"),
                ("ETCDCTL_KEEPALIVE_TIME", "0"),
                ("ETCDCTL_KEEPALIVE_TIMEOUT", "7s"),
                ("ETCD_SEAL_STALL_TIMEOUT", "500ms"),
                ("ETCD_SEAL_LIMIT_RATE", "20MiB"),
                ("ETCD_SEAL_MIN_RATE", "0"),
            ],
        );
        assert_eq!(connection.endpoints, ["https://a:2379", "b:2379"]);
        assert_eq!(connection.cacert, Some("/ca".into()));
        assert_eq!(connection.cert, Some("/cert".into()));
        assert_eq!(connection.key, Some("/key".into()));
        assert!(connection.insecure_skip_tls_verify && !connection.insecure_transport);
        let (user, password) = connection.user.unwrap();
        assert_eq!((user.as_str(), password.expose_secret()), ("root", "pa:ss"));
        assert_eq!(connection.dial_timeout, Duration::from_secs(3));
        assert_eq!(connection.command_timeout, Duration::from_secs(90));
        assert_eq!(connection.stream_timeout, Some(Duration::from_secs(90)));
        assert_eq!(connection.keepalive_time, Duration::ZERO);
        assert_eq!(connection.keepalive_timeout, Duration::from_secs(7));
        assert_eq!(connection.stall_timeout, Duration::from_millis(500));
        assert_eq!((connection.limit_rate, connection.min_rate), (Some(20 << 20), 0));
    }

    #[test]
    fn every_flag_beats_its_variable_even_a_bad_one() {
        let connection = connection(
            &[
                "--endpoints=f:1",
                "--endpoints=g:2,h:3",
                "--cacert=/f/ca",
                "--cert=/f/cert",
                "--key=/f/key",
                "--insecure-skip-tls-verify=false",
                "--insecure-transport",
                "--user=flag",
                "--password=secret",
                "--dial-timeout=1s",
                "--command-timeout=2s",
                "--keepalive-time=3s",
                "--keepalive-timeout=4s",
                "--stall-timeout=5s",
                "--limit-rate=64KiB",
                "--min-rate=1KiB",
            ],
            &[
                ("ETCDCTL_ENDPOINTS", "e:1"),
                ("ETCDCTL_CACERT", "/e"),
                ("ETCDCTL_CERT", "/e"),
                ("ETCDCTL_KEY", "/e"),
                ("ETCDCTL_INSECURE_SKIP_TLS_VERIFY", "nonsense"),
                ("ETCDCTL_INSECURE_TRANSPORT", "false"),
                ("ETCDCTL_USER", "environment:x"),
                ("ETCDCTL_PASSWORD", "y"),
                ("ETCDCTL_DIAL_TIMEOUT", "nonsense"),
                ("ETCDCTL_COMMAND_TIMEOUT", "9s"),
                ("ETCDCTL_KEEPALIVE_TIME", "9s"),
                ("ETCDCTL_KEEPALIVE_TIMEOUT", "9s"),
                ("ETCD_SEAL_STALL_TIMEOUT", "9s"),
                ("ETCD_SEAL_LIMIT_RATE", "nonsense"),
                ("ETCD_SEAL_MIN_RATE", "nonsense"),
                ("ETCDCTL_DISCOVERY_SRV", "example.org"),
            ],
        );
        assert_eq!(connection.endpoints, ["f:1", "g:2", "h:3"]);
        assert_eq!(connection.cacert, Some("/f/ca".into()));
        assert_eq!(connection.cert, Some("/f/cert".into()));
        assert_eq!(connection.key, Some("/f/key".into()));
        assert!(connection.insecure_transport && !connection.insecure_skip_tls_verify);
        let (user, password) = connection.user.unwrap();
        assert_eq!((user.as_str(), password.expose_secret()), ("flag", "secret"));
        assert_eq!(connection.dial_timeout, Duration::from_secs(1));
        assert_eq!(connection.command_timeout, Duration::from_secs(2));
        assert_eq!(connection.stream_timeout, Some(Duration::from_secs(2)));
        assert_eq!(connection.keepalive_time, Duration::from_secs(3));
        assert_eq!(connection.keepalive_timeout, Duration::from_secs(4));
        assert_eq!(connection.stall_timeout, Duration::from_secs(5));
        assert_eq!((connection.limit_rate, connection.min_rate), (Some(65_536), 1024));
    }

    #[test]
    fn a_user_without_password_is_asked_later() {
        let settings = resolve(&["--user", "root"], &[]).unwrap();
        assert_eq!(settings.user_without_password.as_deref(), Some("root"));
        assert!(settings.connection.user.is_none());
        let settings = resolve(&["--user", "root"], &[("ETCDCTL_PASSWORD", "p")]).unwrap();
        assert_eq!(settings.connection.user.unwrap().1.expose_secret(), "p");
        let settings = resolve(&["--user", "a:b", "--password", "c"], &[]).unwrap();
        assert_eq!(settings.connection.user.unwrap().0, "a:b");
    }

    #[test]
    fn what_tls_does_not_protect_is_told_once() {
        let told = |words: &[&str]| resolve(words, &[]).unwrap().unprotected().unwrap();
        let begins = |words: &[&str], beginnings: &[&str]| {
            let told = told(words);
            assert_eq!(told.len(), beginnings.len(), "{words:?}: {told:?}");
            for (warning, beginning) in told.iter().zip(beginnings) {
                assert!(warning.starts_with(beginning), "{words:?}: {warning}");
            }
        };
        let (password, user) = ("the password goes to", "--user=root:x");
        begins(&[], &[]);
        begins(&["--endpoints=https://h:1", user, "--cacert=/ca", "--cert=/c", "--key=/k"], &[]);
        begins(&["--endpoints=unix:///s", user], &[]);
        begins(&[user], &[password]);
        begins(&["--user=root", "--endpoints=http://h:1"], &[password]);
        begins(
            &[user, "--endpoints=http://h:1,https://h:2,g:3"],
            &["the password goes to http://h:1, g:3 in"],
        );
        begins(
            &["--endpoints=http://h:1,http://h:2", user, "--cacert=/ca", "--cert=/c", "--key=/k"],
            &[
                "the password goes to http://h:1, http://h:2 in",
                "the client certificate is not used at http://h:1, http://h:2,",
                "--cacert verifies nothing at http://h:1, http://h:2,",
            ],
        );
        begins(&["--endpoints=h:1,h:2", "--cacert=/ca", user], &[]);
        begins(&["--endpoints=h:1,h:2", "--insecure-skip-tls-verify"], &["--insecure-skip-tls-verify (or"]);
    }

    #[test]
    fn impossible_connections_are_refused() {
        let refused = |words: &[&str], variables: &[(&str, &str)]| {
            let error = resolve(words, variables)
                .and_then(|settings| settings.check())
                .expect_err("should be refused");
            assert_eq!(error.kind(), Kind::Usage);
            error.to_string()
        };
        assert_eq!(refused(&["--cert=/c"], &[]), "`cert` is given without `key`");
        assert_eq!(
            refused(&["--endpoints=ftp://h:1"], &[]),
            "endpoint ftp://h:1 has the unknown scheme ftp://"
        );
        assert!(refused(&["--cacert=/nowhere/ca"], &[]).starts_with("cannot read `cacert` /nowhere/ca: "));
        assert_eq!(refused(&["--key=/k"], &[]), "`key` is given without `cert`");
        assert_eq!(refused(&["--endpoints=a:1,,b:1"], &[]), "--endpoints holds an empty endpoint");
        assert_eq!(refused(&["--stall-timeout=0"], &[]), "--stall-timeout is zero");
        assert_eq!(refused(&["-d", "example.org"], &[]), "--discovery-srv is not supported");
        assert_eq!(refused(&["--insecure-discovery=false"], &[]), "--insecure-discovery is not supported");
        assert_eq!(
            refused(&[], &[("ETCDCTL_DISCOVERY_SRV", "example.org")]),
            "ETCDCTL_DISCOVERY_SRV is not supported"
        );
        assert_eq!(
            refused(&[], &[("ETCD_SEAL_LIMIT_RATE", "0")]),
            "ETCD_SEAL_LIMIT_RATE: `0` is less than 16KiB, the lowest limit"
        );
        assert_eq!(
            refused(&[], &[("ETCDCTL_INSECURE_TRANSPORT", "no")]),
            "ETCDCTL_INSECURE_TRANSPORT: `no` is neither true nor false"
        );
    }
}

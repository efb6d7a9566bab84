//! The connection to etcd: etcdctl's flags, variables and defaults (`etcdctl/ctlv3/ctl.go`), and some more.
#![expect(
    clippy::doc_markdown,
    reason = "the comments of arguments are the help, and a terminal shows backticks as they are"
)]

use super::environment::{self, Environment};
use super::setting::{Setting, optional, setting};
use super::values::{parse_bool, parse_duration, parse_min_rate, parse_rate};
use crate::cli::terminal::prompt::Terminal;
use crate::error::{Error, Kind, Result};
use crate::etcd::{self, Connection, EndpointSecurity, TlsMode};
use clap::Args;
use clap::builder::{OsStringValueParser, PathBufValueParser, StringValueParser};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// How to reach etcd: etcdctl's flags.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct ConnectionArguments {
    /// Members to choose from, separated by commas
    ///
    /// Each is asked for its status; learners and those that cannot be reached are skipped, a follower is
    /// preferred to the leader.
    #[arg(long, value_name = "ENDPOINTS", env = "ETCDCTL_ENDPOINTS", default_value = "127.0.0.1:2379",
          value_parser = setting(StringValueParser::new()))]
    endpoints: Vec<Setting<String>>,
    /// Verify the server's certificate with this CA bundle
    #[arg(long, value_name = "FILE", env = "ETCDCTL_CACERT", value_parser = setting(PathBufValueParser::new()))]
    cacert: Option<Setting<PathBuf>>,
    /// Identify with this TLS client certificate
    #[arg(long, value_name = "FILE", env = "ETCDCTL_CERT", value_parser = setting(PathBufValueParser::new()))]
    cert: Option<Setting<PathBuf>>,
    /// The private key of --cert
    #[arg(long, value_name = "FILE", env = "ETCDCTL_KEY", value_parser = setting(PathBufValueParser::new()))]
    key: Option<Setting<PathBuf>>,
    /// User name and password; the password is asked for when it is left out
    #[arg(long, value_name = "NAME[:PASSWORD]", env = environment::USER, value_parser = secret)]
    user: Option<SecretString>,
    /// The password of --user; visible to every user of this host while the command runs
    ///
    /// Prefer ETCDCTL_PASSWORD, the prompt, or best a client certificate. When it is given, all of --user is the
    /// user's name.
    #[arg(hide_short_help = true, long, value_name = "PASSWORD", env = environment::PASSWORD, value_parser = secret)]
    password: Option<SecretString>,
    /// Do not verify the server's certificate
    #[arg(hide_short_help = true, long, value_name = "BOOL", env = "ETCDCTL_INSECURE_SKIP_TLS_VERIFY", default_value = "false", num_args = 0..=1,
          require_equals = true, default_missing_value = "true", value_parser = setting(parse_bool))]
    insecure_skip_tls_verify: Setting<bool>,
    /// Talk plaintext to endpoints without a scheme when nothing else asks for TLS
    #[arg(hide_short_help = true, long, value_name = "BOOL", env = "ETCDCTL_INSECURE_TRANSPORT", default_value = "true", num_args = 0..=1,
          require_equals = true, default_missing_value = "true", value_parser = setting(parse_bool))]
    insecure_transport: Setting<bool>,
    /// The longest a connection may take
    #[arg(hide_short_help = true, long, value_name = "DURATION", env = "ETCDCTL_DIAL_TIMEOUT", default_value = "2s",
          value_parser = setting(parse_duration))]
    dial_timeout: Setting<Duration>,
    /// The longest a call may take
    ///
    /// The default does not bound the snapshot stream, which --stall-timeout guards; a value that is given bounds
    /// the whole stream too.
    #[arg(hide_short_help = true, long, value_name = "DURATION", env = "ETCDCTL_COMMAND_TIMEOUT", default_value = "5s",
          value_parser = setting(parse_duration))]
    command_timeout: Setting<Duration>,
    /// Interval of keepalive pings; below 10s becomes 10s
    #[arg(hide_short_help = true, long, value_name = "DURATION", env = "ETCDCTL_KEEPALIVE_TIME", default_value = "2s",
          value_parser = setting(parse_duration))]
    keepalive_time: Setting<Duration>,
    /// The longest a keepalive ping may go unanswered
    #[arg(hide_short_help = true, long, value_name = "DURATION", env = "ETCDCTL_KEEPALIVE_TIMEOUT", default_value = "6s",
          value_parser = setting(parse_duration))]
    keepalive_timeout: Setting<Duration>,
    /// The longest the snapshot stream may stand still
    ///
    /// So may the output, which keeps etcd waiting just the same: a pipe that takes not a byte for as long ends the save.
    #[arg(hide_short_help = true, long, value_name = "DURATION", env = "ETCD_SEAL_STALL_TIMEOUT", default_value = "30s",
          value_parser = setting(parse_duration))]
    stall_timeout: Setting<Duration>,
    /// The most bytes a second to take from etcd, such as 512KiB or 20MiB: of all it sends, TLS included
    ///
    /// Spares the member's disk and network. But etcd keeps the old pages of its database for as long as the snapshot takes,
    /// so the slower it is, the more a busy database file may grow. To hold etcd back counts as no standstill.
    #[arg(hide_short_help = true, long, value_name = "SIZE", env = "ETCD_SEAL_LIMIT_RATE", value_parser = setting(parse_rate))]
    limit_rate: Option<Setting<u64>>,
    /// The fewest bytes a second the member must send, averaged over the stall timeout; 0 for no bound
    ///
    /// Only the time counts in which the member is waited for: not that in which --limit-rate or the output holds it back. A
    /// member that sends a byte now and then never stands still, and would keep the snapshot open for ever.
    #[arg(hide_short_help = true, long, value_name = "SIZE", env = "ETCD_SEAL_MIN_RATE", default_value = "64KiB",
          value_parser = setting(parse_min_rate))]
    min_rate: Setting<u64>,
    /// One of etcdctl's flags for DNS discovery, which are refused.
    #[arg(hide = true, short = 'd', long, value_name = "DOMAIN", env = "ETCDCTL_DISCOVERY_SRV", hide_env = true,
          value_parser = setting(OsStringValueParser::new()))]
    discovery_srv: Option<Setting<OsString>>,
    /// One of etcdctl's flags for DNS discovery, which are refused.
    #[arg(hide = true, long, value_name = "NAME")]
    discovery_srv_name: Option<String>,
    /// One of etcdctl's flags for DNS discovery, which are refused.
    #[arg(hide = true, long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_parser = parse_bool)]
    insecure_discovery: Option<bool>,
}

/// A value that is not shown when arguments are.
#[expect(clippy::unnecessary_wraps, reason = "clap wants a parser that can fail")]
fn secret(text: &str) -> Result<SecretString, String> {
    Ok(text.into())
}

/// The connection to etcd, except for a password that is still to be asked for: only after everything else has been checked.
pub(crate) struct ConnectionSettings {
    connection: Connection,
    /// A user given without a password.
    user_without_password: Option<String>,
    /// What the connection was made of, to name the origins of values.
    arguments: ConnectionArguments,
}

impl ConnectionSettings {
    /// Resolves arguments; the environment has the secrets.
    ///
    /// # Errors
    /// [`Kind::Usage`].
    pub(crate) fn resolve(arguments: ConnectionArguments, environment: &Environment) -> Result<Self> {
        refuse_discovery(&arguments)?;
        let (user, user_without_password) = resolve_user(&arguments, environment)?;
        let command_timeout = not_zero(&arguments.command_timeout)?;
        let connection = Connection {
            endpoints: resolve_endpoints(&arguments.endpoints)?,
            cacert: optional(arguments.cacert.as_ref())?,
            cert: optional(arguments.cert.as_ref())?,
            key: optional(arguments.key.as_ref())?,
            insecure_skip_tls_verify: arguments.insecure_skip_tls_verify.get()?,
            insecure_transport: arguments.insecure_transport.get()?,
            user,
            token: None,
            dial_timeout: not_zero(&arguments.dial_timeout)?,
            command_timeout,
            stream_timeout: arguments.command_timeout.is_given().then_some(command_timeout),
            stall_timeout: not_zero(&arguments.stall_timeout)?,
            limit_rate: optional(arguments.limit_rate.as_ref())?,
            min_rate: arguments.min_rate.get()?,
            keepalive_time: arguments.keepalive_time.get()?,
            keepalive_timeout: not_zero(&arguments.keepalive_timeout)?,
        };
        Ok(Self { connection, user_without_password, arguments })
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
            if let Some(cacert) = &self.arguments.cacert {
                let origin = cacert.origin();
                warnings.push(format!("{origin} verifies nothing at {plain}, without TLS: use https://"));
            }
        }
        if connection.insecure_skip_tls_verify {
            warnings.push(format!(
                "{} is on: any certificate is accepted, so another server may answer in place of etcd; name the \
                 cluster's authority with --cacert instead",
                self.arguments.insecure_skip_tls_verify.origin()
            ));
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

fn resolve_endpoints(settings: &[Setting<String>]) -> Result<Vec<String>> {
    let mut endpoints = Vec::new();
    for setting in settings {
        let listed = setting.get()?;
        endpoints.extend(listed.split(',').map(|endpoint| endpoint.trim().to_owned()));
        if endpoints.iter().any(String::is_empty) {
            return Err(Error::new(Kind::Usage, format!("{} holds an empty endpoint", setting.origin()))
                .with_hint("separate endpoints by single commas, as in 10.0.0.1:2379,10.0.0.2:2379"));
        }
    }
    Ok(endpoints)
}

/// The user with the password, or the name alone where the password is still to be asked for.
type User = (Option<(String, SecretString)>, Option<String>);

/// etcdctl's rule: if a password is given, `--user` is the name as a whole; otherwise it is split at its first colon.
fn resolve_user(arguments: &ConnectionArguments, environment: &Environment) -> Result<User> {
    let secret = |flag: &Option<SecretString>, name| match flag {
        Some(value) => Ok(Some(value.clone())),
        None => environment.secret(name),
    };
    let user = secret(&arguments.user, environment::USER)?;
    let password = secret(&arguments.password, environment::PASSWORD)?;
    let user = user.as_ref().map(ExposeSecret::expose_secret).unwrap_or_default();
    if user.is_empty() {
        if password.is_some_and(|password| !password.expose_secret().is_empty()) {
            tracing::warn!("a password without a user is ignored: name the user with --user or ETCDCTL_USER");
        }
        return Ok((None, None));
    }
    if let Some(password) = password.filter(|password| !password.expose_secret().is_empty()) {
        warn_of_line_break(&password);
        return Ok((Some((user.to_owned(), password)), None));
    }
    Ok(match user.split_once(':') {
        Some((name, password)) => {
            let password = SecretString::from(password);
            warn_of_line_break(&password);
            (Some((name.to_owned(), password)), None)
        }
        None => (None, Some(user.to_owned())),
    })
}

/// Warns of a line break, which the file of a secret often ends with and a password hardly ever does.
fn warn_of_line_break(password: &SecretString) {
    if password.expose_secret().ends_with(['\n', '\r']) {
        tracing::warn!(
            "the password ends in a line break, which etcd takes for a part of it: if it comes from a file, give it without \
             (printf %s, or kubectl create secret --from-literal)"
        );
    }
}

fn not_zero(setting: &Setting<Duration>) -> Result<Duration> {
    let value = setting.get()?;
    if value.is_zero() {
        return Err(Error::new(Kind::Usage, format!("{} is zero", setting.origin()))
            .with_hint("leave it out for the default, or give the longest wait you accept"));
    }
    Ok(value)
}

/// Refuses etcdctl's DNS discovery, which is not implemented; ignoring it would connect to the wrong etcd. The variable is
/// ignored where the endpoints are on the command line.
fn refuse_discovery(arguments: &ConnectionArguments) -> Result<()> {
    let by_flag = arguments.endpoints.iter().any(Setting::is_flag);
    let domain = arguments.discovery_srv.as_ref().filter(|domain| domain.is_flag() || !by_flag);
    let named = domain
        .map(|domain| domain.origin().to_string())
        .or(arguments.discovery_srv_name.as_ref().map(|_| "--discovery-srv-name".to_owned()))
        .or(arguments.insecure_discovery.map(|_| "--insecure-discovery".to_owned()));
    let Some(named) = named else { return Ok(()) };
    Err(Error::new(Kind::Usage, format!("{named} is not supported"))
        .with_hint("name the members with --endpoints, separated by commas"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::command_line::parsed;
    use crate::cli::commands::Command;

    fn resolve(arguments: &[&str], variables: &[(&str, &str)]) -> Result<ConnectionSettings> {
        let save = parsed(&[&["save"], arguments].concat(), variables)?;
        let Command::Save(save) = save else { panic!("no save") };
        ConnectionSettings::resolve(save.connection, &Environment::of(variables))
    }

    fn connection(arguments: &[&str], variables: &[(&str, &str)]) -> Connection {
        resolve(arguments, variables).unwrap().connection
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
        let told = |arguments: &[&str]| resolve(arguments, &[]).unwrap().unprotected().unwrap();
        let begins = |arguments: &[&str], beginnings: &[&str]| {
            let told = told(arguments);
            assert_eq!(told.len(), beginnings.len(), "{arguments:?}: {told:?}");
            for (warning, beginning) in told.iter().zip(beginnings) {
                assert!(warning.starts_with(beginning), "{arguments:?}: {warning}");
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
        begins(&["--endpoints=h:1,h:2", "--insecure-skip-tls-verify"], &["--insecure-skip-tls-verify is on"]);
        let variables = [("ETCDCTL_CACERT", "/ca"), ("ETCDCTL_INSECURE_SKIP_TLS_VERIFY", "1")];
        let told = resolve(&["--endpoints=http://h:1"], &variables).unwrap().unprotected().unwrap();
        assert!(told[0].starts_with("ETCDCTL_CACERT verifies nothing at http://h:1,"), "{told:?}");
        assert!(told[1].starts_with("ETCDCTL_INSECURE_SKIP_TLS_VERIFY is on"), "{told:?}");
    }

    #[test]
    fn impossible_connections_are_refused() {
        let refused = |arguments: &[&str], variables: &[(&str, &str)]| {
            let error = resolve(arguments, variables)
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
        assert_eq!(refused(&[], &[("ETCDCTL_DIAL_TIMEOUT", "0")]), "ETCDCTL_DIAL_TIMEOUT is zero");
        assert_eq!(
            refused(&[], &[("ETCDCTL_ENDPOINTS", "a:1,,b:1")]),
            "ETCDCTL_ENDPOINTS holds an empty endpoint"
        );
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

//! A setting: a value, and where it came from.
//!
//! The definition of an argument is the only place that tells its flag, its variable, its default and its parser:
//!
//! ```ignore
//! #[arg(long, env = "ETCDCTL_DIAL_TIMEOUT", default_value = "2s", value_parser = setting(parse_duration))]
//! dial_timeout: Setting<Duration>,
//! ```
//!
//! Help, manual pages and resolution follow from it. A flag beats its variable, which beats the default; what a flag
//! replaces is not even looked at, so a bad value of a variable is an error only for a command that uses it. clap itself
//! does not read the environment: a value of the environment must not conflict with a flag, secrets are kept apart, and an
//! empty variable is none. Instead, [`with_environment`] puts it where clap has the default.

use super::environment::Environment;
use crate::error::{Error, Kind, Result};
use clap::builder::{Resettable, TypedValueParser};
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, Args, Command, Id};
use std::error::Error as _;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;

/// Where a value came from; displayed as the user knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The command line: this flag, or the name of a positional argument.
    Flag(String),
    /// This environment variable.
    Variable(String),
    /// The default of this flag.
    Default(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Flag(name) | Self::Variable(name) | Self::Default(name)) = self;
        formatter.write_str(name)
    }
}

/// A value with its origin.
#[derive(Clone, Debug)]
pub(crate) struct Setting<T> {
    origin: Origin,
    /// The value, or what is wrong with the variable.
    value: Result<T, String>,
}

impl<T: Clone> Setting<T> {
    /// The value.
    ///
    /// # Errors
    /// [`Kind::Usage`] for a bad value of the environment.
    pub(crate) fn get(&self) -> Result<T> {
        self.value.clone().map_err(|wrong| {
            Error::new(Kind::Usage, wrong).with_hint(format!("correct or unset {}", self.origin))
        })
    }
}

impl<T> Setting<T> {
    /// Where the value came from.
    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Whether the value is on the command line.
    pub(crate) fn is_flag(&self) -> bool {
        matches!(self.origin, Origin::Flag(_))
    }

    /// Whether this is the value.
    pub(crate) fn is<V: ?Sized>(&self, value: &V) -> bool
    where
        T: PartialEq<V>,
    {
        self.value.as_ref().is_ok_and(|own| own == value)
    }

    /// Whether the value is not the default.
    pub(crate) fn is_given(&self) -> bool {
        !matches!(self.origin, Origin::Default(_))
    }
}

/// The value of an optional setting.
///
/// # Errors
/// The errors of [`Setting::get`].
pub(crate) fn optional<T: Clone>(setting: Option<&Setting<T>>) -> Result<Option<T>> {
    setting.map(Setting::get).transpose()
}

/// Parses values of the type `P::Value` and notes where they come from.
#[derive(Clone)]
pub(crate) struct SettingParser<P>(P);

/// The parser of a [`Setting`] whose values `parser` parses.
pub(crate) fn setting<P: TypedValueParser>(parser: P) -> SettingParser<P> {
    SettingParser(parser)
}

impl<P: TypedValueParser> TypedValueParser for SettingParser<P> {
    type Value = Setting<P::Value>;

    fn parse_ref(
        &self,
        command: &Command,
        argument: Option<&Arg>,
        value: &OsStr,
    ) -> Result<Self::Value, clap::Error> {
        self.parse_ref_(command, argument, value, ValueSource::CommandLine)
    }

    fn parse_ref_(
        &self,
        command: &Command,
        argument: Option<&Arg>,
        value: &OsStr,
        source: ValueSource,
    ) -> Result<Self::Value, clap::Error> {
        let (origin, value) = origin(argument, value, source);
        let parsed = self.0.parse_ref_(command, argument, value, source);
        let value = match (&origin, parsed) {
            (Origin::Variable(variable), Err(error)) => Err(wrong(variable, &error)),
            (_, parsed) => Ok(parsed?),
        };
        Ok(Setting { origin, value })
    }
}

/// The origin of a value, and the value itself.
fn origin<'a>(argument: Option<&Arg>, value: &'a OsStr, source: ValueSource) -> (Origin, &'a OsStr) {
    let name = argument.map(flag_of).unwrap_or_default();
    if source == ValueSource::CommandLine {
        return (Origin::Flag(name), value);
    }
    let is_marked = argument.is_some_and(Arg::is_hide_default_value_set);
    let (bytes, at) = (value.as_bytes(), value.as_bytes().iter().position(|&byte| byte == b'='));
    match at.filter(|_| is_marked) {
        Some(at) => {
            let variable = String::from_utf8_lossy(&bytes[..at]).into_owned();
            (Origin::Variable(variable), OsStr::from_bytes(&bytes[at + 1..]))
        }
        None => (Origin::Default(name), value),
    }
}

/// What is wrong with the value of a variable.
fn wrong(variable: &str, error: &clap::Error) -> String {
    match (error.kind(), error.source()) {
        (ErrorKind::InvalidUtf8, _) => format!("{variable} is not UTF-8"),
        (_, Some(wrong)) => format!("{variable}: {wrong}"),
        (_, None) => format!("{variable} is invalid"),
    }
}

/// The flag of an argument, or the name of a positional one.
pub(crate) fn flag_of(argument: &Arg) -> String {
    match (argument.get_long(), argument.get_value_names()) {
        (Some(long), _) => format!("--{long}"),
        (None, Some([name, ..])) => name.to_string(),
        (None, _) => argument.get_id().to_string(),
    }
}

/// The name of an argument as an option of the library.
pub(crate) fn option_of(argument: &Arg) -> Option<String> {
    argument.get_long().map(|long| long.replace('-', "_"))
}

/// The variable of an argument.
pub(crate) fn variable_of(argument: &Arg) -> Option<&str> {
    argument.get_env().and_then(OsStr::to_str)
}

/// Lets an argument that is not on the command line have the value of its variable. That takes the place of the default,
/// as `NAME=value`, and is marked by being hidden; clap itself no longer knows the variable.
///
/// A profile would come next: where the variable is not set, its value takes the place of the default in the same way.
pub(crate) fn with_environment(argument: Arg, environment: &Environment) -> Arg {
    let Some(variable) = variable_of(&argument).map(OsString::from) else { return argument };
    let value = variable.to_str().and_then(|variable| environment.get(variable)).map(ToOwned::to_owned);
    let argument = argument.env(Resettable::Reset);
    let Some(value) = value else { return argument };
    let mut marked = variable;
    marked.push("=");
    marked.push(value);
    argument.default_value(marked).hide_default_value(true)
}

/// The ids of all arguments of a group, for conflicts with all of them.
pub(crate) fn ids_of<A: Args>() -> Vec<Id> {
    A::augment_args(Command::new("")).get_arguments().map(|argument| argument.get_id().clone()).collect()
}

//! The command line: its definition, its parser, and the text of an error in it.

use super::commands::{Arguments, generate};
use super::settings::environment::Environment;
use super::settings::setting::{Setting, flag_of, option_of, setting, variable_of, with_environment};
use super::summary::summary;
use super::{exit, render, suggestions};
use crate::error::{Error, Kind};
use clap::builder::{OsStringValueParser, StyledStr};
use clap::error::{ContextKind, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, CommandFactory, FromArgMatches};
use std::borrow::Cow;
use std::collections::HashMap;
use std::ffi::OsString;

/// The whole definition, for help, manual pages and completions. They name variables and never show their values.
#[must_use]
pub(crate) fn command() -> clap::Command {
    let with_common = |command: clap::Command| {
        command.mut_args(|argument| argument.hide_env_values(true)).after_long_help(exit::help())
    };
    with_common(Arguments::command()).mut_subcommands(with_common)
}

/// The definition for parsing, where the values of variables take the place of defaults.
fn command_in(environment: &Environment) -> clap::Command {
    let with_values =
        |command: clap::Command| command.mut_args(|argument| with_environment(argument, environment));
    with_values(command()).mut_subcommands(with_values)
}

/// Arguments that no command can run with.
pub(crate) enum Unparsed {
    /// Help or version, asked for.
    Shown(StyledStr),
    /// Wrong arguments.
    Wrong(Error, Glimpse),
}

/// What wrong arguments tell of where to report that they are wrong.
#[derive(Debug, Default)]
pub(crate) struct Glimpse {
    /// Whether failures are reported as JSON.
    pub(crate) json: bool,
    /// Whether standard output was to carry an archive, a snapshot or an identity.
    pub(crate) takes_stdout: bool,
}

/// What `--version` prints.
pub(crate) fn version() -> String {
    command().render_version()
}

/// Parses a command line, program name first.
///
/// # Errors
/// [`Unparsed`].
pub(crate) fn parse(arguments: &[OsString], environment: &Environment) -> Result<Arguments, Unparsed> {
    let mut command = command_in(environment);
    let parsed = command.try_get_matches_from_mut(arguments).and_then(|mut found| {
        let from_environment = from_environment(&found, environment);
        let arguments =
            Arguments::from_arg_matches_mut(&mut found).map_err(|error| error.format(&mut command))?;
        Ok(Arguments { from_environment, ..arguments })
    });
    parsed.map_err(|error| {
        if !error.use_stderr() {
            return Unparsed::Shown(shown(arguments, &error));
        }
        let found = tolerant_matches(arguments, environment);
        command.build();
        let named = found.subcommand_name().and_then(|name| command.find_subcommand(name));
        let named = named.unwrap_or(&command);
        let error = match error.kind() {
            ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                no_command(named)
            }
            _ => {
                let suggestion = suggestion(&error, named, arguments);
                in_one_sentence(&error.render().to_string(), named, suggestion.as_deref())
            }
        };
        Unparsed::Wrong(error, glimpse(&found))
    })
}

/// The flag of every option of the library: the short one, if there is one.
pub(crate) fn flags() -> impl Iterator<Item = (String, String)> {
    let arguments = |command: &clap::Command| command.get_arguments().cloned().collect::<Vec<_>>();
    let program = Arguments::command();
    let all: Vec<Arg> = program.get_subcommands().flat_map(arguments).collect();
    all.into_iter().filter_map(|argument| {
        let short = argument.get_short().map(|short| format!("-{short}"));
        Some((option_of(&argument)?, short.unwrap_or_else(|| flag_of(&argument))))
    })
}

/// The options whose values come from the environment, with their variables.
fn from_environment(found: &ArgMatches, environment: &Environment) -> HashMap<String, String> {
    let program = Arguments::command();
    let named = found.subcommand().and_then(|(name, found)| Some((program.find_subcommand(name)?, found)));
    let Some((command, found)) = named else { return HashMap::new() };
    let from_variable = |argument: &Arg| {
        let (option, variable) = (option_of(argument)?, variable_of(argument)?);
        let is_flag = found.value_source(argument.get_id().as_str()) == Some(ValueSource::CommandLine);
        (!is_flag && environment.has(variable)).then(|| (option, variable.to_owned()))
    };
    command.get_arguments().filter_map(from_variable).collect()
}

/// Help or version, as it was asked for.
fn shown(arguments: &[OsString], error: &clap::Error) -> StyledStr {
    let long = help(arguments).map_or_else(|| error.render(), |help| help.render());
    let is_short = long.to_string().contains("(see more with '--help')");
    let program = command();
    let mut words = arguments.iter().skip(1).filter_map(|argument| argument.to_str());
    let named = words.find(|word| program.find_subcommand(word).is_some()).unwrap_or_default();
    is_short.then(|| short_help(named)).flatten().unwrap_or(long)
}

/// What `-h` prints for the command `name`, or for the program where it is empty; `None` for a command without examples.
pub(crate) fn short_help(name: &str) -> Option<StyledStr> {
    let mut program = command();
    program.build();
    let example = generate::man::shortest_example(name)?;
    let command = if name.is_empty() { Some(&mut program) } else { program.find_subcommand_mut(name) };
    Some(summary(command?, example).into())
}

/// Help or version, with the defaults of the definition in place of what the environment says.
fn help(arguments: &[OsString]) -> Option<clap::Error> {
    command().try_get_matches_from(arguments).err().filter(|error| !error.use_stderr())
}

/// The matches of wrong arguments, as far as clap can tell: without those it does not know, and with any value.
fn tolerant_matches(arguments: &[OsString], environment: &Environment) -> ArgMatches {
    let any_value = |argument: Arg| {
        if argument.get_action().takes_values() {
            argument.value_parser(setting(OsStringValueParser::new()))
        } else {
            argument
        }
    };
    let tolerant = |command: clap::Command| command.mut_args(any_value);
    let command = tolerant(command_in(environment)).mut_subcommands(tolerant);
    let mut known = arguments.to_vec();
    while let Err(error) = command.clone().try_get_matches_from(&known)
        && let Some(at) = position_of_unknown(&error, &known)
    {
        known.remove(at);
    }
    command.ignore_errors(true).try_get_matches_from(known).unwrap_or_default()
}

/// The position of the argument that clap does not know.
fn position_of_unknown(error: &clap::Error, arguments: &[OsString]) -> Option<usize> {
    let context = match error.kind() {
        ErrorKind::UnknownArgument => ContextKind::InvalidArg,
        ErrorKind::InvalidSubcommand => ContextKind::InvalidSubcommand,
        _ => return None,
    };
    let unknown = error.get(context)?.to_string();
    let is_short = unknown.len() == 2 && unknown.starts_with('-');
    let is_unknown = |argument: &OsString| {
        let argument = argument.to_string_lossy();
        let rest = argument.strip_prefix(unknown.as_str());
        rest.is_some_and(|rest| is_short || rest.is_empty() || rest.starts_with('='))
    };
    arguments.iter().skip(1).position(is_unknown).map(|at| at + 1)
}

fn glimpse(found: &ArgMatches) -> Glimpse {
    let Some((name, of_command)) = found.subcommand() else {
        return Glimpse { json: found.get_flag("json"), takes_stdout: false };
    };
    let destination = match name {
        "save" => of_command.get_one("destination"),
        "restore" | "keygen" => of_command.get_one("output"),
        _ => None,
    };
    let takes_stdout = destination.is_some_and(|destination: &Setting<OsString>| destination.is("-"));
    Glimpse { json: of_command.get_flag("json"), takes_stdout }
}

fn no_command(command: &clap::Command) -> Error {
    let commands = command.get_subcommands().filter(|command| !command.is_hide_set());
    let names: Vec<&str> = commands.map(clap::Command::get_name).collect();
    Error::new(Kind::Usage, "no command was given").with_hint(format!(
        "one of {}; see {}",
        names.join(", "),
        help_of(command)
    ))
}

/// How to ask for the help of `command`.
fn help_of(command: &clap::Command) -> String {
    format!("{} --help", command.get_bin_name().unwrap_or("etcd-seal"))
}

/// What to use in place of arguments that do not exist, or do not fit together.
fn suggestion(
    error: &clap::Error,
    command: &clap::Command,
    arguments: &[OsString],
) -> Option<Cow<'static, str>> {
    let unknown = |context| error.get(context).map(ToString::to_string);
    let name = command.get_name();
    let fixed = match error.kind() {
        ErrorKind::UnknownArgument => {
            let unknown = unknown(ContextKind::InvalidArg)?;
            if let Some(meant) = meant_flag(&unknown, command, arguments) {
                return Some(format!("write {meant}, with two plain dashes").into());
            }
            suggestions::for_flag(name, &unknown)
        }
        ErrorKind::ArgumentConflict => {
            let both = [ContextKind::InvalidArg, ContextKind::PriorArg].into_iter().filter_map(unknown);
            both.into_iter().find_map(|argument| suggestions::for_conflict(name, &argument))
        }
        ErrorKind::MissingRequiredArgument => {
            suggestions::for_missing(name, &unknown(ContextKind::InvalidArg)?)
        }
        ErrorKind::InvalidSubcommand => {
            let name = unknown(ContextKind::InvalidSubcommand)?;
            let next = arguments.iter().skip_while(|argument| **argument != *name).nth(1);
            suggestions::for_command(&name, next.and_then(|next| next.to_str()))
        }
        _ => None,
    };
    fixed.map(Cow::Borrowed)
}

/// The flag of `command` that was typed with other dashes: clap tells the first letter of it, or all of a word.
fn meant_flag(unknown: &str, command: &clap::Command, arguments: &[OsString]) -> Option<String> {
    let begins = |word: &&str| word.starts_with(unknown);
    let words = arguments.iter().filter_map(|argument| argument.to_str()).filter(begins);
    let exists = |flag: &String| {
        let known =
            |argument: &Arg| argument.get_long().map(|long| format!("--{long}")).as_ref() == Some(flag);
        command.get_arguments().any(known) || suggestions::for_flag(command.get_name(), flag).is_some()
    };
    words.filter_map(suggestions::with_two_dashes).find(exists)
}

/// clap's paragraphs as one sentence and the way out, which is `suggestion` where there is one.
fn in_one_sentence(rendered: &str, command: &clap::Command, suggestion: Option<&str>) -> Error {
    let paragraphs: Vec<String> =
        rendered.split("\n\n").map(|paragraph| render::one_line(paragraph.lines())).collect();
    let usage = paragraphs.iter().find(|paragraph| paragraph.starts_with("Usage: "));
    let first = paragraphs.first().map(String::as_str).unwrap_or_default();
    let message = first.strip_prefix("error: ").unwrap_or(first);
    let tip = paragraphs.iter().find_map(|paragraph| paragraph.strip_prefix("tip: "));
    let help = help_of(command);
    let tip = suggestion.or(tip);
    let hint = match (tip, usage) {
        (Some(tip), _) => format!("{tip}; see {help}"),
        (None, Some(usage)) => format!("{}; see {help}", usage.replacen("Usage", "usage", 1)),
        (None, None) => format!("see {help}"),
    };
    Error::new(Kind::Usage, message.trim_end_matches('.')).with_hint(hint)
}

/// The command of a test.
#[cfg(test)]
pub(crate) fn parsed(
    arguments: &[&str],
    variables: &[(&str, &str)],
) -> Result<super::commands::Command, Error> {
    let arguments: Vec<_> = ["etcd-seal"].iter().chain(arguments).map(Into::into).collect();
    match parse(&arguments, &Environment::of(variables)) {
        Ok(arguments) => Ok(arguments.command),
        Err(Unparsed::Wrong(error, _)) => Err(error),
        Err(Unparsed::Shown(text)) => panic!("shown: {text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to_parse(arguments: &[&str]) -> Vec<OsString> {
        ["etcd-seal"].iter().chain(arguments).map(Into::into).collect()
    }

    fn wrong(arguments: &[&str]) -> Error {
        parsed(arguments, &[]).expect_err("should be refused")
    }

    fn shown(arguments: &[&str]) -> String {
        match parse(&to_parse(arguments), &Environment::of(&[("ETCDCTL_DIAL_TIMEOUT", "77s")])) {
            Err(Unparsed::Shown(text)) => text.to_string(),
            _ => panic!("not shown: {arguments:?}"),
        }
    }

    #[test]
    fn the_definition_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn every_help_ends_with_the_exit_codes() {
        let table = exit::help();
        let last = table.lines().last().unwrap();
        for command in
            [&[][..], &["save"], &["info"], &["verify"], &["restore"], &["drill"], &["keygen"], &["generate"]]
        {
            let help = shown(&[command, &["--help"]].concat());
            assert!(help.trim_end().ends_with(last), "{command:?}: {help}");
            assert!(help.contains("Exit status:"), "{command:?}");
        }
    }

    /// As a terminal of 80 columns shows it. The others differ in nothing that no other test looks at.
    #[test]
    fn the_help_of_restore_stays() {
        let program = command();
        let restore = program.find_subcommand("restore").unwrap().clone();
        insta::assert_snapshot!(restore.term_width(80).render_long_help());
    }

    #[test]
    fn help_names_every_variable_and_shows_the_defaults_of_the_definition() {
        let text = |argument: &[&str]| shown(argument).split_whitespace().collect::<Vec<_>>().join(" ");
        let long = text(&["save", "--help"]);
        let program = command();
        let arguments = program.find_subcommand("save").unwrap().get_arguments();
        let shown = arguments.filter(|argument| !argument.is_hide_env_set());
        let variables: Vec<_> = shown.filter_map(variable_of).collect();
        assert!(variables.len() > 15 && variables.contains(&"ETCDCTL_CACERT"), "{variables:?}");
        for variable in variables {
            assert!(long.contains(&format!("[env: {variable}]")), "{variable}: {long}");
        }
        assert!(long.contains("[env: ETCDCTL_DIAL_TIMEOUT] [default: 2s]"), "{long}");
    }

    #[test]
    fn wrong_arguments_tell_where_to_report_that() {
        let glimpse = |arguments: &[&str], variables: &[(&str, &str)]| match parse(
            &to_parse(arguments),
            &Environment::of(variables),
        ) {
            Err(Unparsed::Wrong(_, glimpse)) => (glimpse.json, glimpse.takes_stdout),
            _ => panic!("not wrong: {arguments:?}"),
        };
        let at = |arguments: &[&str]| glimpse(arguments, &[]);
        assert_eq!(at(&["frobnicate"]), (false, false));
        assert_eq!(at(&["frobnicate", "--json"]), (true, false));
        assert_eq!(at(&["--json", "--frob", "save", "-"]), (true, true));
        assert_eq!(at(&["save", "--levle=3", "-", "--json"]), (true, true));
        assert_eq!(at(&["save", "--level=20", "-xq", "-", "--json"]), (true, true));
        assert_eq!(at(&["save", "-R", "-", "--frob"]), (false, false));
        assert_eq!(at(&["save", "--from", "-", "--frob", "-"]), (false, true));
        assert_eq!(at(&["restore", "x.age", "-o-", "--frob", "--json"]), (true, true));
        assert_eq!(at(&["restore", "x.age", "--output=-", "--data-dir=d"]), (false, true));
        assert_eq!(at(&["keygen", "-o", "-", "more", "--json"]), (true, true));
        assert_eq!(at(&["verify", "--json"]), (true, false));
        let variables = &[("ETCD_SEAL_DESTINATION", "-")];
        assert_eq!(glimpse(&["save", "--frob"], variables), (false, true));
        assert_eq!(glimpse(&["save", "--frob", "/backups/"], variables), (false, false));
    }

    #[test]
    fn help_of_a_password_says_why_not() {
        let help = shown(&["save", "--help"]).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(help.contains("visible to every user of this host while the command runs"), "{help}");
    }

    #[test]
    fn secrets_are_not_shown_with_arguments() {
        let arguments = parsed(&["save", "--user=root:hunter2", "--password=hunter3"], &[]).unwrap();
        let shown = format!("{arguments:?}");
        assert!(!shown.contains("hunter"), "{shown}");
    }

    #[test]
    fn arguments_that_make_no_sense_are_refused_in_one_sentence() {
        let told = [
            &[][..],
            &["--json"],
            &["generate"],
            &["frobnicate"],
            &["sav"],
            &["snapshot", "restore", "x.db"],
            &["list", "/backups"],
            &["save", "-o", "/backups/"],
            &["save", "--ca-file=ca.crt"],
            &["save", "--levle=3"],
            &["save", "--level=20"],
            &["save", "--frame-size=65KiB"],
            &["save", "--dial-timeout=soon"],
            &["save", "--insecure-transport=maybe"],
            &["save", "--cacert="],
            &["save", "-p", "-rage1x"],
            &["save", "--from=x", "--endpoints=y:1"],
            &["save", "--allow-missing-digest"],
            &["verify"],
            &["verify", "-i", "k", "-p", "x"],
            &["restore", "x.age"],
            &["info", "-q", "-v", "x"],
            &["keygen"],
        ]
        .map(|arguments| {
            let error = wrong(arguments);
            assert_eq!(error.kind(), Kind::Usage);
            format!("{}\n  {error}\n  {}\n", arguments.join(" "), error.hint())
        })
        .concat();
        insta::assert_snapshot!(told);
    }
}

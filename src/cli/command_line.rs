//! The command line: its definition, its parser, and the words for an error in it.

use super::commands::Arguments;
use super::settings::connection::{CONNECTION_HEADING, variable_of};
use super::settings::environment::{self, Environment};
use super::{exit, report};
use crate::error::{Error, Kind};
use clap::{Arg, CommandFactory, FromArgMatches};
use std::ffi::OsString;

/// The whole definition, with what every command has in common.
#[must_use]
pub(crate) fn command() -> clap::Command {
    let with_common = |command: clap::Command| command.mut_args(name_variable).after_long_help(exit::help());
    with_common(Arguments::command()).mut_subcommands(with_common)
}

/// Adds the environment variable to the help of a connection flag.
fn name_variable(argument: Arg) -> Arg {
    if argument.get_help_heading() != Some(CONNECTION_HEADING) {
        return argument;
    }
    let Some(flag) = argument.get_long().map(variable_of) else { return argument };
    let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
    let long_help = argument.get_long_help().map(|text| format!("{text}\n\n[env: {flag}]"));
    let argument = argument.help(format!("{help} [env: {flag}]"));
    if let Some(long_help) = long_help { argument.long_help(long_help) } else { argument }
}

/// A command line that is not one: asked for help, or wrong.
pub(crate) enum Unparsed {
    /// Help or version, asked for.
    Shown(String),
    /// Wrong.
    Wrong(Error),
}

/// What `--version` prints.
pub(crate) fn version() -> String {
    command().render_version()
}

/// Parses a command line, program name first.
///
/// # Errors
/// [`Unparsed`].
pub(crate) fn parse(words: &[OsString]) -> Result<Arguments, Unparsed> {
    let mut command = command();
    let parsed = command.try_get_matches_from_mut(words).and_then(|mut found| {
        Arguments::from_arg_matches_mut(&mut found).map_err(|error| error.format(&mut command))
    });
    parsed.map_err(|error| {
        use clap::error::ErrorKind;
        command.build();
        let named = words.iter().skip(1).find_map(|word| command.find_subcommand(word));
        match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Unparsed::Shown(error.render().to_string()),
            ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                Unparsed::Wrong(no_command(named.unwrap_or(&command)))
            }
            _ => Unparsed::Wrong(in_our_voice(&error.render().to_string(), named.unwrap_or(&command))),
        }
    })
}

/// Whether words that could not be parsed want standard output for an archive, a snapshot or an identity, as far as
/// can be seen: then that they are wrong is told elsewhere.
#[must_use]
pub(crate) fn name_stdout(words: &[OsString], environment: &Environment) -> bool {
    let follow = |flags: &[&str]| {
        let after = |pair: &[OsString]| flags.iter().any(|flag| pair[0] == *flag) && pair[1] == "-";
        words.windows(2).filter(|pair| after(pair)).count()
    };
    match words.iter().skip(1).find(|word| ["save", "restore", "keygen"].iter().any(|name| word == name)) {
        None => false,
        Some(save) if save == "save" => {
            let dashes = words.iter().filter(|word| *word == "-").count();
            dashes > follow(&["--from", "-R", "--recipients-file"])
                || environment.get(environment::DESTINATION).is_some_and(|destination| destination == "-")
        }
        Some(_) => {
            follow(&["-o", "--output"]) > 0 || words.iter().any(|word| word == "-o-" || word == "--output=-")
        }
    }
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

/// clap's paragraphs as one sentence and the way out.
fn in_our_voice(rendered: &str, command: &clap::Command) -> Error {
    let paragraphs: Vec<String> =
        rendered.split("\n\n").map(|paragraph| report::words(paragraph.lines())).collect();
    let usage = paragraphs.iter().find(|paragraph| paragraph.starts_with("Usage: "));
    let first = paragraphs.first().map(String::as_str).unwrap_or_default();
    let message = first.strip_prefix("error: ").unwrap_or(first);
    let tip = paragraphs.iter().find_map(|paragraph| paragraph.strip_prefix("tip: "));
    let help = help_of(command);
    let hint = match (tip, usage) {
        (Some(tip), _) => format!("{tip}; see {help}"),
        (None, Some(usage)) => format!("{}; see {help}", usage.replacen("Usage", "usage", 1)),
        (None, None) => format!("see {help}"),
    };
    Error::new(Kind::Usage, message.trim_end_matches('.')).with_hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::settings::connection::CONNECTION_FLAGS;

    fn wrong(words: &[&str]) -> Error {
        match parse(&["etcd-seal"].iter().chain(words).map(Into::into).collect::<Vec<_>>()) {
            Err(Unparsed::Wrong(error)) => error,
            Err(Unparsed::Shown(text)) => panic!("shown: {text}"),
            Ok(arguments) => panic!("parsed: {arguments:?}"),
        }
    }

    fn shown(words: &[&str]) -> String {
        match parse(&["etcd-seal"].iter().chain(words).map(Into::into).collect::<Vec<_>>()) {
            Err(Unparsed::Shown(text)) => text,
            _ => panic!("not shown: {words:?}"),
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
    fn every_connection_flag_names_its_variable() {
        let help = shown(&["save", "-h"]).split_whitespace().collect::<Vec<_>>().join(" ");
        let program = command();
        let save = program.find_subcommand("save").unwrap();
        let flags: Vec<_> = save
            .get_arguments()
            .filter(|argument| argument.get_help_heading() == Some(CONNECTION_HEADING))
            .filter_map(Arg::get_long)
            .collect();
        assert_eq!(flags.iter().map(|flag| flag.replace('-', "_")).collect::<Vec<_>>(), CONNECTION_FLAGS);
        for flag in flags {
            assert!(help.contains(&format!("[env: {}]", variable_of(flag))), "{flag}");
        }
    }

    #[test]
    fn help_of_a_password_says_why_not() {
        let help = shown(&["save", "--help"]).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(help.contains("visible to every user of this host while the command runs"), "{help}");
    }

    #[test]
    fn secrets_are_not_shown_with_arguments() {
        let words = ["etcd-seal", "save", "--user=root:hunter2", "--password=hunter3"].map(Into::into);
        let Ok(arguments) = parse(&words) else { panic!("should parse") };
        let shown = format!("{arguments:?}");
        assert!(!shown.contains("hunter"), "{shown}");
    }

    #[test]
    fn words_that_make_no_sense_are_told_in_our_voice() {
        let told = [
            &[][..],
            &["--json"],
            &["generate"],
            &["frobnicate"],
            &["sav"],
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
        .map(|words| {
            let error = wrong(words);
            assert_eq!(error.kind(), Kind::Usage);
            format!("{}\n  {error}\n  {}\n", words.join(" "), error.hint())
        })
        .concat();
        insta::assert_snapshot!(told);
    }
}

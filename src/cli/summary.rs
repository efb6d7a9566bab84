//! What `-h` prints: a command on one screen of 80 columns and 24 rows, its common options and an example.

use clap::Arg;
use std::fmt::Write as _;

/// Columns of a terminal.
const COLUMNS: usize = 80;
/// Most columns before the text of an option.
const INDENT: usize = 32;

/// The summary of `command`, with `example`, and with the escape sequences of clap's styles.
pub(crate) fn summary(command: &mut clap::Command, example: &str) -> String {
    let mut text = command.get_about().map(ToString::to_string).unwrap_or_default();
    let _ = write!(text, "\n\n{}\n\n", command.render_usage().ansi());
    let rows = rows(command);
    let indent = rows.iter().map(|(name, _)| name.chars().count() + 4).max().unwrap_or_default().min(INDENT);
    for (name, help) in &rows {
        text += &row(name, help, indent);
    }
    let program = command.get_bin_name().unwrap_or("etcd-seal");
    let header = command.get_styles().get_header();
    let _ = write!(
        text,
        "\n{header}Example:{header:#}\n    {example}\n{header}Everything:{header:#} {program} --help\n"
    );
    text
}

/// Names and texts of the commands in it, and of its common options.
fn rows(command: &clap::Command) -> Vec<(String, String)> {
    let text = |text: Option<&clap::builder::StyledStr>| text.map(ToString::to_string).unwrap_or_default();
    let commands = command.get_subcommands().filter(|listed| !listed.is_hide_set());
    let commands = commands.map(|listed| (listed.get_name().to_owned(), text(listed.get_about())));
    let arguments = command.get_arguments();
    let arguments =
        arguments.filter(|argument| !argument.is_hide_set() && !argument.is_hide_short_help_set());
    commands.chain(arguments.map(|argument| (name(argument), text(argument.get_help())))).collect()
}

fn name(argument: &Arg) -> String {
    let value = argument.get_value_names().and_then(|names| names.first());
    let value = value.filter(|_| argument.get_action().takes_values()).map(ToString::to_string);
    let short = argument.get_short().map(|short| format!("-{short}"));
    let long = argument.get_long().map(|long| format!("--{long}"));
    let flags: Vec<String> = short.into_iter().chain(long).collect();
    match (flags.is_empty(), value) {
        (false, Some(value)) => format!("{} <{value}>", flags.join(", ")),
        (false, None) => flags.join(", "),
        (true, value) => value.unwrap_or_default(),
    }
}

/// One row: of `help` as many of its parts as fit.
fn row(name: &str, help: &str, indent: usize) -> String {
    let room = COLUMNS - indent;
    let mut text = help.split(" [default").next().unwrap_or_default().to_owned();
    while text.chars().count() > room {
        let part = text.rfind([';', ':', ',', '(']).map(|end| text[..end].trim_end().to_owned());
        let words =
            || text.trim_end_matches('…').trim_end().rfind(' ').map(|end| format!("{} …", &text[..end]));
        let Some(shorter) = part.or_else(words) else { break };
        text = shorter;
    }
    format!("  {name:<width$}{text}\n", width = indent - 2)
}

#[cfg(test)]
mod tests {
    use super::COLUMNS;
    use crate::cli::command_line::{command, short_help};

    #[test]
    fn every_command_fits_a_screen_of_24_rows_with_an_example() {
        let program = command();
        let names = program.get_subcommands().filter(|command| !command.is_hide_set());
        let names = names.map(|command| command.get_name().to_owned());
        let with_examples = names.filter(|name| !["recovery", "version"].contains(&name.as_str()));
        for name in with_examples.chain([String::new()]) {
            let shown = short_help(&name).unwrap().to_string();
            let rows: usize = shown.lines().map(|line| line.chars().count().div_ceil(COLUMNS).max(1)).sum();
            assert!(rows < 24, "{name}: {rows} rows\n{shown}");
            assert!(shown.contains("\nExample:\n    etcd-seal "), "{shown}");
        }
    }

    #[test]
    fn the_summary_of_save_stays() {
        insta::assert_snapshot!(short_help("save").unwrap());
    }
}

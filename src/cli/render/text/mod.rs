//! Results and failures as text: one line, but for the results that have more to tell. Names, notes and all other foreign
//! text go through [`sanitize`](crate::cli::terminal::printable::sanitize).

mod contents;
mod data_directory;
mod drill;
pub(crate) mod failure;
mod info;
mod keygen;
pub(crate) mod kubernetes;
mod member;
mod plan;
mod restore;
mod save;
mod source;
pub(crate) mod units;
mod verdict;
mod verify;

/// A result that can be printed for a person.
pub(crate) trait Text {
    /// The text for the user: one line, or several for `info`, without the final newline.
    fn text(&self) -> String;
}

/// Joins several lines into one.
#[must_use]
pub(crate) fn one_line<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    lines.map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

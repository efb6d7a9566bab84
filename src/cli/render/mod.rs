//! What the end of a command looks like, the result or the failure with its hint: as text, as JSON.
//!
//! The structs in `json` are the results; `text` turns the same structs into lines. JSON keeps every value exactly.

mod json;
mod path;
mod reporter;
mod tally;
mod text;
mod verdict;

pub(crate) use json::data_directory::SalvageReport;
pub(crate) use json::drill::DrillReport;
pub(crate) use json::info::InfoReport;
pub(crate) use json::keygen::KeygenReport;
pub(crate) use json::member::{Made, MemberDirectories, MemberReport};
pub(crate) use json::plan::Plan;
pub(crate) use json::restore::RestoreReport;
pub(crate) use json::save::SaveReport;
pub(crate) use json::verify::{SidecarState, VerifyReport};
pub(crate) use json::{Report, failure_fields, ratio, result_fields};
pub(crate) use path::shown;
pub(crate) use reporter::{Reporter, put_on_stdout};
pub(crate) use tally::Tally;
pub(crate) use text::kubernetes::keys;
pub(crate) use text::units::{clock_time, count, rate, size};
pub(crate) use text::{Text, one_line};

#[cfg(test)]
mod tests;

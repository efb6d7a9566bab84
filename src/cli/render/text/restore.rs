//! The result of `restore` into a snapshot.

use super::Text;
use super::units::seconds;
use crate::cli::render::json::restore::RestoreReport;
use crate::cli::terminal::printable::sanitize;

impl Text for RestoreReport {
    fn text(&self) -> String {
        let (path, took) = (sanitize(&self.path), seconds(self.duration_ms));
        let sealed_by = self.sealed_by.text();
        format!("{path}: {}, {took}{}; sealed by: {sealed_by}", self.contents.text(), self.verdict.text())
    }
}

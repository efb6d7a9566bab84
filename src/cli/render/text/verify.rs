//! The result of `verify`.

use super::Text;
use super::contents::kubernetes;
use super::units::seconds;
use crate::cli::render::json::verify::{Proof, SidecarState, VerifyReport};
use crate::cli::terminal::printable::sanitize;

impl Text for VerifyReport {
    fn text(&self) -> String {
        let found = match &self.proof {
            Proof::Opened(contents) => format!("verified: {}", contents.text()),
            Proof::Seen(_) if self.sidecar == SidecarState::Absent => {
                "NOTHING PROVED: only header and length were looked at, and are well-formed".to_owned()
            }
            Proof::Seen(_) => {
                "equals its sidecar, and header and length are well-formed; not opened".to_owned()
            }
        };
        let (path, took) = (sanitize(&self.path), seconds(self.duration_ms));
        let sealed_by = self.sealed_by.map(|by| format!("; sealed by: {}", by.text()));
        let kubernetes = match &self.proof {
            Proof::Opened(contents) => kubernetes(&contents.trailer),
            Proof::Seen(_) => String::new(),
        };
        let sealed_by = sealed_by.unwrap_or_default();
        format!("{path}: {found}, {took}{sealed_by}{}{kubernetes}", self.verdict.text())
    }
}

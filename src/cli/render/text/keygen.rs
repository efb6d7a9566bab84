//! The result of `keygen`: the recipient alone, so that a script can use it.

use super::Text;
use crate::cli::render::json::keygen::KeygenReport;

impl Text for KeygenReport {
    fn text(&self) -> String {
        self.recipient.clone()
    }
}

//! Progress: a bar on a terminal, and otherwise a log line now and then.

use super::console::{Console, stderr_is_terminal};
use crate::cli::render::{rate, ratio, size};
use crate::progress::{Progress, Silent};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The interval of log lines.
const LOG_INTERVAL: Duration = Duration::from_secs(30);

/// The interval at which the bar is redrawn when nothing arrives.
const REDRAW_INTERVAL: Duration = Duration::from_millis(500);

/// The suitable progress display: nothing when quiet, a bar on a terminal, otherwise log lines.
#[must_use]
pub(crate) fn progress(console: &Console, quiet: bool, doing: &'static str) -> Arc<dyn Progress> {
    if quiet {
        Arc::new(Silent)
    } else if stderr_is_terminal() {
        Arc::new(Bar::new(console.clone(), doing))
    } else {
        Arc::new(LogLines::new(doing))
    }
}

/// A progress bar.
struct Bar {
    console: Console,
    shown: ProgressBar,
    archive: Arc<AtomicU64>,
}

impl Bar {
    fn new(console: Console, doing: &'static str) -> Self {
        let shown = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_message(doing);
        Self { console, shown, archive: Arc::default() }
    }

    fn style(&self, total: Option<u64>) -> ProgressStyle {
        let template = if total.is_some() {
            "{msg} {wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} eta {eta}{ratio}"
        } else {
            "{msg} {spinner} {binary_bytes} {binary_bytes_per_sec}{ratio}"
        };
        let archive = Arc::clone(&self.archive);
        let write_ratio = move |state: &ProgressState, writer: &mut dyn std::fmt::Write| {
            let _ = writer.write_str(&ratio_so_far(" ", state.pos(), archive.load(Ordering::Relaxed)));
        };
        ProgressStyle::with_template(template)
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .with_key("ratio", write_ratio)
    }
}

impl Progress for Bar {
    fn start(&self, total: Option<u64>) {
        self.shown.set_style(self.style(total));
        if let Some(total) = total {
            self.shown.set_length(total);
        }
        self.shown.reset();
        // Redraws while the stream is stalled, so that the falling rate shows.
        self.shown.enable_steady_tick(REDRAW_INTERVAL);
        self.console.set_bar(Some(self.shown.clone()));
    }

    fn advance(&self, snapshot: u64, archive: u64) {
        let (snapshot, archive) = what_goes_through(snapshot, archive);
        self.archive.store(archive, Ordering::Relaxed);
        self.shown.set_position(snapshot);
    }

    fn finish(&self) {
        self.shown.finish_and_clear();
        self.console.set_bar(None);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.finish();
    }
}

/// Logs one line every [`LOG_INTERVAL`].
struct LogLines {
    doing: &'static str,
    state: Mutex<LogState>,
}

struct LogState {
    total: Option<u64>,
    began: Instant,
    said: Instant,
}

impl LogLines {
    fn new(doing: &'static str) -> Self {
        let now = Instant::now();
        Self { doing, state: Mutex::new(LogState { total: None, began: now, said: now }) }
    }
}

impl Progress for LogLines {
    fn start(&self, total: Option<u64>) {
        let now = Instant::now();
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) =
            LogState { total, began: now, said: now };
    }

    fn advance(&self, snapshot: u64, archive: u64) {
        let (snapshot, archive) = what_goes_through(snapshot, archive);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.said.elapsed() < LOG_INTERVAL {
            return;
        }
        state.said = Instant::now();
        tracing::info!("{}", log_line(self.doing, snapshot, archive, state.total, state.began.elapsed()));
    }

    fn finish(&self) {}
}

/// One line with bytes, total, rate, time left and ratio.
fn log_line(doing: &str, snapshot: u64, archive: u64, total: Option<u64>, elapsed: Duration) -> String {
    let mut line = format!("{doing}: {}", size(snapshot));
    if let Some(total) = total.filter(|&total| total > 0) {
        let _ = write!(line, " of {} ({} %)", size(total), snapshot.saturating_mul(100) / total);
    }
    let _ = write!(line, ", {}", rate(snapshot, elapsed));
    if let Some(left) = total.and_then(|total| time_left(snapshot, total, elapsed)) {
        let _ = write!(line, ", {} s left", left.as_secs());
    }
    line + &ratio_so_far(", ", snapshot, archive)
}

/// Which counts to show: without a key an archive yields no snapshot bytes, so its own bytes are shown.
fn what_goes_through(snapshot: u64, archive: u64) -> (u64, u64) {
    if snapshot == 0 { (archive, 0) } else { (snapshot, archive) }
}

/// The ratio after a separator; empty where it is unknown, as reading counts only one of the two.
fn ratio_so_far(separator: &str, snapshot: u64, archive: u64) -> String {
    if archive == 0 {
        return String::new();
    }
    format!("{separator}ratio {:.2}", ratio(snapshot, archive))
}

/// The time that the rest takes at the rate so far.
fn time_left(done: u64, total: u64, elapsed: Duration) -> Option<Duration> {
    let rest = u128::from(total.saturating_sub(done));
    let milliseconds = elapsed.as_millis().checked_mul(rest)?.checked_div(u128::from(done))?;
    u64::try_from(milliseconds).ok().map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_line_says_how_far_how_fast_and_how_long() {
        let line = log_line("sealing", 300 << 20, 100 << 20, Some(1200 << 20), Duration::from_secs(30));
        assert_eq!(line, "sealing: 300.0 MiB of 1.2 GiB (25 %), 10.0 MiB/s, 90 s left, ratio 3.00");
        let line = log_line("sealing", 0, 0, None, Duration::ZERO);
        assert_eq!(line, "sealing: 0 B, 0 B/s");
        let line = log_line("restoring", 300 << 20, 0, None, Duration::from_secs(30));
        assert_eq!(line, "restoring: 300.0 MiB, 10.0 MiB/s");
    }

    #[test]
    fn log_lines_take_anything() {
        let lines = LogLines::new("verifying");
        lines.advance(1, 1);
        lines.start(Some(0));
        lines.advance(u64::MAX, 0);
        lines.finish();
    }
}

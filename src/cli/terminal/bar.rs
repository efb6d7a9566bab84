//! Progress: a bar on a terminal, and otherwise a log line now and then.

use super::console::Console;
use super::style::Signs;
use crate::cli::render::{clock_time, rate, ratio, size};
use crate::progress::{Progress, Silent};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use rustix::termios::tcgetwinsize;
use std::fmt::Write as _;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The interval of log lines.
const LOG_INTERVAL: Duration = Duration::from_secs(30);

/// The interval at which the bar is redrawn when nothing arrives.
const REDRAW_INTERVAL: Duration = Duration::from_millis(500);

/// Columns of a terminal that does not tell how many it has.
const COLUMNS: usize = 80;

/// Bytes of an archive from which on the ratio is shown.
const RATIO_FROM: u64 = 16 << 20;

/// The fewest columns of a bar that shows anything.
const BAR_MINIMUM: usize = 8;

/// The suitable progress display: nothing when quiet, a bar on a terminal, otherwise log lines.
#[must_use]
pub(crate) fn progress(console: &Console, quiet: bool, doing: &'static str) -> Arc<dyn Progress> {
    if quiet {
        Arc::new(Silent)
    } else if console.has_bar() {
        Arc::new(Bar::new(console.clone(), doing))
    } else {
        Arc::new(LogLines::new(doing))
    }
}

/// A progress bar.
struct Bar {
    console: Console,
    doing: &'static str,
    began: Instant,
    shown: ProgressBar,
    archive: Arc<AtomicU64>,
}

impl Bar {
    fn new(console: Console, doing: &'static str) -> Self {
        let shown = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        Self { console, doing, began: Instant::now(), shown, archive: Arc::default() }
    }

    fn style(&self) -> ProgressStyle {
        let (doing, signs, archive) = (self.doing, self.console.style().signs(), Arc::clone(&self.archive));
        let write_line = move |state: &ProgressState, writer: &mut dyn std::fmt::Write| {
            let moment = Moment {
                doing,
                snapshot: state.pos(),
                archive: archive.load(Ordering::Relaxed),
                total: state.len().filter(|&total| total > 0),
                elapsed: state.elapsed(),
            };
            let _ = writer.write_str(&moment.line(columns(), signs));
        };
        ProgressStyle::with_template("{line}")
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .with_key("line", write_line)
    }
}

/// Columns of the terminal behind standard error; its user may change them at any time.
fn columns() -> usize {
    let size = tcgetwinsize(io::stderr());
    size.ok().map(|size| usize::from(size.ws_col)).filter(|&columns| columns > 0).unwrap_or(COLUMNS)
}

impl Progress for Bar {
    fn start(&self, total: Option<u64>) {
        self.shown.set_style(self.style());
        if let Some(total) = total {
            self.shown.set_length(total);
        }
        self.shown.reset();
        // Redraws while the stream is stalled, so that the time goes on and the rate falls.
        self.shown.enable_steady_tick(REDRAW_INTERVAL);
        self.console.set_bar(Some(self.shown.clone()));
    }

    fn advance(&self, snapshot: u64, archive: u64) {
        let (snapshot, archive) = what_goes_through(snapshot, archive);
        self.archive.store(archive, Ordering::Relaxed);
        self.shown.set_position(snapshot);
    }

    fn step(&self, step: &str) {
        let seconds = self.began.elapsed().as_secs_f64();
        self.console.write(&format!("{seconds:7.1} s  {step}\n"));
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

/// What the bar shows at one moment.
struct Moment {
    doing: &'static str,
    snapshot: u64,
    archive: u64,
    total: Option<u64>,
    elapsed: Duration,
}

impl Moment {
    /// The line for a terminal of so many columns: as many facts as fit in one row, and a bar in the room that they leave.
    /// The last column stays free, because some terminals go on to the next row once it is used.
    fn line(&self, columns: usize, signs: Signs) -> String {
        let room = columns.saturating_sub(1);
        let layouts = self.layouts();
        let least = if self.total.is_some() { BAR_MINIMUM + 1 } else { 0 };
        let fitting = layouts.iter().find(|(before, after)| width(before) + width(after) + least <= room);
        if let Some((before, after)) = fitting {
            let bar = self.bar(room - width(before) - width(after), signs);
            return format!("{before}{bar}{after}");
        }
        let shortest = layouts.last().map(|(before, after)| format!("{before}{after}")).unwrap_or_default();
        shortest.chars().take(room).collect()
    }

    /// The facts before the bar and after it, all of them first, then ever fewer.
    fn layouts(&self) -> Vec<(String, String)> {
        let Self { doing, snapshot, archive, total, elapsed } = self;
        let before = match total {
            Some(total) => format!("{doing} {:>3}%", percent(*snapshot, *total)),
            None => (*doing).to_owned(),
        };
        let done = size(*snapshot);
        let done_of_all = total.map_or_else(|| done.clone(), |total| format!("{done}/{}", size(total)));
        let (rate, elapsed_shown) = (rate(*snapshot, *elapsed), clock_time(*elapsed));
        let left = total.and_then(|total| time_left(*snapshot, total, *elapsed));
        let left = left.map(|left| format!(" eta {}", clock_time(left))).unwrap_or_default();
        let ratio = ratio_so_far(" ", *snapshot, *archive);
        [
            format!(" {done_of_all} {rate} {elapsed_shown}{left}{ratio}"),
            format!(" {done_of_all} {rate} {elapsed_shown}{left}"),
            format!(" {done_of_all} {elapsed_shown}{left}"),
            format!(" {done} {elapsed_shown}{left}"),
            format!(" {done} {elapsed_shown}"),
            format!(" {elapsed_shown}"),
        ]
        .map(|after| (before.clone(), after))
        .into()
    }

    /// A space and the bar, both in `room` columns; nothing where the total is unknown.
    fn bar(&self, room: usize, signs: Signs) -> String {
        let Some(total) = self.total else { return String::new() };
        let columns = room.saturating_sub(1);
        let filled = |columns: usize| {
            let filled = u128::from(self.snapshot.min(total)) * columns as u128 / u128::from(total.max(1));
            usize::try_from(filled).unwrap_or(columns)
        };
        match signs {
            Signs::Unicode => {
                let filled = filled(columns);
                format!(" {}{}", "█".repeat(filled), "░".repeat(columns - filled))
            }
            Signs::None | Signs::Ascii => {
                let columns = columns.saturating_sub(2);
                let filled = filled(columns);
                format!(" [{}{}]", "#".repeat(filled), "-".repeat(columns - filled))
            }
        }
    }
}

/// Columns of a text that has no wide characters.
fn width(text: &str) -> usize {
    text.chars().count()
}

fn percent(done: u64, total: u64) -> u64 {
    let percent = u128::from(done) * 100 / u128::from(total.max(1));
    u64::try_from(percent.min(100)).unwrap_or(100)
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

    fn step(&self, step: &str) {
        tracing::debug!("{step}");
    }

    fn finish(&self) {}
}

/// One line with bytes, total, rate, time left and ratio.
fn log_line(doing: &str, snapshot: u64, archive: u64, total: Option<u64>, elapsed: Duration) -> String {
    let mut line = format!("{doing}: {}", size(snapshot));
    if let Some(total) = total.filter(|&total| total > 0) {
        let _ = write!(line, " of {} ({} %)", size(total), percent(snapshot, total));
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

/// The ratio after a separator; empty where it is unknown, as reading counts only one of the two, and near the beginning,
/// where what the queues hold would distort it.
fn ratio_so_far(separator: &str, snapshot: u64, archive: u64) -> String {
    if archive < RATIO_FROM {
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

    const MIB: u64 = 1 << 20;

    fn moment(snapshot: u64, total: Option<u64>, elapsed: u64) -> Moment {
        let (archive, elapsed) = (snapshot / 5, Duration::from_secs(elapsed));
        Moment { doing: "sealing", snapshot, archive, total, elapsed }
    }

    #[test]
    fn a_bar_shows_as_much_as_fits() {
        let of_all = |columns| moment(120 * MIB, Some(1200 * MIB), 12).line(columns, Signs::Unicode);
        assert_eq!(
            of_all(100),
            "sealing  10% ███░░░░░░░░░░░░░░░░░░░░░░░░░░░░░ 120.0 MiB/1.2 GiB 10.0 MiB/s 0:12 eta 1:48 ratio 5.00"
        );
        assert_eq!(
            of_all(80),
            "sealing  10% █░░░░░░░░░░░ 120.0 MiB/1.2 GiB 10.0 MiB/s 0:12 eta 1:48 ratio 5.00"
        );
        assert_eq!(of_all(40), "sealing  10% █░░░░░░░░░░ 120.0 MiB 0:12");
        assert_eq!(of_all(20), "sealing  10% 0:12");
        assert_eq!(of_all(5), "seal");
        assert_eq!(of_all(0), "");
    }

    /// Before the first byte, past the promised end, after days, and with a total that is unknown.
    #[test]
    fn a_bar_fits_its_row_whatever_it_shows() {
        let never = Duration::from_secs(u64::MAX / 1000);
        for total in [None, Some(1), Some(1023 * MIB), Some(u64::MAX)] {
            for snapshot in [0, 1023 * MIB, u64::MAX] {
                for elapsed in [Duration::ZERO, Duration::from_secs(86_399), never] {
                    for (columns, signs) in (0..200).map(|columns| (columns, Signs::Ascii)) {
                        let at = Moment { doing: "restoring", snapshot, archive: 1, total, elapsed };
                        let line = at.line(columns, signs);
                        assert!(width(&line) < columns.max(1), "{columns}: {line}");
                    }
                }
            }
        }
        assert_eq!(moment(0, Some(MIB), 0).line(40, Signs::Ascii), "sealing   0% [-------] 0 B/1.0 MiB 0:00");
        assert_eq!(moment(MIB, None, 2).line(40, Signs::Ascii), "sealing 1.0 MiB 512.0 KiB/s 0:02");
    }

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

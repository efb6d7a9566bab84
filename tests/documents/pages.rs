//! The manual pages as a terminal of any width shows them.

use harness::{can, run};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Columns of terminals, narrow and wide.
const WIDTHS: [usize; 6] = [60, 66, 72, 80, 90, 100];
/// So wide that no word is at the end of a line.
const ENDLESS: usize = 3000;

fn pages() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("man");
    let pages = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut pages: Vec<PathBuf> = pages.collect();
    pages.sort();
    pages
}

/// The words of a page shown at `width`: without header and footer, and without the rules of tables.
fn words(page: &Path, width: usize) -> Vec<String> {
    let groff = ["-t", "-man", "-Kutf8", "-Tutf8", "-P-cbou"];
    let widths = ["LL", "LT"].map(|register| format!("-r{register}={width}n"));
    let shown = run(Command::new("groff").args(groff).args(widths).arg(page));
    let lines: Vec<&str> = shown.trim().lines().collect();
    let lines = &lines[1..lines.len() - 1];
    let words = lines.iter().flat_map(|line| line.split_whitespace());
    words.filter(|word| !word.starts_with('\u{2500}')).map(str::to_owned).collect()
}

/// Whether `word` may break behind `beginning`: at a hyphen of prose.
fn may_break(word: &str, beginning: &str) -> bool {
    let prose =
        |character: char| character.is_alphabetic() || "-\u{2010}.,:;()\u{201c}\u{201d}".contains(character);
    beginning.ends_with(['-', '\u{2010}'])
        && word.starts_with(beginning)
        && word.chars().all(prose)
        && !word.starts_with('-')
        && !word.contains("etcd-seal")
}

/// A flag, a path or a command that is broken at the end of a line is not what can be typed.
#[test]
fn no_flag_path_or_command_is_broken_at_the_end_of_a_line() {
    if !can("groff", &["-v"]) {
        return;
    }
    for page in pages() {
        let whole = words(&page, ENDLESS);
        assert!(whole.len() > 100, "{}", page.display());
        for width in WIDTHS {
            let shown = words(&page, width);
            let mut shown = shown.iter();
            for word in &whole {
                let mut found = shown.next().unwrap().clone();
                while found != *word {
                    let page = page.display();
                    assert!(may_break(word, &found), "{page} at {width} columns: {word} is broken: {found}");
                    found += shown.next().unwrap();
                }
            }
        }
    }
}

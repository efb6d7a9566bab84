//! The scenarios in `tests/scenarios`: each file is a sentence and one or more commands that must be refused, with their exit
//! code, kind and words. tests/README.md describes the format.

use harness::refusal::{IDENTITY, RECIPIENT, Scene};
use std::fs;
use std::path::{Path, PathBuf};

/// Set to 1: each file is written again with what the program says now.
const WRITE: &str = "ETCD_SEAL_WRITE_SCENARIOS";

fn files() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let entries = fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} has no scenarios", directory.display());
    files
}

#[test]
fn every_scenario_plays_as_it_is_written() {
    let mut wrong = Vec::new();
    for file in files() {
        let written = fs::read_to_string(&file).unwrap();
        let Some(scene) = Scene::new() else { return };
        match play(scene, &written) {
            Ok(played) if played == written => {}
            Ok(played) if std::env::var_os(WRITE).is_some() => fs::write(&file, played).unwrap(),
            Ok(played) => wrong.push(format!("{}: it plays as\n{played}", file.display())),
            Err(error) => wrong.push(format!("{}: {error}", file.display())),
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// The text of the file as it would have to be.
fn play(mut scene: Scene, written: &str) -> Result<String, String> {
    let mut blocks = written.trim_end().split("\n\n");
    let sentence = blocks.next().unwrap_or_default();
    if !sentence.ends_with('.') || sentence.contains("\n$") {
        return Err("it does not begin with a sentence and an empty line".to_owned());
    }
    let mut played = format!("{sentence}\n");
    for block in blocks {
        let (first, rest) = block.split_once('\n').unwrap_or((block, ""));
        let told = if let Some(name) = first.strip_prefix("> ") {
            let content = if rest.is_empty() { String::new() } else { format!("{rest}\n") };
            scene.sandbox.write(name, meant(&content));
            rest.to_owned()
        } else {
            let command = first.strip_prefix("$ ").ok_or("a block begins with $ or >")?;
            attempt(&mut scene, command, rest)?
        };
        played += &["\n", first, "\n", &told].concat();
        played.truncate(played.trim_end().len());
        played.push('\n');
    }
    if played.contains("\n$ ") { Ok(played) } else { Err("it has no command".to_owned()) }
}

/// What the words that stand for others mean.
fn meant(words: &str) -> String {
    words.replace("RECIPIENT", RECIPIENT).replace("IDENTITY", IDENTITY)
}

/// Runs the command, which must end with the code and kind that `expected` begins with; what was told of that.
fn attempt(scene: &mut Scene, command: &str, expected: &str) -> Result<String, String> {
    let (code, kind) =
        expected.lines().next().and_then(|line| line.split_once(' ')).ok_or("no code and kind")?;
    let code = code.parse().map_err(|_| format!("{code} is no exit code"))?;
    let (variables, words) = command.split_once("etcd-seal").ok_or("it does not run etcd-seal")?;
    let (words, input) = words.split_once(" <").unwrap_or((words, ""));
    let input = if input.is_empty() { Vec::new() } else { scene.sandbox.read(input) };
    let mut attempt = scene.attempt(&meant(words)).input(input).never_showing(&IDENTITY[..20]);
    for variable in variables.split_whitespace() {
        let (name, value) = variable.split_once('=').ok_or("a variable has no value")?;
        attempt = attempt.env(name, meant(value));
    }
    if command.contains("hunter2") {
        attempt = attempt.never_showing("hunter2");
    }
    attempt.refused(code, kind);
    // Without the command, which the file has as it is typed.
    let told = scene.try_told()?.split_once('\n').ok_or("nothing was told")?.1.trim_end().to_owned();
    scene.forget();
    Ok(told)
}

//! What hints propose, tried: each command runs with the real tool, and what comes out of it is taken.

use harness::program::Outcome;
use harness::refusal::{RECIPIENT, Scene};
use harness::skip::can;

/// The words of a hint that are commands, in backticks.
fn commands(hint: &str) -> Vec<&str> {
    hint.split('`').skip(1).step_by(2).collect()
}

fn hint(outcome: &Outcome) -> &str {
    outcome.stderr.split_once("hint: ").unwrap_or_else(|| panic!("no hint: {}", outcome.stderr)).1.trim()
}

/// Runs `script` where the scene plays.
fn shell(scene: &Scene, script: &str) -> Outcome {
    scene.sandbox.program("sh").args(["-ec", script]).succeed()
}

fn words(command: &str) -> impl Iterator<Item = &str> {
    command.split(' ')
}

#[test]
fn every_way_to_unpack_leads_to_a_snapshot_that_is_taken() {
    let Some(scene) = Scene::new() else { return };
    for (pack, ending, tool) in
        [("xz -k", "xz", "xz"), ("bzip2 -k", "bz2", "bzip2"), ("tar -cf snapshot.db.tar", "tar", "tar")]
    {
        if !can(tool, &["--version"]) {
            continue;
        }
        shell(&scene, &format!("{pack} snapshot.db && mv snapshot.db original"));
        let packed = format!("snapshot.db.{ending}");
        let refused =
            scene.sandbox.seal(["save", "out/x.age", "--from", &packed, "-r", RECIPIENT]).run().ends_with(13);
        let told = hint(&refused);
        let unpack = told.strip_prefix("unpack it with ").and_then(|rest| rest.split(',').next());
        let unpack = unpack.unwrap_or_else(|| panic!("{told}"));
        shell(&scene, &format!("{unpack} {packed} && cmp snapshot.db original && rm -f {packed}"));
        scene.seal(["save", &format!("out/{ending}.age"), "--from", "snapshot.db", "-r", RECIPIENT]);
    }
}

#[test]
fn the_way_from_an_identity_to_its_recipient_is_taken() {
    let Some(scene) = Scene::new() else { return };
    if !can("age-keygen", &["--version"]) {
        return;
    }
    let save = ["save", "out/x.age", "--from", "snapshot.db", "-R"];
    let refused = scene.sandbox.seal(save).arg("key.txt").run().ends_with(2);
    let convert = commands(hint(&refused))[0];
    shell(&scene, &format!("{convert} key.txt > recipients.txt"));
    scene.sandbox.seal(save).arg("recipients.txt").succeed();
}

#[test]
fn the_command_that_mends_a_sidecar_mends_it() {
    let Some(scene) = Scene::new() else { return };
    scene.sandbox.write("a.age.sha256", "no digest\n");
    let refused = scene.sandbox.seal(["verify", "a.age", "-i", "key.txt"]).run().ends_with(13);
    let mend = hint(&refused).strip_prefix("write the sidecar anew: ").unwrap().to_owned();
    shell(&scene, &mend);
    let verified = scene.seal(["verify", "a.age"]);
    assert!(verified.text().contains("equals its sidecar"), "{}", verified.text());
}

#[test]
fn a_key_is_made_and_used_as_the_hint_without_recipient_says() {
    let Some(scene) = Scene::new() else { return };
    let refused = scene.sandbox.seal(["save", "out/x.age", "--from", "snapshot.db"]).run().ends_with(2);
    let keygen = commands(hint(&refused))[0].replace("key.txt", "new.txt");
    let made = scene.sandbox.seal(words(&keygen).skip(1)).succeed();
    scene.seal(["save", "out/x.age", "--from", "snapshot.db", "-r", made.text().trim()]);
    scene.seal(["verify", "out/x.age", "-i", "new.txt"]);
}

#[test]
fn a_wrong_identity_leads_to_what_tells_the_recipients() {
    let Some(scene) = Scene::new() else { return };
    let refused = scene.sandbox.seal(["verify", "a.age", "-i", "other.txt"]).run().ends_with(12);
    let told = hint(&refused);
    let info = commands(told)[0];
    scene.sandbox.seal(words(info).skip(1)).arg("a.age").succeed();
    assert!(told.starts_with("pass every identity there is, each with an -i of its own"), "{told}");
    scene.seal(["verify", "a.age", "-i", "other.txt", "-i", "key.txt"]);
}

//! Names the right command or flag where the command line has one of another tool, or one that a tired operator guesses.

/// A flag that this program does not have, in the commands that it is tried with, and what to use in its place.
struct Flag(Commands, Wrong, Right);

/// Commands, with spaces between them; any where there are none.
type Commands = &'static str;
/// What is not known here, with spaces between the words.
type Wrong = &'static str;
/// What to use in its place.
type Right = &'static str;

/// Flags of etcdctl, etcdutl, curl, kube-apiserver, age, restic and openssl, and guesses.
const FLAGS: &[Flag] = &[
    Flag(
        "save",
        "-o --output --output-file --out -f --file",
        "the destination has no flag: etcd-seal save DEST, a directory, a new file, or -",
    ),
    Flag("save", "--snapshot --from-snapshot --input --from-file", "--from FILE seals an existing snapshot"),
    Flag("save", "-i --identity", "save needs no key, only recipients: -r age1…, or -R FILE"),
    Flag(
        "save",
        "-k",
        "--cacert FILE verifies the server, --insecure-skip-tls-verify accepts any; save needs no key of age, only \
         recipients: -r age1…, or -R FILE",
    ),
    Flag(
        "info verify restore drill",
        "-r -R --recipient --recipients-file",
        "-i FILE names the identity that opens archives; recipients only seal",
    ),
    Flag(
        "restore drill",
        "--from --snapshot --input",
        "an archive is the argument ARCHIVE; --from-snapshot FILE takes a plain snapshot",
    ),
    Flag(
        "restore",
        "--dir --datadir --data --target",
        "--data-dir DIR makes a member, -o FILE writes the snapshot",
    ),
    Flag(
        "save",
        "--ca-file --ca --ca-cert --trusted-ca-file --etcd-cafile --tlscacert",
        "--cacert FILE names the authority",
    ),
    Flag(
        "save",
        "--cert-file --client-cert --etcd-certfile --tlscert -E",
        "--cert FILE names the client certificate",
    ),
    Flag(
        "save",
        "--key-file --client-key --etcd-keyfile --tlskey",
        "--key FILE names the private key of --cert",
    ),
    Flag(
        "save",
        "--endpoint --host --hosts --server --etcd-servers -H",
        "--endpoints HOST:PORT,… names the members",
    ),
    Flag(
        "save",
        "--insecure --skip-verify --insecure-skip-verify --no-verify",
        "--cacert FILE verifies the server; --insecure-skip-tls-verify accepts any",
    ),
    Flag(
        "save",
        "--recipients --to --encrypt --encrypt-to -e --public-key",
        "-r age1… names a recipient, -R FILE a file of them",
    ),
    Flag(
        "",
        "--identity-file --private-key --identities --decrypt -k --secret-key --key-file --key",
        "-i FILE names the identity that opens archives",
    ),
    Flag(
        "",
        "--password-file --passphrase-file",
        "-p reads the passphrase from the file that ETCD_SEAL_PASSPHRASE_FILE names",
    ),
    Flag("", "-w --write-out --format", "--json prints JSON"),
    Flag("", "--debug --log-level", "-v tells more"),
    Flag("save", "--overwrite --replace", "--force replaces an archive"),
    Flag(
        "save",
        "--compress --compression --compression-level --zstd",
        "archives are always compressed; --level N from 1 to 19 says how hard",
    ),
    Flag(
        "save",
        "--timeout",
        "--stall-timeout bounds a stream that stands still, --command-timeout all of it",
    ),
];

/// Commands that this program does not have, and what to use in their place.
const COMMANDS: &[(Wrong, Right)] = &[
    ("backup snapshot dump seal export create encrypt archive", "etcd-seal save DEST makes a backup"),
    (
        "list ls snapshots",
        "etcd-seal verify DIR/*.age checks all archives of a directory, etcd-seal info DIR/*.age describes them",
    ),
    ("status show inspect describe stat cat", "etcd-seal info ARCHIVE describes an archive"),
    ("check validate scrub", "etcd-seal verify ARCHIVE checks an archive"),
    (
        "decrypt open unseal extract recover",
        "etcd-seal restore ARCHIVE -i KEY -o FILE gives the snapshot back, with --data-dir DIR a member",
    ),
    ("prove test try", "etcd-seal drill ARCHIVE -i KEY starts an etcd on an archive"),
    ("init key keys genkey generate-key gen-key age-keygen", "etcd-seal keygen -o FILE makes a key"),
    ("man completion completions", "etcd-seal generate makes manual pages and completions"),
];

/// Arguments that exclude each other, and what to leave out: the command, the first of them, and the way out.
const CONFLICTS: &[(&str, &str, &str)] = &[
    ("save", "--from", "with --from no etcd is asked: leave the flags of the connection out"),
    (
        "restore",
        "--from-snapshot",
        "an archive is the argument ARCHIVE; --from-snapshot FILE takes a plain snapshot in its place, for --data-dir or \
         --output-dir",
    ),
];

/// What to leave out of arguments of `command` that exclude each other; `argument` is one of them as clap shows it.
pub(crate) fn for_conflict(command: &str, argument: &str) -> Option<&'static str> {
    let fits = |flag: &str| argument.split(' ').next() == Some(flag);
    CONFLICTS.iter().find(|(name, flag, _)| *name == command && fits(flag)).map(|(.., right)| *right)
}

/// What to add where `command` lacks one of several arguments.
pub(crate) fn for_missing(command: &str, shown: &str) -> Option<&'static str> {
    (command == "restore" && shown.contains("--data-dir")).then_some(
        "-o FILE writes the snapshot, --data-dir DIR makes a member, --output-dir DIR those of a whole cluster",
    )
}

/// The flag that `word` was to be: one that has a single dash, or a dash that a word processor made of it.
pub(crate) fn with_two_dashes(word: &str) -> Option<String> {
    let dashes = |first: char| matches!(first, '-' | '\u{2010}'..='\u{2015}' | '\u{2212}');
    let name = word.trim_start_matches(dashes);
    let is_plain = word.starts_with("--") || !word.starts_with(dashes);
    let is_long = name.chars().count() > 1 && name.starts_with(|first: char| first.is_ascii_lowercase());
    (!is_plain && is_long).then(|| format!("--{}", name.split('=').next().unwrap_or(name)))
}

/// What to use in place of `flag`, which `command` does not have.
pub(crate) fn for_flag(command: &str, flag: &str) -> Option<&'static str> {
    let fits = |Flag(commands, wrong, _): &&Flag| {
        has(wrong, flag) && (commands.is_empty() || has(commands, command))
    };
    FLAGS.iter().find(fits).map(|Flag(_, _, right)| *right)
}

/// What to use in place of the command `name`; `next` is the word after it, as in `snapshot restore`.
pub(crate) fn for_command(name: &str, next: Option<&str>) -> Option<&'static str> {
    let name = match (name, next) {
        ("snapshot", Some("restore")) => "recover",
        ("snapshot", Some("status")) => "status",
        _ => name,
    };
    COMMANDS.iter().find(|(wrong, _)| has(wrong, name)).map(|(_, right)| *right)
}

fn has(words: &str, wanted: &str) -> bool {
    words.split(' ').any(|word| word == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::command_line::command;

    #[test]
    fn what_is_called_wrong_does_not_exist_and_what_is_called_right_does() {
        let mut program = command();
        program.build();
        let exists = |name: &str, flag: &str| {
            let mut arguments =
                program.find_subcommand(name).into_iter().flat_map(clap::Command::get_arguments);
            arguments.any(|argument| match flag.strip_prefix("--") {
                Some(long) => argument.get_long() == Some(long),
                None => argument.get_short().map(|short| format!("-{short}")).as_deref() == Some(flag),
            })
        };
        let all: Vec<&str> = program.get_subcommands().map(clap::Command::get_name).collect();
        for Flag(commands, wrong, right) in FLAGS {
            let named = if commands.is_empty() { all.clone() } else { commands.split(' ').collect() };
            for flag in wrong.split(' ') {
                assert!(named.iter().any(|name| !exists(name, flag)), "{flag} exists");
            }
            let mut words =
                right.split([' ', ',', ';']).filter(|word| word.len() > 1 && word.starts_with('-'));
            assert!(words.all(|flag| all.iter().any(|name| exists(name, flag))), "{right}");
        }
        for (command, flag, right) in CONFLICTS {
            assert!(exists(command, flag) && right.contains(flag), "{right}");
        }
        for (wrong, right) in COMMANDS {
            assert!(wrong.split(' ').all(|name| program.find_subcommand(name).is_none()), "{wrong:?}");
            let named = right.split("etcd-seal ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
            assert!(program.find_subcommand(named).is_some(), "{right}");
        }
    }

    #[test]
    fn a_flag_with_other_dashes_is_recognised() {
        for word in ["-endpoints", "-endpoints=x", "–endpoints", "—endpoints=x", "−endpoints"] {
            assert_eq!(with_two_dashes(word).as_deref(), Some("--endpoints"), "{word}");
        }
        for word in ["--endpoints", "-e", "endpoints", "-", "–", "-R", "-Rx"] {
            assert_eq!(with_two_dashes(word), None, "{word}");
        }
    }

    #[test]
    fn etcdctl_s_commands_of_two_words_are_known() {
        assert!(for_command("snapshot", Some("save")).unwrap().contains("save DEST"));
        assert!(for_command("snapshot", Some("restore")).unwrap().contains("restore ARCHIVE"));
        assert!(for_command("snapshot", Some("status")).unwrap().contains("info ARCHIVE"));
        assert_eq!((for_command("frobnicate", None), for_flag("save", "--frob")), (None, None));
        assert!(for_flag("verify", "--output").is_none() && for_flag("save", "--output").is_some());
    }
}

//! Generates the manual pages: clap's sections, and sections that clap does not know.

use crate::cli::exit::{self, Exit};
use crate::cli::settings::environment::VARIABLES;
use crate::cli::settings::setting::{flag_of, variable_of};
use crate::database::versions::{DataVersions, Release, Start};
use clap_mangen::Man;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io;

/// The parts of a page that clap does not generate.
struct Extra {
    /// The command; empty for the program's own page.
    command: &'static str,
    /// Sections of its own: the title, and each paragraph.
    sections: &'static [(&'static str, &'static [&'static str])],
    /// Each example's description and command.
    examples: &'static [(&'static str, &'static str)],
    /// Names of pages, with their sections.
    see_also: &'static [&'static str],
}

/// Why a text file has the exit status of damage.
const NO_ARCHIVES: &[&str] = &[
    "A file that is no archive, such as a text file, has exit status 13, as a damaged archive has, and not 1. Nothing tells \
     a file that never was an archive from one that was overwritten as a whole, by zeros after a crash or by the error page of a \
     server, and a job that alarms on 13 must not miss that. The error names what the file is, where its first bytes tell.",
    "Where other files lie beside the archives, name the directory, or DIR/*.age, and not DIR/*: of a directory only what ends in \
     .age is looked at.",
];

const EXTRAS: &[Extra] = &[
    Extra {
        command: "",
        sections: &[],
        examples: &[
            ("Make a key, once, away from the hosts that make backups:", "etcd-seal keygen -o key.txt"),
            (
                "Back up, for example from cron:",
                "etcd-seal save /backups/ -q -R /etc/etcd-seal/recipients --endpoints https://10.0.0.1:2379 \\\n    \
                 --cacert ca.crt --cert client.crt --key client.key",
            ),
            ("Prove that every backup can be restored:", "etcd-seal verify /backups/*.age -i key.txt"),
            (
                "Open an archive without etcd-seal; only if the last command succeeds is the snapshot whole:",
                "set -o pipefail\n\
                 age -d -i key.txt X.db.zst.age | zstd -d > snapshot.db &&\n    \
                 [ \"$(head -c -32 snapshot.db | sha256sum | cut -c1-64)\" = \\\n      \
                 \"$(tail -c 32 snapshot.db | od -An -vtx1 | tr -d ' \\n')\" ]",
            ),
        ],
        see_also: &[
            "etcd-seal-save(1)",
            "etcd-seal-info(1)",
            "etcd-seal-verify(1)",
            "etcd-seal-restore(1)",
            "etcd-seal-drill(1)",
            "etcd-seal-keygen(1)",
            "etcd-seal-archive(5)",
            "etcd-seal-compare(7)",
            "etcd-seal-deploy(7)",
            "etcd-seal-recovery(7)",
            "etcd-seal-security(7)",
            "age(1)",
            "zstd(1)",
        ],
    },
    Extra {
        command: "save",
        sections: &[("TLS", TLS)],
        examples: &[
            (
                "Into a directory, under an automatic name, readable with either of two keys:",
                "etcd-seal save /backups/ -r age1... -r 'ssh-ed25519 AAAA...'",
            ),
            (
                "From a cluster with TLS, client certificates and authentication:",
                "export ETCDCTL_ENDPOINTS=https://10.0.0.1:2379,https://10.0.0.2:2379\n\
                 export ETCDCTL_CACERT=ca.crt ETCDCTL_CERT=client.crt ETCDCTL_KEY=client.key\n\
                 etcd-seal save before-upgrade.db.zst.age -R recipients.txt --user root",
            ),
            (
                "To another host, without a local file; the result is the end of standard error:",
                "set -o pipefail\netcd-seal save - -R recipients.txt | ssh backup 'cat > etcd.db.zst.age'",
            ),
            (
                "Seal a snapshot that was taken before:",
                "etcd-seal save old.db.zst.age --from snapshot.db -R recipients.txt",
            ),
        ],
        see_also: &[
            "etcd-seal(1)",
            "etcd-seal-verify(1)",
            "etcd-seal-archive(5)",
            "etcd-seal-deploy(7)",
            "etcdctl(1)",
        ],
    },
    Extra {
        command: "info",
        sections: &[],
        examples: &[
            ("Without any key:", "etcd-seal info /backups/prod-20260101T000000Z-r1234.db.zst.age"),
            (
                "Who could open it, for a script:",
                "etcd-seal info --json -i key.txt X.db.zst.age | jq -r '.recipients[]'",
            ),
        ],
        see_also: &["etcd-seal(1)", "etcd-seal-verify(1)", "etcd-seal-archive(5)"],
    },
    Extra {
        command: "verify",
        sections: &[("FILES THAT ARE NO ARCHIVES", NO_ARCHIVES)],
        examples: &[
            ("On a host without keys: are the files what was written?", "etcd-seal verify /backups/*.age"),
            ("Everything, where the key is:", "etcd-seal verify -i key.txt /backups/*.age"),
        ],
        see_also: &["etcd-seal(1)", "etcd-seal-restore(1)", "etcd-seal-archive(5)", "sha256sum(1)"],
    },
    Extra {
        command: "restore",
        sections: &[],
        examples: &[
            (
                "The only member of a cluster, in place of the one that is there, which is moved aside:",
                "etcd-seal restore X.db.zst.age -i key.txt --data-dir /var/lib/etcd --name etcd-1 \\\n    \
                 --initial-cluster etcd-1=https://10.0.0.1:2380 \\\n    \
                 --initial-advertise-peer-urls https://10.0.0.1:2380 \\\n    \
                 --initial-cluster-token restored-2026-11-21 --owner etcd --replace",
            ),
            (
                "All members of a Kubernetes cluster, each in a directory with instructions:",
                "etcd-seal restore X.db.zst.age -i key.txt --kubernetes --output-dir members \\\n    \
                 --initial-cluster-token restored-2026-11-21 --cluster-plan \\\n    \
                 cp-1=https://10.0.0.1:2380,cp-2=https://10.0.0.2:2380,cp-3=https://10.0.0.3:2380",
            ),
            (
                "What would be done, and the ids of the members:",
                "etcd-seal restore X.db.zst.age -i key.txt --data-dir /var/lib/etcd -n",
            ),
            (
                "The snapshot, for etcdutl or k3s to make something of:",
                "etcd-seal restore X.db.zst.age -i key.txt -o snapshot.db",
            ),
            (
                "Through a pipe; what arrived counts only if both succeed:",
                "set -o pipefail\nssh backup cat X.db.zst.age | etcd-seal restore - -i key.txt -o snapshot.db",
            ),
        ],
        see_also: &[
            "etcd-seal-recovery(7)",
            "etcd-seal-deploy(7)",
            "etcd-seal(1)",
            "etcd-seal-verify(1)",
            "etcd(1)",
        ],
    },
    Extra {
        command: "drill",
        sections: &[],
        examples: &[
            (
                "Every night, on a host that has the key and an etcd, with an alert on the outcome and on its age:",
                "etcd-seal drill \"$(ls -t /backups/prod-*.age | head -n 1)\" -i key.txt -q \\\n    \
                 --metrics-file /var/lib/prometheus/node-exporter/etcd-seal-drill.prom",
            ),
            (
                "Before an upgrade: does the new etcd take the data of the old one, as a cluster of three?",
                "etcd-seal drill before-upgrade.db.zst.age -i key.txt --etcd /opt/etcd-3.6/etcd --members 3",
            ),
            (
                "The time to recovery, in milliseconds:",
                "etcd-seal drill X.db.zst.age -i key.txt --json | jq .recovery_ms",
            ),
        ],
        see_also: &[
            "etcd-seal(1)",
            "etcd-seal-verify(1)",
            "etcd-seal-restore(1)",
            "etcd-seal-recovery(7)",
            "etcd(1)",
        ],
    },
    Extra {
        command: "keygen",
        sections: &[],
        examples: &[(
            "The identity into a file, its recipient into a list:",
            "etcd-seal keygen -o key.txt >> recipients.txt",
        )],
        see_also: &["etcd-seal(1)", "etcd-seal-save(1)", "age-keygen(1)"],
    },
];

/// The shortest example of a command, of the program where `command` is empty.
pub(crate) fn shortest_example(command: &str) -> Option<&'static str> {
    let extra = EXTRAS.iter().find(|extra| extra.command == command)?;
    extra
        .examples
        .iter()
        .map(|(_, example)| *example)
        .min_by_key(|example| (example.lines().count(), example.len()))
}

/// What TLS this program speaks, on the page of the command that speaks it.
const TLS: &[&str] = &[
    "etcd-seal speaks TLS 1.2 and 1.3, with ECDHE and AES-GCM or ChaCha20-Poly1305. It takes keys of RSA with 2048 to 8192 \
     bits, of ECDSA on P-256, P-384 or P-521, and of Ed25519, and signatures with SHA-256, SHA-384 or SHA-512. It trusts \
     each certificate in --cacert as itself, and what an authority among them issued, so a self-signed certificate of a \
     server may stand there. Dates and names count in every case: the host of the endpoint must be one of the subject \
     alternative names of the member's certificate. The member decides which client certificates it takes; etcd-seal \
     shows it the one in --cert as it is, whatever its version.",
    "It does not support RSA keys of less than 2048 bits, certificates that name the server by the common name alone, \
     signatures with SHA-1, cipher suites without ECDHE, TLS 1.1 and older, and lists of revoked certificates. With \
     --insecure-skip-tls-verify it takes any certificate whose kind of key it supports.",
    "All files are PEM. It reads no DER, PKCS#12, PKCS#7 or TRUSTED CERTIFICATE of openssl, and no key under a passphrase; \
     its error names the openssl command that converts the file.",
    "A proxy in front of a member may end TLS if it passes HTTP/2 on. It need not offer h2 by ALPN.",
];

/// Commands without a page, as it would say nothing more.
const WITHOUT_PAGE: [&str; 2] = ["recovery", "version"];

/// Every page: file name and content.
pub(super) fn pages(definition: clap::Command) -> Vec<(String, String)> {
    // A page has all options; -h has not.
    let with_all = |command: clap::Command| command.mut_args(|argument| argument.hide_short_help(false));
    let mut program = with_all(definition).mut_subcommands(with_all).disable_help_subcommand(true);
    for name in WITHOUT_PAGE {
        program = program.mut_subcommand(name, |command| command.hide(true));
    }
    program.build();
    EXTRAS.iter().filter_map(|extra| page(&program, extra)).collect()
}

fn page(program: &clap::Command, extra: &Extra) -> Option<(String, String)> {
    let command = if extra.command.is_empty() { program } else { program.find_subcommand(extra.command)? };
    let name = command.get_display_name().unwrap_or("etcd-seal").to_owned();
    let mut bytes = Vec::new();
    // Writing to memory cannot fail.
    render(command, &name, &mut bytes).ok()?;
    let mut page = String::from_utf8(bytes).ok()?;
    for (title, paragraphs) in extra.sections {
        page.push_str(&section(title, paragraphs));
    }
    if extra.command == "restore" {
        page.push_str(&versions());
    }
    page.push_str(&exit_status(extra.command));
    page.push_str(&environment(command, extra.command));
    page.push_str(&examples(extra.examples));
    page.push_str(&see_also(extra.see_also));
    Some((format!("{name}.1"), page))
}

/// What keeps roff from breaking words, which may be flags: before the title, and after it.
const NO_HYPHENATION: (&[u8], &[u8]) = (b".nr HY 0\n", b".nh\n");

fn render(command: &clap::Command, name: &str, bytes: &mut Vec<u8>) -> io::Result<()> {
    let man = Man::new(command.clone())
        .title(name.to_uppercase())
        .source(concat!("etcd-seal ", env!("CARGO_PKG_VERSION")))
        .manual("etcd-seal manual");
    bytes.extend_from_slice(NO_HYPHENATION.0);
    man.render_title(bytes)?;
    bytes.extend_from_slice(NO_HYPHENATION.1);
    man.render_name_section(bytes)?;
    bytes.extend_from_slice(synopsis(command).as_bytes());
    man.render_description_section(bytes)?;
    man.render_options_section(bytes)?;
    if command.get_subcommands().any(|command| !command.is_hide_set()) {
        man.render_subcommands_section(bytes)?;
    }
    Ok(())
}

/// clap's usage line, as its own synopsis for pages lists every flag without its value.
fn synopsis(command: &clap::Command) -> String {
    let usage = command.clone().render_usage().to_string();
    let usage = usage.strip_prefix("Usage: ").unwrap_or(&usage);
    let name = command.get_bin_name().unwrap_or("etcd-seal");
    let rest = usage.strip_prefix(name).unwrap_or(usage);
    format!(".SH SYNOPSIS\n\\fB{}\\fR{}\n", escaped(name), escaped(rest))
}

fn section(title: &str, paragraphs: &[&str]) -> String {
    let paragraphs: Vec<String> = paragraphs.iter().map(|paragraph| escaped(paragraph)).collect();
    format!(".SH {title}\n{}\n", paragraphs.join("\n.PP\n"))
}

/// The table of exit codes on the program's own page; what it says in short on that of a command.
fn exit_status(command: &str) -> String {
    let mut section = String::from(".SH \"EXIT STATUS\"\n");
    if !command.is_empty() {
        let short = |meaning: &'static str| meaning.split([';', ':', ',']).next().unwrap_or(meaning);
        let codes = exit::TABLE.iter().filter(|(exit, _)| *exit != Exit::Locked);
        let codes: Vec<String> =
            codes.map(|(exit, meaning)| format!("{}: {}", exit.code(), short(meaning))).collect();
        let codes = escaped(&codes.join("; "));
        let _ = writeln!(section, "{codes}. The table in {} says more.", escaped("etcd-seal(1)"));
        return section;
    }
    for (exit, meaning) in exit::TABLE {
        item(&mut section, &exit.code().to_string(), &format!("{meaning}."));
    }
    let _ = write!(section, ".PP\n{}\n", escaped(exit::WITHOUT_CODE));
    section
}

/// The minor numbers of the releases in the table of versions.
const MINORS: std::ops::RangeInclusive<u64> = 4..=8;

/// The section on the releases of etcd that start on data.
fn versions() -> String {
    let table = versions_table().join("\n");
    let [before, after] = VERSIONS.map(escaped);
    format!(".SH \"DATA AND VERSIONS\"\n{before}\n.PP\n.RS 4\n.nf\n{table}\n.fi\n.RE\n.PP\n{after}\n")
}

/// What each release of etcd does with data of each other.
fn versions_table() -> Vec<String> {
    let row = |first: &str, cells: Vec<String>| {
        let cells: Vec<String> = cells.iter().map(|cell| format!("{cell:<11}")).collect();
        format!("{first:<9}{}", cells.concat().trim_end())
    };
    let releases = || MINORS.map(|minor| Release { major: 3, minor });
    let titles = row("data of", releases().map(|etcd| format!("etcd {etcd}")).collect());
    let rows = releases().map(|data| {
        let versions = DataVersions { cluster: Some(data), ..DataVersions::default() };
        let cells = releases().map(|etcd| match versions.start(etcd) {
            Start::Starts => "starts",
            Start::Unchecked(_) => "unchecked",
            Start::Refuses(_) | Start::RefusesDowngrade(_) => "refuses",
        });
        row(&data.to_string(), cells.map(str::to_owned).collect())
    });
    [titles].into_iter().chain(rows).collect()
}

/// What stands before and after the table of versions.
const VERSIONS: [&str; 2] = [
    "Start a restored member with an etcd of the release that the data are of, or a newer one. etcd-seal info shows that \
     release as \"storage version\" or, where there is none, as \"etcd version\", and the line that restore prints names it.",
    "Since 3.6, etcd refuses data of a later release. 3.4 and 3.5 do not look: they start, whether they understand the data \
     or not, and their cluster cannot be upgraded to a release that refuses those. If a downgrade was pending when the \
     snapshot was taken, 3.5 starts only as its target. restore warns of all this, by --etcd-version or by what etcd on PATH \
     prints as its version. To go back a release, restore on the newer one and downgrade the cluster there.",
];

/// The variables of the arguments, those of every command on the program's own page, and then the others.
fn environment(command: &clap::Command, name: &str) -> String {
    let commands = command.get_subcommands().chain([command]).filter(|command| !command.is_hide_set());
    let mut items = String::new();
    let mut known = BTreeSet::new();
    let shown = |argument: &&clap::Arg| !argument.is_hide_env_set();
    for argument in commands.flat_map(clap::Command::get_arguments).filter(shown) {
        if let Some(variable) = variable_of(argument).filter(|variable| known.insert(variable.to_string())) {
            item(&mut items, variable, &format!("The value of {}.", flag_of(argument)));
        }
    }
    for variable in VARIABLES.iter().filter(|variable| name.is_empty() || variable.commands.contains(&name)) {
        item(&mut items, variable.name, variable.meaning);
    }
    if items.is_empty() {
        return items;
    }
    format!(".SH ENVIRONMENT\nA flag beats its variable; an empty variable is none.\n{items}")
}

fn examples(examples: &[(&str, &str)]) -> String {
    let mut section = String::from(".SH EXAMPLES\n");
    for (what, how) in examples {
        let _ = write!(section, ".PP\n{}\n.PP\n.RS 4\n.nf\n{}\n.fi\n.RE\n", escaped(what), escaped(how));
    }
    section
}

fn see_also(pages: &[&str]) -> String {
    let pages: Vec<String> = pages.iter().map(|page| escaped(page)).collect();
    format!(".SH \"SEE ALSO\"\n{}\n", pages.join(", "))
}

fn item(section: &mut String, term: &str, meaning: &str) {
    let _ = write!(section, ".TP\n\\fB{}\\fR\n{}\n", escaped(term), escaped(meaning));
}

/// Escapes text so that roff shows it unchanged.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-").replace('^', "\\(ha").replace('~', "\\(ti");
    let text = text.replace('`', "\\(ga").replace('\'', "\\(aq");
    let lines =
        text.lines().map(|line| if line.starts_with('.') { format!("\\&{line}") } else { line.to_owned() });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::command_line;

    #[test]
    fn every_visible_command_has_a_page_with_all_sections() {
        let pages = pages(command_line::command());
        let program = command_line::command();
        let has_page =
            |command: &&clap::Command| !command.is_hide_set() && !WITHOUT_PAGE.contains(&command.get_name());
        let commands = program.get_subcommands().filter(has_page);
        let mut expected = vec!["etcd-seal.1".to_owned()];
        expected.extend(commands.map(|command| format!("etcd-seal-{}.1", command.get_name())));
        let names: Vec<&String> = pages.iter().map(|(name, _)| name).collect();
        assert_eq!(names, expected.iter().collect::<Vec<_>>());
        for (name, page) in &pages {
            for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "\"EXIT STATUS\"", "EXAMPLES", "\"SEE ALSO\""]
            {
                let heading = format!("\n.SH {section}\n");
                assert_eq!(page.matches(&heading).count(), 1, "{name} lacks {section}, or has it twice");
            }
            let has_environment = page.contains("\n.SH ENVIRONMENT\n");
            assert_eq!(has_environment, name != "etcd-seal-keygen.1", "{name}");
        }
    }

    #[test]
    fn the_page_of_save_names_every_variable() {
        let pages = pages(command_line::command());
        let (_, page) = pages.iter().find(|(name, _)| name == "etcd-seal-save.1").unwrap();
        for variable in
            ["ETCDCTL_ENDPOINTS", "ETCDCTL_KEEPALIVE_TIMEOUT", "ETCD_SEAL_RECIPIENTS", "ETCDCTL_API"]
        {
            assert!(page.contains(&format!("\\fB{variable}\\fR")), "{variable}");
        }
    }

    #[test]
    fn the_page_of_save_says_what_tls_is_spoken() {
        let pages = pages(command_line::command());
        let with_section: Vec<_> = pages.iter().filter(|(_, page)| page.contains("\n.SH TLS\n")).collect();
        assert_eq!(with_section.len(), 1);
        assert_eq!(with_section[0].0, "etcd-seal-save.1");
    }

    #[test]
    fn the_runbook_has_the_table_of_versions_too() {
        let runbook = include_str!("../../../../man/etcd-seal-recovery.7");
        let table = versions_table();
        assert!(runbook.contains(&format!("\n.EX\n{}\n.EE\n", table.join("\n"))), "{table:#?}");
    }

    #[test]
    fn roff_shows_text_unchanged() {
        assert_eq!(escaped("a-b 'c' \\n"), "a\\-b \\(aqc\\(aq \\en");
        assert_eq!(escaped(".x\ny"), "\\&.x\ny");
    }
}

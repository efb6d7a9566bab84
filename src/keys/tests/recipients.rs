use super::super::{Recipients, WORK_FACTOR};
use super::{Answering, assert_silent_about, file, file_key, prompt};
use crate::error::{Error, Kind};
use age_core::format::Stanza;
use secrecy::SecretString;

const X25519: &str = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa";
const TAG: &str = "age1tag1qt8lw0ual6avlwmwatk888yqnmdamm7xfd0wak53ut6elz5c4swx2yqdj4e";
const TAGPQ: &str = "age1tagpq1m3e4wvp6hzcrn9exhy0ae3xfx2sjymp594k3tg7j4dpmj922we65vtnmrt2pyallax8669zqkr2pmfchptr4n38kug\
2xmcmp3adk2lnjqu00x5kxz5pvhmrltvfh9wuq973pcx35cnq8syn9qd3tzpehgztl4xpzr3tpd67g8af9trnjpc05gh7wu536aq\
4qt2y8zhsm4tvrfpsfl36qs5fpzysnk3sp9w77qzeg49357xex40v4s2lvt620swyys7u8yxdcnu4rkkwxdmt55gsuc3h5c5swah\
negjgqwc60hn085ec3sjztwm45l44y3j2at9t6v9zra4ek3kek6waecqm98yaxl37w0d2zra626nz63jdm5sg59w7lyptw83zm6f\
ntd8d0x03a9z6h9prfgpygzar6zrxjcrt4cdctk2mhf95s4a6v4zklfd49xhpsaeujm57thx2x3e3hwzc86ftfhmq5mkxxz3d6r8\
ws24xj4qfn73eyezg2wy094e3why592pghz27ruq3vkyegrv80eftnw9wqzwgvnwyseaus0yt84fylzrpzp6x2fguxuqjmgudr8x\
d33qm30evdpxd3jvjg8qh4q60kyq80jgff369k7nrepdc38grd2dava520excqp0ey0x39khx8ry03yffcatgv84fsx5j49djpap\
edsy693zute5xv5g2ewzrlj5se7akvkc4g4vmzhputpq8eyj9wz5dz6qtn7g3cfpd95nahw4ytspan0feyye04dcylv24ege7zka\
j004gjwcxqxfqu2quawa83sx452jqjn8t48czp0xspwgnmvjyhttzzy6nhq8xzkdwnvsfefkwva6asrqc93zjn4rly5gnlv93xy3\
uzmr39szvjnf63426qzyeyvguc4vdcquwgsxgq236afcpqz866ny4tn7ckc0umefj242rt5vtvwqzzrvfev2mpvqcufp9pqvefyv\
4ftyuhgausfzuaadsczeykmft5wv3frzgrcp9ztr93h478ke4t86spp2uhyjkj73mp9g92ddk2fpv7v3njzsqgwhq3789sqrgksk\
ehn0zjscckhwftyq4vet7vrlx2hs5kd9cwnq6t0djffhh3zquh4j3p0yaj9z2rc9wykg0usqw7983rrgur9jg8rnnqypwcz2lycl\
nnc705fc5g3an93ps60q6mxqp85u0ewtxdjlqcks84yduft0a0g6e7naew3v9u2d08knarvajn8q3gq9pgxde3s7nx94lus48wwv\
w2xjm7k82tvylec2393jdsuvch2xpe77w8hpv9nvsxfsrs270njpmfvpmgyk2cffl9tjp3qqcc4dfkf5rme2dg0x7ew8g39www5s\
mm705q5da4eqvnqwrkavtq6xje9ss38hnkglz4eddz8f5qruvqmq2ff9l22gwkv8h432rdkysy0grkul8e2fedvkyyapfxt760ud\
cgu92m54wl9yavmj4ga3ph9r5n99cjrq6wj5v33x33fe5vkjvfwnnt40wuv2hyexc9f4ylyqv9ldqq9epd4yuv8vrsfx2qy2kqz0\
8kqhnzspy6s0x8fa5c2xkg5y2q0rvz4vnk7rp0acg6eksc3t7cxnn8y7glkjsqja3p56uz6vvhcw55d3ysad0hvsqxpjnc7svenf\
2gc5xn5kyr0et2vvyruxlnpqcdpqh9pzplumy5yzjxftyzh9ujfw0jq7ee60zx2x23p0jzyh9dvmly8p9h9ysptlqu7kwnejd65d\
nr75a0np2fvke8xen38r57w6z3wz3mycjmmn267wwxndfh9jdps7uxtct2wwfgamkpa5ap8s96lhfjztpwcm6fguhphu38yunu2v\
4vz3syzrvgwtqpemkewzp766nyu6texxvjlaemnhyyqutkcy6a42vqfsz49rw5wr4gt70r4vdaasehqjg46fnyts4sthrxadfllh\
a3avu49wsj2c4jx";
const ED25519: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN alice@rust";
const ECDSA: &str = concat!(
    "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBHFliOyIZs1gxGF3fmDx",
    "FykQhE88wy6AKDGFBfn0R6ZuvRmENABZQa9+pj9hMki+LX0qDJbmHTiWDbYv/cmFt/Q= bob",
);
const SECRET: &str = "AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33";

fn parse(strings: &[&str], files: &[&str]) -> Result<Recipients, Error> {
    let strings: Vec<_> = strings.iter().map(|&string| string.to_owned()).collect();
    let files: Vec<_> = files.iter().map(|text| file("team.txt", text)).collect();
    Recipients::parse(&strings, &files, &prompt(&Answering::nothing()))
}

fn stanzas(recipients: &Recipients) -> Vec<Stanza> {
    recipients.iter().flat_map(|recipient| recipient.wrap_file_key(&file_key()).unwrap().0).collect()
}

#[test]
fn every_native_type_is_read_and_named() {
    let recipients = parse(&[X25519, TAG], &[&format!("# the team\r\n\r\n{ED25519}\r\n")]).unwrap();
    let fingerprint = "ssh-ed25519 SHA256:PYX4o9UfGwCwG76hFcLAEkmMS0PtIBtV9MNmVgW16Oc";
    assert_eq!(recipients.names(), [X25519, TAG, fingerprint]);
    let types: Vec<_> = stanzas(&recipients).into_iter().map(|stanza| stanza.tag).collect();
    assert_eq!(types, ["X25519", "p256tag", "ssh-ed25519"]);
    assert!(!recipients.is_passphrase());
}

#[test]
fn a_byte_order_mark_before_a_file_is_no_recipient() {
    assert_eq!(parse(&[], &[&format!("\u{feff}{X25519}\r\n")]).unwrap().names(), [X25519]);
    assert!(parse(&[], &[&format!("{X25519}\n\u{feff}{X25519}")]).is_err());
}

#[test]
fn post_quantum_recipients_stand_among_themselves_only() {
    assert_eq!(parse(&[TAGPQ], &[]).unwrap().names(), [TAGPQ]);
    let error = parse(&[TAGPQ, X25519], &[]).unwrap_err();
    assert_eq!(error.kind(), Kind::Recipient);
    assert!(error.hint().contains("post-quantum"), "{}", error.hint());
}

#[test]
fn duplicates_are_dropped_in_any_spelling() {
    let other_comment = ED25519.replace("alice@rust", "someone else");
    let recipients = parse(&[X25519, &X25519.to_uppercase()], &[ED25519, &other_comment, X25519]).unwrap();
    assert_eq!(recipients.names().len(), 2);
    assert_eq!(stanzas(&recipients).len(), 2);
}

#[test]
fn no_recipient_at_all_is_an_error_of_its_own() {
    assert_eq!(parse(&[], &[]).unwrap_err().kind(), Kind::NoRecipient);
}

#[test]
fn a_file_without_recipients_is_refused_by_name() {
    for text in ["", "\n", "# only\n# comments"] {
        let error = parse(&[X25519], &[text]).unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (Kind::Recipient, "no recipients in team.txt")
        );
    }
}

#[test]
fn a_bad_line_is_named_by_number_and_not_shown() {
    for line in
        [&X25519[..X25519.len() - 1], "something unexpected", ECDSA, "ssh-ed25519 AAAA", "age1nosuch1qqqq"]
    {
        let error = parse(&[], &[&format!("# comment\n{X25519}\n{line}\n{X25519}\n")]).unwrap_err();
        assert_eq!(error.kind(), Kind::Recipient);
        assert!(error.to_string().contains("team.txt: line 3 is "), "{error}");
        // An error may name the type of an ssh key, but not show the key.
        assert_silent_about(&error, line.split(' ').nth(1).unwrap_or(line));
    }
    let error = parse(&[], &[ECDSA]).unwrap_err();
    assert!(error.to_string().contains("an ecdsa-sha2-nistp256 key"), "{error}");
}

#[test]
fn bytes_that_are_no_text_are_a_bad_line() {
    let files = [file("team.txt", b"# \xff\n\xff\xfe\n")];
    let error = Recipients::parse(&[], &files, &prompt(&Answering::nothing())).unwrap_err();
    assert_eq!(error.to_string(), "recipients file team.txt: line 2 is not text");
}

#[test]
fn private_keys_are_never_repeated() {
    let damaged = &SECRET[..40];
    let plugin = "AGE-PLUGIN-YUBIKEY-1QQQQQ";
    let pem =
        "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\n-----END OPENSSH PRIVATE KEY-----";
    for secret in [SECRET, &SECRET.to_lowercase(), damaged, plugin, pem, &SECRET[3..]] {
        for error in [parse(&[secret], &[]).unwrap_err(), parse(&[], &[secret]).unwrap_err()] {
            assert_eq!(error.kind(), Kind::Recipient);
            assert!(error.hint().contains("age-keygen -y"), "{}", error.hint());
            for line in secret.lines() {
                assert_silent_about(&error, line);
            }
        }
    }
}

#[test]
fn a_bad_string_is_named_but_not_at_length() {
    let error = parse(&["key.txt"], &[]).unwrap_err();
    assert_eq!(error.to_string(), "recipient key.txt is not a recipient");
    assert!(error.hint().contains("`recipients_file`"));
    let error = parse(&[&X25519[..50]], &[]).unwrap_err();
    assert!(
        error.to_string().starts_with("recipient age1t7rxyev2z3rw82st… is not a valid age recipient"),
        "{error}"
    );
    assert_eq!(parse(&[" "], &[]).unwrap_err().to_string(), "a recipient given with -r is empty");
}

#[test]
fn an_absent_plugin_is_named() {
    let error = parse(&["age1notinstalled1nswpff"], &[]).unwrap_err();
    assert_eq!(error.kind(), Kind::Recipient);
    assert!(error.to_string().contains("age-plugin-notinstalled"), "{error}");
}

#[test]
fn an_ssh_key_with_something_behind_its_numbers_is_refused() {
    // The age crate reads this as the key that it begins with, and writes an archive that the key does not open.
    let longer = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGNAAAA";
    assert!(longer.parse::<age::ssh::Recipient>().is_ok());
    assert_eq!(parse(&[longer], &[]).unwrap_err().kind(), Kind::Recipient);
}

#[test]
fn a_passphrase_stands_alone_with_a_fixed_work_factor() {
    let recipients = Recipients::passphrase(SecretString::from("correct horse")).unwrap();
    assert!(recipients.is_passphrase());
    assert_eq!(recipients.names(), ["passphrase"]);
    let stanzas = stanzas(&recipients);
    assert_eq!(stanzas[0].tag, "scrypt");
    assert_eq!(stanzas[0].args[1], WORK_FACTOR.to_string());
    assert_eq!(Recipients::passphrase(SecretString::from("")).unwrap_err().kind(), Kind::Recipient);
}

#[test]
fn errors_of_age_keep_their_meaning() {
    let recipients = parse(&[X25519], &[]).unwrap();
    let failed = age::EncryptError::Io(std::io::Error::other("gone"));
    assert_eq!(recipients.explain(&failed).kind(), Kind::Plugin);
    let mixed = age::EncryptError::IncompatibleRecipients {
        l_labels: ["postquantum".to_owned()].into(),
        r_labels: [].into(),
    };
    assert_eq!(recipients.explain(&mixed).kind(), Kind::Recipient);
}

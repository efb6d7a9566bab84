//! Parses one recipient from one string.
use super::refusal::Refusal;
use super::ssh;
use super::text::{AGE_BEGIN, ARMOR_BEGIN, looks_private};
use age_core::primitives::bech32_decode;

/// A recipient that the age crate encrypts to without a plugin.
pub(super) type BoxedRecipient = Box<dyn age::Recipient + Send + Sync>;

/// A parsed recipient.
pub(super) enum Recipient {
    /// X25519, tag, tagpq or ssh.
    Native {
        recipient: BoxedRecipient,
        /// The name in the manifest. Two spellings of one recipient have the same name.
        name: String,
    },
    /// `age1NAME1…`, for the program `age-plugin-NAME`.
    Plugin(age::plugin::Recipient),
}

/// Parses `text`, which has no surrounding white space, trying the types in the order of age's command.
pub(super) fn parse(text: &str) -> Result<Recipient, Refusal> {
    if let Ok(recipient) = text.parse::<age::x25519::Recipient>() {
        refuse_low_order(text)?;
        return Ok(native(recipient));
    }
    if let Ok(recipient) = text.parse::<age::tag::Recipient>() {
        return Ok(native(recipient));
    }
    if let Ok(recipient) = text.parse::<age::tagpq::Recipient>() {
        return Ok(native(recipient));
    }
    if let Some(parsed) = ssh::parse_recipient(text) {
        let (recipient, name) = parsed?;
        return Ok(Recipient::Native { recipient: Box::new(recipient), name });
    }
    match text.parse::<age::plugin::Recipient>() {
        // These two types are native: such a string that did not parse above is damaged, even if a plugin has that name.
        Ok(recipient) if !matches!(recipient.plugin(), "tag" | "tagpq") => Ok(Recipient::Plugin(recipient)),
        _ => Err(refuse(text)),
    }
}

fn native<R>(recipient: R) -> Recipient
where
    R: age::Recipient + ToString + Send + Sync + 'static,
{
    let name = recipient.to_string();
    Recipient::Native { recipient: Box::new(recipient), name }
}

fn refuse(text: &str) -> Refusal {
    if looks_private(text) {
        return Refusal {
            reason: "a private key, not a recipient".to_owned(),
            hint: Some(
                "that is an identity; it does not belong on the host that makes backups: \
                 pass what `age-keygen -y` prints for it, or the .pub file beside an ssh key",
            ),
            private: true,
        };
    }
    if text.starts_with(['\'', '"']) {
        return Refusal::new("not a recipient: it is in quotes").with_hint(
            "leave the quotes out: a shell removes them, a configuration file or a second pair keeps them",
        );
    }
    if text.starts_with("age1") && text.contains(',') {
        return Refusal::new("more than one recipient").with_hint("give each one a `recipient` of its own");
    }
    if text.starts_with("age1") {
        return Refusal::new("not a valid age recipient: its checksum or length is wrong")
            .with_hint("copy the whole age1… string again");
    }
    if text.starts_with(ARMOR_BEGIN) || text.starts_with(AGE_BEGIN) {
        return Refusal::new("part of an encrypted file, not a recipient")
            .with_hint("if that is an encrypted identity file, pass the recipient it belongs to instead");
    }
    Refusal::new("not a recipient")
}

/// The points of Curve25519 and its twist that every private key multiplies to zero, little endian, from
/// <https://cr.yp.to/ecdh.html#validate>. The age crate takes them for a broken random number generator and panics.
const LOW_ORDER: [[u8; 32]; 7] = [
    [0; 32],
    low_order_ends(0x01, 0x00, 0x00),
    [
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda,
        0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
    ],
    [
        0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef, 0x5b, 0x04,
        0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57,
    ],
    low_order_ends(0xec, 0xff, 0x7f),
    low_order_ends(0xed, 0xff, 0x7f),
    low_order_ends(0xee, 0xff, 0x7f),
];

const fn low_order_ends(first: u8, middle: u8, last: u8) -> [u8; 32] {
    let mut point = [middle; 32];
    point[0] = first;
    point[31] = last;
    point
}

fn refuse_low_order(text: &str) -> Result<(), Refusal> {
    let mut point = bech32_decode(text, |_| (), |_| Ok(()), |_, bytes| Ok(bytes.collect::<Vec<u8>>()))
        .map_err(|()| refuse(text))?;
    // X25519 ignores the highest bit (RFC 7748, section 5).
    if let Some(last) = point.last_mut() {
        *last &= 0x7f;
    }
    if LOW_ORDER.iter().any(|low_order| point == low_order) {
        return Err(Refusal::new("an age recipient that has no identity")
            .with_hint("make a key with `etcd-seal keygen`"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use age_core::primitives::bech32_encode;

    fn encode(point: [u8; 32]) -> String {
        let valid = age::x25519::Identity::generate().to_public().to_string();
        let prefix = bech32_decode(&valid, |_| (), |_| Ok(()), |prefix, _| Ok(prefix)).expect("valid");
        bech32_encode(prefix, &point)
    }

    #[test]
    fn low_order_points_are_refused_with_either_highest_bit() {
        for mut point in LOW_ORDER {
            assert!(parse(&encode(point)).is_err());
            point[31] |= 0x80;
            assert!(parse(&encode(point)).is_err());
        }
        assert!(parse(&encode([9; 32])).is_ok());
    }

    #[test]
    fn the_list_holds_what_the_age_crate_panics_on() {
        for point in LOW_ORDER {
            let recipient: age::x25519::Recipient = encode(point).parse().expect("parses");
            let wrapped = std::panic::catch_unwind(|| {
                age::Encryptor::with_recipients(std::iter::once(&recipient as _)).is_ok()
            });
            assert!(wrapped.is_err(), "{point:?}");
        }
    }

    #[test]
    fn damaged_tags_are_not_left_to_a_plugin() {
        let valid = "age1tag1qt8lw0ual6avlwmwatk888yqnmdamm7xfd0wak53ut6elz5c4swx2yqdj4e";
        assert!(matches!(parse(valid), Ok(Recipient::Native { .. })));
        let prefix = bech32_decode(valid, |_| (), |_| Ok(()), |prefix, _| Ok(prefix)).expect("valid");
        assert!(parse(&bech32_encode(prefix, &[1, 2, 3])).is_err());
    }
}

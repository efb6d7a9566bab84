//! Reads PEM as leniently as etcd does, and tells what a file holds instead of what it should.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

/// One block of a PEM file.
pub(super) struct Block {
    /// What it says it holds, such as `CERTIFICATE`.
    pub(super) label: String,
    /// Whether its headers say that it is encrypted.
    encrypted: bool,
    /// Its content, in base64.
    body: Zeroizing<String>,
}

/// What says that it holds what was looked for, and cannot be read.
#[derive(Debug)]
pub(super) struct Damaged;

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";

/// The blocks of a file, whatever stands between them and whatever ends its lines.
pub(super) fn blocks(file: &[u8]) -> Vec<Block> {
    let text = Zeroizing::new(String::from_utf8_lossy(file).into_owned());
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for line in text.split(['\n', '\r']).map(|line| line.trim_start_matches('\u{feff}').trim()) {
        if let Some(label) = line.strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(DASHES)) {
            open = Some(Block { label: label.to_owned(), encrypted: false, body: Zeroizing::default() });
        } else if line.starts_with(END) {
            blocks.extend(open.take());
        } else if let Some(block) = &mut open {
            match line.split_once(':') {
                Some((_, value)) => block.encrypted |= value.contains("ENCRYPTED"),
                None => block.body.push_str(line),
            }
        }
    }
    blocks
}

impl Block {
    /// The certificate in it; `None` where it is something else.
    pub(super) fn certificate(&self) -> Option<Result<CertificateDer<'static>, Damaged>> {
        let fits = ["CERTIFICATE", "X509 CERTIFICATE"].contains(&self.label.as_str());
        fits.then(|| CertificateDer::from_pem_slice(self.text("CERTIFICATE").as_bytes()).map_err(|_| Damaged))
    }

    /// The private key in it; `None` where it is something else or encrypted.
    pub(super) fn private_key(&self) -> Option<Result<PrivateKeyDer<'static>, Damaged>> {
        let fits = ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"].contains(&self.label.as_str());
        (fits && !self.encrypted)
            .then(|| PrivateKeyDer::from_pem_slice(self.text(&self.label).as_bytes()).map_err(|_| Damaged))
    }

    /// Whether it is a private key under a passphrase.
    pub(super) fn is_encrypted_key(&self) -> bool {
        self.label == "ENCRYPTED PRIVATE KEY" || self.encrypted
    }

    /// It in the strict form.
    fn text(&self, label: &str) -> Zeroizing<String> {
        Zeroizing::new(format!("{BEGIN}{label}{DASHES}\n{}\n{END}{label}{DASHES}\n", self.body.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_headers_and_text_around_do_not_matter() {
        let file = "\u{feff}  subject=CN=x\r\n-----BEGIN CERTIFICATE----- \r\nAA\r\n  AA\r\n-----END CERTIFICATE-----\r\
            -----BEGIN EC PARAMETERS-----\nBggq\n-----END EC PARAMETERS-----\n\
            -----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n\
            -----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----";
        let blocks = blocks(file.as_bytes());
        let labels: Vec<_> = blocks.iter().map(|block| block.label.as_str()).collect();
        assert_eq!(labels, ["CERTIFICATE", "EC PARAMETERS", "RSA PRIVATE KEY", "EC PRIVATE KEY"]);
        assert_eq!(blocks[0].certificate().unwrap().unwrap().as_ref(), [0, 0, 0]);
        assert!(blocks[1].certificate().is_none() && blocks[1].private_key().is_none());
        assert!(blocks[2].is_encrypted_key() && blocks[2].private_key().is_none());
        assert_eq!(blocks[3].private_key().unwrap().unwrap().secret_der(), [0, 0, 0]);
    }

    #[test]
    fn a_block_without_an_end_is_none() {
        assert!(blocks(b"-----BEGIN CERTIFICATE-----\nAAAA\n").is_empty());
        assert!(blocks(&[0x30, 0x82, 0xff]).is_empty());
    }
}

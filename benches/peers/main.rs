//! The helpers of `benches/peers/run`: a loader, a slow link and a bare receiver.
#![expect(clippy::print_stdout, reason = "a program for a script, which reads what it prints")]
#![expect(clippy::print_stderr, reason = "the same")]

mod data;
mod delay;
mod load;
mod receive;

use std::error::Error;
use std::process::ExitCode;

type Outcome = Result<(), Box<dyn Error>>;

const USAGE: &str = "\
usage: peers load ENDPOINT MEGABYTES SEED                write a data set into an etcd
       peers delay ADDRESS MILLISECONDS THRESHOLD        carry connections to ADDRESS, each direction that much later
       peers receive ENDPOINT [CACERT CERT KEY]          read a snapshot and throw it away";

/// A runtime like that of the program itself.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()
}

fn run(words: &[&str]) -> Outcome {
    match words {
        ["load", endpoint, megabytes, seed] => {
            runtime()?.block_on(load::load(endpoint, megabytes.parse()?, seed.parse()?))
        }
        ["delay", address, milliseconds, threshold] => {
            runtime()?.block_on(delay::delay(address, milliseconds.parse()?, threshold.parse()?))
        }
        ["receive", endpoint] => receive::receive(endpoint, None),
        ["receive", endpoint, cacert, cert, key] => receive::receive(endpoint, Some([cacert, cert, key])),
        _ => Err(USAGE.into()),
    }
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

//! The program; all its code is in [`etcd_seal::cli`].

fn main() -> std::process::ExitCode {
    etcd_seal::cli::run()
}

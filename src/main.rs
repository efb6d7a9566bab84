//! The program: everything it does is in [`etcd_seal::cli`].

fn main() -> std::process::ExitCode {
    etcd_seal::cli::run()
}

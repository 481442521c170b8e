//! The Watchpost server and its command line.

fn main() -> std::process::ExitCode {
    watchpost::main()
}

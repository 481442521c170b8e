//! The Watchpost server and its command line.

/// Events are made of many small texts that one thread makes and another drops: the system's allocator spends a
/// tenth of the processor on that, this one half of it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    watchpost::main()
}

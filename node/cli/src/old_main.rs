//! The `witan` program: everything it does is a command of [`witan::cli`].

/// Burn's many short-lived tensors are the main load; glibc hands each back to the kernel.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    witan::cli::main()
}

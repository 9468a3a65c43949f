//! The command line: one file per command. Only this folder prints.

use std::process::ExitCode;

/// Parses the arguments, runs the command, and turns an error into its exit code.
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}

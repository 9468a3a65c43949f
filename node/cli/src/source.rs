//! What `--home` and `--adapter` of a command name.

use std::path::Path;

use witan_home::{Failure, Home};
use witan_node::jobs::chosen::Source;

/// Lends what the flags name to `work`: of a home the given round or its newest, and the base if
/// neither is given. A command that needs one of them has the parser see to it.
///
/// # Errors
/// If the home is none, or whatever `work` says.
pub fn read<T>(
    home: Option<&Path>,
    round: Option<u64>,
    adapter: Option<&Path>,
    work: impl FnOnce(Source<'_>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    match (home, adapter) {
        (_, Some(folder)) => work(Source::Folder(folder)),
        (Some(home), None) => work(Source::Home(&Home::existing(home)?, round)),
        (None, None) => work(Source::Base),
    }
}

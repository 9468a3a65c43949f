//! Commands in hints: what a person is told to type must work when it is typed.

use std::path::{Path, PathBuf};

/// This program as it was called, so that calling it the same way works: `target/release/witan`
/// where it was run by cargo, `witan` where it is installed.
pub fn witan() -> String {
    let called = std::env::args_os().next().map(PathBuf::from);
    let is_ours = |path: &PathBuf| path.file_name().is_some_and(|name| name == NAME);
    called.filter(is_ours).map_or_else(|| NAME.to_owned(), |path| word(&path))
}

/// The command of ours that works on this home: `witan status --home witan-testnet/nodes/03`.
pub fn command(command: &str, home: &Path) -> String {
    format!("{} {command} --home {}", witan(), word(home))
}

/// A path as a word of a shell's command line, quoted where it must be.
pub fn word(path: &Path) -> String {
    let path = path.display().to_string();
    // Not taken for a flag.
    let path = if path.starts_with('-') { format!("./{path}") } else { path };
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+,:@%".contains(c);
    match !path.is_empty() && path.chars().all(is_plain) {
        true => path,
        false => format!("'{}'", path.replace('\'', r"'\''")),
    }
}

/// The same, as seen from the working folder if it lies in there.
pub fn word_here(path: &Path) -> String {
    let here = std::env::current_dir().ok();
    let inside = here.and_then(|here| path.strip_prefix(here).ok().map(Path::to_owned));
    word(inside.as_deref().unwrap_or(path))
}

const NAME: &str = "witan";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_shell_would_split_or_read_otherwise_is_quoted() {
        for (path, expected) in [
            ("witan-testnet/nodes/00", "witan-testnet/nodes/00"),
            ("/srv/Zürich", "/srv/Zürich"),
            ("my testnet", "'my testnet'"),
            ("it's $HOME", r"'it'\''s $HOME'"),
            ("-odd", "./-odd"),
            ("", "''"),
        ] {
            assert_eq!(word(Path::new(path)), expected);
        }
    }
}

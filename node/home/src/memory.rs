//! What the kernel says of memory.

/// The value, in bytes, of a line such as `VmHWM:  123 kB` of a file such as `/proc/self/status`;
/// none where there is no such file or line.
pub fn kibibytes(file: &str, key: &str) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

//! Changes what the header of a safetensors file says of the tensors after it.

use std::path::Path;

/// Writes the header anew as `change` makes it; the tensors stay where they are.
pub(crate) fn rewrite(file: &Path, change: impl FnOnce(&str) -> String) {
    let bytes = std::fs::read(file).unwrap();
    let (length, rest) = bytes.split_at(8);
    let length = u64::from_le_bytes(length.try_into().unwrap()) as usize;
    let (header, tensors) = rest.split_at(length);
    let header = change(std::str::from_utf8(header).unwrap());
    let length = (header.len() as u64).to_le_bytes();
    std::fs::write(file, [&length, header.as_bytes(), tensors].concat()).unwrap();
}

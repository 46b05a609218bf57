//! Turns one bit of a file.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// Turns one bit of a file. The length and the inode of the file stay.
///
/// # Panics
/// Where the file has no such byte.
pub fn flip(path: &Path, at: usize) {
    let file = OpenOptions::new().read(true).write(true).open(path).expect("a file");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at as u64).expect("the file has such a byte");
    byte[0] ^= 1;
    file.write_all_at(&byte, at as u64).expect("a file that can be written");
}

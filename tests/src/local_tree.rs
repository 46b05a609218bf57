//! A local tree of files, folders and links with all that `towline put` and `get` keep, and the
//! comparison of two such trees.

use crate::test_file::{BLOCK, TestFile};
use crate::volume::has;
use std::collections::BTreeMap;
use std::fs::{File, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

/// What is kept of one file, folder or link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A file: its permission bits and its time of modification in milliseconds.
    File(u32, i64),
    /// A folder: its permission bits.
    Folder(u32),
    /// What a link says.
    Link(PathBuf),
}

/// Makes a tree as people have them: dotfiles, a `.git` with read-only files, links, empty folders,
/// names in Unicode, programs, equal files, read-only folders. The seed makes its bytes and times.
///
/// # Panics
/// Where it cannot be made.
pub fn make(top: &Path, seed: u64) {
    let mut at = seed;
    let mut write = |name: &str, bytes: &[u8], mode: u32| {
        let path = top.join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(&path, bytes).expect("a file");
        // Before and after 1970, to the nanosecond: what is kept are the milliseconds.
        at = at.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let nanoseconds = Duration::from_nanos(at >> 4);
        let modified = match name {
            "old" => UNIX_EPOCH - Duration::from_micros(1_500_700),
            _ => UNIX_EPOCH + nanoseconds,
        };
        File::open(&path).expect("a file").set_modified(modified).expect("a time");
        std::fs::set_permissions(&path, Permissions::from_mode(mode)).expect("a mode");
    };
    for name in [".env", ".gitignore", "README.md", "old", "empty", "src/main.rs"] {
        let bytes = if name == "empty" { "" } else { name };
        write(name, bytes.as_bytes(), 0o644);
    }
    for (name, mode) in [("run.sh", 0o755), ("private.key", 0o600), ("open", 0o666), ("x/y", 0o777)]
    {
        write(name, name.as_bytes(), mode);
    }
    write(".git/HEAD", b"ref: refs/heads/main\n", 0o644);
    for number in 0..40usize {
        let content = TestFile::new(700 + number * 31, seed ^ number as u64);
        let name = content.hash().to_string();
        write(&format!(".git/objects/{}/{}", &name[..2], &name[2..40]), &content.bytes, 0o444);
    }
    for name in ["Grüße/日本語.txt", "Grüße/naïve – 2.txt", "数/data", "with space/a b"]
    {
        write(name, name.as_bytes(), 0o640);
    }
    let large = TestFile::new(6 * BLOCK + 77, seed);
    write("large.bin", &large.bytes, 0o644);
    write("copies/large.bin", &large.bytes, 0o600);
    for number in 0..60 {
        let equal = format!("the same text {}\n", number % 7).repeat(200);
        write(&format!("copies/{number}.txt"), equal.as_bytes(), 0o644);
    }
    write("locked/inside/deep.txt", b"deep", 0o400);
    write("locked/a.txt", b"a", 0o444);
    for folder in
        ["nothing", "nothing/in/here", ".git/refs/tags", "locked/empty", "locked/inside/e"]
    {
        std::fs::create_dir_all(top.join(folder)).expect("a folder");
    }
    for (name, target) in [
        ("latest", "README.md"),
        ("dangling", "no/such/file"),
        ("sources", "src"),
        ("src/up", "../README.md"),
        ("src/self", "."),
        ("locked/inside/link", "../a.txt"),
        ("Grüße/ü", "日本語.txt"),
        ("src/ü → x", "main.rs"),
    ] {
        symlink(target, top.join(name)).expect("a link");
    }
    for (folder, mode) in [
        ("locked/inside/e", 0o500),
        ("locked/inside", 0o555),
        ("locked/empty", 0o555),
        ("locked", 0o555),
        ("nothing/in", 0o700),
        ("x", 0o777),
        ("src", 0o775),
        (".git/objects", 0o750),
    ] {
        std::fs::set_permissions(top.join(folder), Permissions::from_mode(mode)).expect("a mode");
    }
}

/// All that is kept of what lies below a folder, and of the folder itself.
///
/// # Panics
/// Where it cannot be read.
#[must_use]
pub fn entries(top: &Path) -> BTreeMap<PathBuf, Entry> {
    let mut found = BTreeMap::new();
    add(top, Path::new(""), &mut found);
    found
}

fn add(top: &Path, below: &Path, found: &mut BTreeMap<PathBuf, Entry>) {
    let path = top.join(below);
    let metadata = path.symlink_metadata().expect("it is there");
    let mode = metadata.mode() & 0o7777;
    let entry = if metadata.is_symlink() {
        Entry::Link(path.read_link().expect("a link"))
    } else if metadata.is_dir() {
        for entry in path.read_dir().expect("a folder") {
            add(top, &below.join(entry.expect("an entry").file_name()), found);
        }
        Entry::Folder(mode)
    } else {
        Entry::File(mode, metadata.mtime() * 1000 + metadata.mtime_nsec() / 1_000_000)
    };
    found.insert(below.to_owned(), entry);
}

/// Checks that two trees are the same in all that is kept.
///
/// # Panics
/// Where they are not.
pub fn assert_same(one: &Path, other: &Path) {
    let (here, there) = (entries(one), entries(other));
    let paths = here.keys().chain(there.keys());
    let mut differing: Vec<_> = paths.filter(|path| here.get(*path) != there.get(*path)).collect();
    differing.dedup();
    let told: Vec<_> =
        differing.iter().map(|path| (path, here.get(*path), there.get(*path))).collect();
    assert!(told.is_empty(), "{told:#?}");
    assert_silent(Command::new("diff").args(["-r", "--no-dereference"]).args([one, other]));
    if has("rsync") {
        let options = "-anci --delete --no-owner --no-group --omit-dir-times --omit-link-times";
        let with_slash = |path: &Path| path.join("");
        let paths = [with_slash(one), with_slash(other)];
        assert_silent(Command::new("rsync").args(options.split(' ')).args(paths));
    }
}

fn assert_silent(command: &mut Command) {
    let output = command.output().expect("it can be run");
    let text = [output.stdout, output.stderr].concat();
    assert!(text.is_empty(), "{command:?} prints {}", String::from_utf8_lossy(&text));
    assert!(output.status.success(), "{command:?} ends with {}", output.status);
}

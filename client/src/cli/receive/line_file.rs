//! A list in the hidden folder: lines that are only ever added, behind one that says of which store it
//! tells. The numbers of another store mean other things, so a list of another store is begun anew.
//!
//! What was added survives a kill at once, and a power cut when it was [synced](LineFile::sync). A line
//! that was cut off does not count.

use crate::get::local_folder::LocalFolder;
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use towline_types::StoreId;

/// See the module's description. All methods block.
#[derive(Debug)]
pub(super) struct LineFile {
    file: File,
    /// The whole lines of it, in bytes. What a write that failed has left behind them is written over.
    length: u64,
    is_synced: bool,
    /// A sync has failed. No later one is believed (P5): the system may have forgotten what it could not
    /// write.
    has_failed: bool,
}

impl LineFile {
    /// Opens the list of that name, or begins one. Returns its lines as well.
    pub(super) fn open(
        hidden: &LocalFolder,
        name: &str,
        store: StoreId,
    ) -> io::Result<(Self, Vec<String>)> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let opened = rustix::fs::openat(hidden.fd(), name, flags, Mode::RUSR | Mode::WUSR)?;
        let mut file = File::from(opened);
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let mut lines = text[..whole].split(|byte| *byte == b'\n');
        let head = format!("store {store}");
        let is_this = lines.next() == Some(head.as_bytes());
        let length = if is_this { whole as u64 } else { 0 };
        file.set_len(length)?;
        let mut list = Self { file, length, is_synced: false, has_failed: false };
        if is_this {
            let text = |line: &[u8]| String::from_utf8_lossy(line).into_owned();
            let lines = lines.filter(|line| !line.is_empty()).map(text).collect();
            return Ok((list, lines));
        }
        list.add(&head)?;
        list.sync()?;
        // A list whose name is lost in a power cut would have forgotten everything.
        hidden.sync()?;
        Ok((list, Vec::new()))
    }

    /// Adds lines. They survive a kill from here on.
    pub(super) fn add(&mut self, lines: &str) -> io::Result<()> {
        let text = format!("{lines}\n");
        self.file.write_all_at(text.as_bytes(), self.length)?;
        self.length += text.len() as u64;
        self.is_synced = false;
        Ok(())
    }

    /// What was added survives a power cut on return.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        if self.has_failed {
            return Err(io::Error::other("an earlier sync has failed"));
        }
        if !self.is_synced {
            let synced = self.file.sync_data();
            self.has_failed = synced.is_err();
            self.is_synced = synced.is_ok();
            return synced;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_lines_of_this_store_are_read_again_and_no_others() {
        let home = tempfile::tempdir().unwrap();
        let hidden = LocalFolder::open(home.path()).unwrap();
        let [one, other] = ["01", "02"].map(|text| text.repeat(16).parse().unwrap());
        let open = |store| LineFile::open(&hidden, "list", store).unwrap();
        let (mut list, lines) = open(one);
        assert!(lines.is_empty());
        list.add("a").unwrap();
        list.add("b\nc").unwrap();
        list.sync().unwrap();
        drop(list);
        assert_eq!(open(one).1, ["a", "b", "c"]);
        let path = home.path().join("list");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, &text[..text.len() - 1]).unwrap();
        let (mut list, lines) = open(one);
        assert_eq!(lines, ["a", "b"], "a line that was cut off");
        // A write that has failed in the middle.
        list.file.write_all_at(b"x", list.length).unwrap();
        list.add("d").unwrap();
        drop(list);
        assert_eq!(open(one).1, ["a", "b", "d"]);
        assert!(open(other).1.is_empty());
        assert!(open(one).1.is_empty(), "it was begun anew");
    }
}

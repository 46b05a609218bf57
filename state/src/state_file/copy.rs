//! Writing a whole state file entry by entry, for a copy of another authority that may be
//! larger than memory should hold.

use super::{STATE_VERSION, StateFile, StateFileError, UploadEntry};
use std::io::{self, BufWriter, Write};

/// Where the entries of a copy go. `W` is the file.
#[derive(Debug)]
pub struct EntryWriter<W: Write> {
    file: W,
    has_entries: bool,
}

impl<W: Write> EntryWriter<W> {
    fn begin(mut file: W) -> io::Result<Self> {
        write!(file, "{{\n  \"version\": {STATE_VERSION},\n  \"uploads\": {{")?;
        Ok(Self { file, has_entries: false })
    }

    /// Writes one entry. Keys come in their order, each once.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn entry(&mut self, key: &str, entry: &UploadEntry) -> io::Result<()> {
        if self.has_entries {
            self.file.write_all(b",")?;
        }
        self.has_entries = true;
        let key = serde_json::to_string(key)?;
        let entry = serde_json::to_string_pretty(entry)?;
        write!(self.file, "\n    {key}: {}", entry.replace('\n', "\n    "))
    }

    fn end(mut self) -> io::Result<W> {
        if self.has_entries {
            self.file.write_all(b"\n  ")?;
        }
        self.file.write_all(b"}\n}\n")?;
        Ok(self.file)
    }
}

impl StateFile {
    /// Makes the file say what `fill` writes, whatever it said before: memory holds one entry
    /// at a time. The old file is not read, so nothing of it is carried over.
    ///
    /// # Errors
    /// Those of `fill`, and where the file cannot be written; it is then as it was.
    pub fn write_copy<E: From<StateFileError>>(
        &self,
        fill: impl FnOnce(&mut EntryWriter<&mut dyn Write>) -> Result<(), E>,
    ) -> Result<(), E> {
        let held = self.lock()?;
        let mut file = self.begin_write(&held)?;
        let mut buffer = BufWriter::new(file.as_file_mut());
        let failed = |error| self.io("write", error);
        let mut writer = EntryWriter::begin(&mut buffer as &mut dyn Write).map_err(failed)?;
        fill(&mut writer)?;
        writer.end().and_then(Write::flush).map_err(failed)?;
        drop(buffer);
        Ok(self.finish_write(&held, file)?)
    }

    /// The error of an entry that could not be written.
    #[must_use]
    pub fn unwritten(&self, error: io::Error) -> StateFileError {
        self.io("write", error)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{EntryStatus, UploadsState};
    use super::*;
    use towline_types::{FileSize, Name, Offset};

    fn name(text: &str) -> Name {
        Name::try_from(text.to_owned()).unwrap()
    }

    #[test]
    fn a_copy_is_written_as_a_whole_state_is() {
        let folder = tempfile::tempdir().unwrap();
        let (copy, whole) = (folder.path().join("copy.json"), folder.path().join("whole.json"));
        let (copy, whole) = (StateFile::at(copy), StateFile::at(whole));
        for count in [0_u64, 1, 3] {
            let mut state = UploadsState::default();
            for number in 1..=count {
                let mut entry = UploadEntry::new(
                    name(&format!("doc {number}.pdf")),
                    FileSize::try_from(1000).unwrap(),
                    Offset::ZERO,
                    EntryStatus::Paused,
                );
                entry.folder = vec![name("a"), name("b")];
                state.uploads.insert(number.to_string(), entry);
            }
            whole.replace(&state).unwrap();
            let written: Result<(), StateFileError> = copy.write_copy(|entries| {
                for (key, entry) in &state.uploads {
                    entries.entry(key, entry).map_err(|error| copy.unwritten(error))?;
                }
                Ok(())
            });
            written.unwrap();
            let read = |file: &StateFile| std::fs::read_to_string(file.path()).unwrap();
            assert_eq!(read(&copy), read(&whole));
        }
    }
}

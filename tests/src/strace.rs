//! `strace`, told to have system calls of a server fail.

use std::path::{Path, PathBuf};

/// What is to fail, and where it is written down what did.
#[derive(Debug, Clone)]
pub struct Strace {
    log: PathBuf,
    calls: String,
    answer: String,
    when: String,
    paths: Vec<PathBuf>,
}

impl Strace {
    /// Calls of those names (`pwrite64,fsync`) get that answer (`error=EIO`), each
    /// time; `strace` writes what it saw to `log`.
    #[must_use]
    pub fn inject(log: &Path, calls: &str, answer: &str) -> Self {
        let (log, calls, answer) = (log.to_owned(), calls.to_owned(), answer.to_owned());
        Self { log, calls, answer, when: "1+".to_owned(), paths: Vec::new() }
    }

    /// Only at that time, or (`3+`) from that time on. It counts for each thread.
    #[must_use]
    pub fn when(mut self, when: impl ToString) -> Self {
        self.when = when.to_string();
        self
    }

    /// Only calls that are about one of these paths, by descriptor or by name.
    #[must_use]
    pub fn about(mut self, paths: impl IntoIterator<Item = PathBuf>) -> Self {
        self.paths.extend(paths);
        self
    }

    /// The words to run a server [under](crate::process::Launch::under).
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let Self { log, calls, answer, when, paths } = self;
        let mut words: Vec<String> =
            ["strace", "-D", "-f", "-y", "--seccomp-bpf", "-qq", "-o"].map(str::to_owned).to_vec();
        words.push(log.display().to_string());
        for path in paths {
            words.extend(["-P".to_owned(), path.display().to_string()]);
        }
        words.extend(["-e".to_owned(), format!("trace={calls}")]);
        words.extend(["-e".to_owned(), format!("inject={calls}:{answer}:when={when}")]);
        words
    }

    /// The calls it has seen so far, a line each.
    #[must_use]
    pub fn seen(&self) -> Vec<String> {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let is_call = |line: &&str| line.contains(" = ");
        log.lines().filter(is_call).map(str::to_owned).collect()
    }

    /// The names of the files whose descriptors were in calls that got the answer.
    #[must_use]
    pub fn hit(&self) -> Vec<String> {
        let name = |line: String| {
            let (path, _) = line.split_once('<')?.1.split_once('>')?;
            Some(path.rsplit('/').next()?.to_owned())
        };
        let fired = self.seen().into_iter().filter(|line| line.contains("(INJECTED)"));
        fired.filter_map(name).collect()
    }

    /// Whether any call got the answer.
    #[must_use]
    pub fn has_fired(&self) -> bool {
        self.seen().iter().any(|line| line.contains("(INJECTED)"))
    }
}

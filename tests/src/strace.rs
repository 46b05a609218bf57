//! Runs a server under `strace`, which makes system calls fail.

use std::path::{Path, PathBuf};

/// The system calls that fail, and the path of the log.
#[derive(Debug, Clone)]
pub struct Strace {
    log: PathBuf,
    calls: String,
    answer: String,
    when: String,
    paths: Vec<PathBuf>,
    /// How the calls are picked out.
    picked: &'static [&'static str],
}

/// The kernel picks the calls out, so that all others are as fast as ever.
const BY_THE_KERNEL: &[&str] = &["--seccomp-bpf"];

impl Strace {
    /// Calls of these names (`pwrite64,fsync`) get this result (`error=EIO`), every time; `strace`
    /// writes the calls that it sees to `log`.
    #[must_use]
    pub fn inject(log: &Path, calls: &str, answer: &str) -> Self {
        let (log, calls, answer) = (log.to_owned(), calls.to_owned(), answer.to_owned());
        let (when, paths, picked) = ("1+".to_owned(), Vec::new(), BY_THE_KERNEL);
        Self { log, calls, answer, when, paths, picked }
    }

    /// Calls of these names kill the server. `strace` looks at every call of the server then: with
    /// calls that the kernel picks out, strace 6.1 sends a signal only at the first one.
    #[must_use]
    pub fn kill(log: &Path, calls: &str) -> Self {
        Self { picked: &[], ..Self::inject(log, calls, "signal=KILL") }
    }

    /// Only the call of that number fails, or with `3+` that call and all later ones. Each thread
    /// has its own count.
    #[must_use]
    pub fn when(mut self, when: impl ToString) -> Self {
        self.when = when.to_string();
        self
    }

    /// Only calls on one of these paths fail, by descriptor or by name.
    #[must_use]
    pub fn about(mut self, paths: impl IntoIterator<Item = PathBuf>) -> Self {
        self.paths.extend(paths);
        self
    }

    /// The words to run a server [under](crate::process::Launch::under).
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let Self { log, calls, answer, when, paths, picked } = self;
        let mut words: Vec<String> = ["strace", "-D", "-f", "-y"].map(str::to_owned).to_vec();
        words.extend(picked.iter().map(|&word| word.to_owned()));
        words.extend(["-qq", "-o"].map(str::to_owned));
        words.push(log.display().to_string());
        for path in paths {
            words.extend(["-P".to_owned(), path.display().to_string()]);
        }
        words.extend(["-e".to_owned(), format!("trace={calls}")]);
        words.extend(["-e".to_owned(), format!("inject={calls}:{answer}:when={when}")]);
        words
    }

    /// The calls in the log so far, one per line.
    #[must_use]
    pub fn seen(&self) -> Vec<String> {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let is_call = |line: &&str| line.contains(" = ");
        log.lines().filter(is_call).map(str::to_owned).collect()
    }

    /// The names of the files whose descriptors were in the calls that failed.
    #[must_use]
    pub fn hit(&self) -> Vec<String> {
        let name = |line: String| {
            let (path, _) = line.split_once('<')?.1.split_once('>')?;
            Some(path.rsplit('/').next()?.to_owned())
        };
        let fired = self.seen().into_iter().filter(|line| line.contains("(INJECTED)"));
        fired.filter_map(name).collect()
    }

    /// Whether any call has failed.
    #[must_use]
    pub fn has_fired(&self) -> bool {
        self.seen().iter().any(|line| line.contains("(INJECTED)"))
    }
}

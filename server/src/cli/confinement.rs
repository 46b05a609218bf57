//! Which files the serving process can reach at all, held to by the kernel (Landlock): a mistake of
//! the server that lets a stranger choose a path leads no further than this.
//!
//! It is applied before the first thread is started, because threads have the limits of the one
//! that starts them. A rule is about a folder that is there, so a first start that has to make the
//! data folder is not confined, and the next one is.
//!
//! Where a scanner is a command, the process, and that command, read what their user can read, and run
//! the programs of the system; they write beneath the data folder and the folder for temporary files.
//!
//! Descriptors that are open stay as they are, and so does the socket. Names of folders can still be
//! listed, because the store makes names durable above its folder as well, and looks there for the
//! marker of another store; what is in files cannot be read.

use crate::Config;
use crate::operators_files::target_of;
use landlock::{
    ABI, Access as _, AccessFs, BitFlags, CompatLevel, Compatible as _, PathBeneath, PathFd,
    Ruleset, RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _, RulesetError,
    RulesetStatus,
};
use std::path::{Path, PathBuf};

/// What the system itself has: names of users and hosts, libraries that are loaded late, time zones,
/// what is mounted, how many cores there are. Of other processes the kernel shows a confined one
/// nothing that is secret.
const OF_SYSTEM: [&str; 6] = ["/etc", "/usr", "/lib", "/lib64", "/proc", "/sys"];

/// Where programs are that a scanner may be, or may start.
const OF_PROGRAMS: [&str; 7] = ["/usr", "/bin", "/sbin", "/lib", "/lib64", "/opt", "/nix"];

/// The rights that are held to. Later kernels have more of them; those are left out, because they
/// concern sockets, by which the service manager is told how the server is.
const RIGHTS: ABI = ABI::V5;

/// What the store does with files and folders, in the data folder. It starts no program there, whoever
/// has sent one, and makes no device, pipe or link: those rights it does not keep.
fn of_store() -> BitFlags<AccessFs> {
    of_files() | AccessFs::MakeDir | AccessFs::RemoveDir | AccessFs::MakeSock | AccessFs::Refer
}

/// What is done with files in one folder: they are read, written, made, renamed and removed.
fn of_files() -> BitFlags<AccessFs> {
    AccessFs::ReadFile
        | AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeReg
        | AccessFs::RemoveFile
}

/// The first version of Linux whose Landlock lets files move from one folder to another.
const FIRST_KERNEL: (u32, u32) = (5, 19);

/// See the module's description.
#[derive(Debug)]
pub(super) struct Confinement {
    data_dir: PathBuf,
    /// Files are read, written, made and removed in these.
    also_writes: Vec<PathBuf>,
    /// Files are read beneath these.
    reads: Vec<PathBuf>,
    /// A scanner is a command.
    runs_commands: bool,
}

/// Why the process reaches what its user reaches.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotConfined {
    #[error("the operator has turned it off")]
    TurnedOff,
    #[error("the data folder is made by this start; the next one is confined")]
    NewDataFolder,
    #[error("this kernel cannot do it")]
    Unsupported,
    #[error(
        "a filter of system calls (seccomp) is on this process, as in many containers: it forbids the \
         calls, or this kernel was built without them"
    )]
    Filtered,
    #[error(transparent)]
    System(#[from] RulesetError),
}

impl Confinement {
    /// What a server with these settings needs: its data folder, the folder of its audit log, which
    /// is rotated there, and the folders of the files that it reads again at SIGHUP.
    pub(super) fn of(config: &Config) -> Self {
        let tls = config.tls.iter().flat_map(|tls| [&tls.certificate, &tls.key]);
        let provider = config.provider.iter().map(|provider| &provider.keys);
        Self {
            data_dir: config.engine.data_dir.clone(),
            also_writes: config.audit.iter().flat_map(|audit| folders_of(&audit.path)).collect(),
            reads: tls.chain(provider).flat_map(|file| folders_of(file)).collect(),
            runs_commands: config.runs_commands,
        }
    }

    /// Confines this thread, and with it all that it starts.
    ///
    /// # Errors
    /// Where nothing is confined, with the reason.
    pub(super) fn apply(&self) -> Result<(), NotConfined> {
        let data_dir = PathFd::new(&self.data_dir).map_err(|_| NotConfined::NewDataFolder)?;
        // Without this right the kernel lets nothing move from one folder to another.
        let moves = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
        let rules = moves.handle_access(AccessFs::Refer).map_err(|_| not_there())?;
        let mut all = AccessFs::from_all(RIGHTS);
        all.remove(AccessFs::ReadDir);
        let rules = rules.set_compatibility(CompatLevel::BestEffort).handle_access(all)?;
        let mut rules = rules.create()?.add_rule(PathBeneath::new(data_dir, of_store()))?;
        for folder in &self.also_writes {
            rules = beneath(rules, folder, of_files())?;
        }
        let system = OF_SYSTEM.iter().map(Path::new);
        for folder in self.reads.iter().map(PathBuf::as_path).chain(system) {
            rules = beneath(rules, folder, AccessFs::ReadFile.into())?;
        }
        if self.runs_commands {
            // A program that is started has the limits of the one that starts it. What a scanner
            // reads only its operator knows. Where programs are is known: not where users send
            // files to.
            rules = beneath(rules, Path::new("/"), AccessFs::ReadFile.into())?;
            for folder in OF_PROGRAMS {
                rules = beneath(rules, Path::new(folder), AccessFs::ReadFile | AccessFs::Execute)?;
            }
            rules = beneath(rules, &std::env::temp_dir(), of_files())?;
            rules = beneath(rules, Path::new("/dev"), AccessFs::ReadFile | AccessFs::WriteFile)?;
        }
        match rules.restrict_self()?.ruleset {
            RulesetStatus::NotEnforced => Err(not_there()),
            RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => Ok(()),
        }
    }
}

/// Why the kernel does not have the calls. A filter of system calls may give the same answer as a
/// kernel without them, or say that they are forbidden; so what is said of the filter is what the
/// kernel says of this process.
fn not_there() -> NotConfined {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    match version(&release) >= Some(FIRST_KERNEL) && is_filtered(&status) {
        true => NotConfined::Filtered,
        false => NotConfined::Unsupported,
    }
}

/// The first two numbers of `6.18.44-generic`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Whether `/proc/self/status` says that each system call goes through a filter.
fn is_filtered(status: &str) -> bool {
    let mode = status.lines().find_map(|line| line.strip_prefix("Seccomp:"));
    mode.is_some_and(|mode| mode.trim() == "2")
}

/// The folder that has the file, and, where that is a link, the folder of what it leads to now. What it
/// leads to need not be there yet: an audit log is made there.
fn folders_of(file: &Path) -> Vec<PathBuf> {
    let Ok(file) = std::path::absolute(file) else { return Vec::new() };
    let paths = [target_of(&file), file];
    let mut folders: Vec<_> = paths.iter().filter_map(|path| path.parent()).collect();
    folders.dedup();
    folders.into_iter().map(Path::to_owned).collect()
}

/// Allows that beneath the folder. Where there is no such folder, nothing can be opened in it.
fn beneath(
    rules: RulesetCreated,
    folder: &Path,
    rights: BitFlags<AccessFs>,
) -> Result<RulesetCreated, RulesetError> {
    match PathFd::new(folder) {
        Ok(folder) => rules.add_rule(PathBeneath::new(folder, rights)),
        Err(_) => Ok(rules),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    use std::io::Write as _;
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::process::Command;

    /// Only the thread that is confined is; the test goes on beside it.
    fn confined<T: Send>(confinement: &Confinement, work: impl FnOnce() -> T + Send) -> Option<T> {
        let test = std::thread::current();
        let skipped = |why: &NotConfined| {
            let test = test.name().unwrap_or("a test");
            // Past the test harness, which hides what a passing test prints.
            let _ = writeln!(std::io::stderr(), "\nSKIPPED, not passed: {test}: {why}");
        };
        let confine = || confinement.apply().inspect_err(skipped).is_ok().then(work);
        std::thread::scope(|scope| scope.spawn(confine).join().unwrap())
    }

    fn kind(error: impl Into<std::io::Error>) -> std::io::ErrorKind {
        error.into().kind()
    }

    #[test]
    fn no_program_is_started_and_no_device_made_in_the_data_folder() {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path().canonicalize().unwrap();
        let program = data_dir.join("sent");
        std::fs::copy("/bin/true", &program).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert!(Command::new(&program).status().unwrap().success());
        let confinement = Confinement {
            data_dir: data_dir.clone(),
            also_writes: Vec::new(),
            reads: Vec::new(),
            runs_commands: false,
        };
        let tried = confined(&confinement, || {
            assert_eq!(kind(Command::new(&program).status().unwrap_err()), PERMISSION_DENIED);
            for (name, file_type) in [
                ("terminal", FileType::CharacterDevice),
                ("disk", FileType::BlockDevice),
                ("pipe", FileType::Fifo),
            ] {
                let made = mknodat(CWD, data_dir.join(name), file_type, Mode::RWXU, 0x0103);
                assert_eq!(kind(made.unwrap_err()), PERMISSION_DENIED, "{name}");
            }
            assert_eq!(kind(symlink("/", data_dir.join("link")).unwrap_err()), PERMISSION_DENIED);
            // What a store needs is possible.
            std::fs::create_dir_all(data_dir.join("a/b")).unwrap();
            std::fs::write(data_dir.join("a/file"), "text").unwrap();
            std::fs::rename(data_dir.join("a/file"), data_dir.join("a/b/file")).unwrap();
            std::fs::OpenOptions::new().write(true).truncate(true).open(&program).unwrap();
            std::os::unix::net::UnixListener::bind(data_dir.join("socket")).unwrap();
            std::fs::remove_dir_all(data_dir.join("a")).unwrap();
        });
        if tried.is_some() {
            assert!(!data_dir.join("disk").exists() && data_dir.join("socket").exists());
        }
    }

    const PERMISSION_DENIED: std::io::ErrorKind = std::io::ErrorKind::PermissionDenied;

    #[test]
    fn a_link_to_a_file_that_is_not_there_yet_has_the_folder_of_that_file() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        symlink("second", at("first")).unwrap();
        symlink(at("there/audit.log"), at("second")).unwrap();
        assert_eq!(folders_of(&at("first")), [at("there"), folder.path().to_owned()]);
        assert_eq!(folders_of(&at("no_link")), [folder.path()]);
        symlink("round", at("round")).unwrap();
        assert_eq!(folders_of(&at("round")), [folder.path()]);
    }

    #[test]
    fn a_filter_of_system_calls_is_told_from_a_kernel_that_is_too_old() {
        assert_eq!(version("6.18.44-generic\n"), Some((6, 18)));
        assert_eq!(version("5.4"), Some((5, 4)));
        assert_eq!(version(""), None);
        assert!(version("5.15.0") < Some(FIRST_KERNEL) && version("6.1") > Some(FIRST_KERNEL));
        assert!(is_filtered("Name:\ttowlined\nSeccomp:\t2\nSeccomp_filters:\t1\n"));
        assert!(!is_filtered("Seccomp:\t0\n") && !is_filtered(""));
    }
}

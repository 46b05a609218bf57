//! Which files the serving process can reach at all, held to by the kernel (Landlock): a mistake of
//! the server that lets a stranger choose a path leads no further than this.
//!
//! It is applied before the first thread is started, because threads have the limits of the one
//! that starts them. A rule is about a folder that is there, so a first start that has to make the
//! data folder is not confined, and the next one is.
//!
//! Descriptors that are open stay as they are, and so does the socket. Names of folders can still be
//! listed, because the store makes names durable above its folder as well, and looks there for the
//! marker of another store; what is in files cannot be read.

use crate::Config;
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

/// The rights that are held to. Later kernels have more of them; those are left out, because they
/// concern sockets, by which the service manager is told how the server is.
const RIGHTS: ABI = ABI::V5;

/// See the module's description.
#[derive(Debug)]
pub(super) struct Confinement {
    data_dir: PathBuf,
    /// Files are read, written, made and removed beneath these.
    also_writes: Vec<PathBuf>,
    /// Files are read beneath these.
    reads: Vec<PathBuf>,
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
        let rules = moves.handle_access(AccessFs::Refer).map_err(|_| NotConfined::Unsupported)?;
        let mut all = AccessFs::from_all(RIGHTS);
        all.remove(AccessFs::ReadDir);
        let rules = rules.set_compatibility(CompatLevel::BestEffort).handle_access(all)?;
        let mut rules = rules.create()?.add_rule(PathBeneath::new(data_dir, all))?;
        for folder in &self.also_writes {
            rules = beneath(rules, folder, all)?;
        }
        let system = OF_SYSTEM.iter().map(Path::new);
        for folder in self.reads.iter().map(PathBuf::as_path).chain(system) {
            rules = beneath(rules, folder, AccessFs::ReadFile.into())?;
        }
        match rules.restrict_self()?.ruleset {
            RulesetStatus::NotEnforced => Err(NotConfined::Unsupported),
            RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => Ok(()),
        }
    }
}

/// The folder that has the file, and, where that is a link, the folder of what it leads to now.
fn folders_of(file: &Path) -> Vec<PathBuf> {
    let paths = [std::path::absolute(file), file.canonicalize()].into_iter().flatten();
    let mut folders: Vec<_> = paths.filter_map(|path| Some(path.parent()?.to_owned())).collect();
    folders.dedup();
    folders
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

//! The permission to block for as long as it takes.

/// A thread has it that works for one writer or one task alone. A thread that serves many
/// writers in turn has none: it waits for what all of them wait for, as a commit, and for
/// nothing that one of them may hold. So a function that may wait for another writer, or for a
/// long publishing, takes this, and a batch that called it would not compile.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MayBlock(());

impl MayBlock {
    /// The calling thread serves one writer or one task alone.
    pub(crate) const fn on_own_thread() -> Self {
        Self(())
    }
}

//! The permission to block for as long as it takes.

/// The permission of a thread that works for one writer or one task alone. A thread that serves
/// many writers in turn does not have it: such a thread waits for things that all of them need, as
/// a commit, and for nothing that one of the writers may hold. So a function that may wait for
/// another writer, or for a long publishing, takes this value as an argument, and a batch of
/// writers that called it would not compile.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MayBlock(());

impl MayBlock {
    /// The calling thread serves one writer or one task alone.
    pub(crate) const fn on_own_thread() -> Self {
        Self(())
    }
}

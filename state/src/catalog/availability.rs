//! Whether a document is given out.

/// Whether a completed document is given out, and why not. A document is in one of these states at
/// a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Availability {
    /// It is given out.
    #[default]
    Available,
    /// A scanner has not said yet what it is.
    Scanning,
    /// It could not be scanned.
    Failed,
    /// It goes into the quarantine: its file is still in its place, or there already.
    Isolating,
    /// Its file lies in the quarantine.
    Quarantined,
    /// It comes out of the quarantine: its file is still there, or in its place already.
    Releasing,
}

impl Availability {
    /// All states of documents that are not given out.
    pub const HELD: [Self; 5] =
        [Self::Scanning, Self::Failed, Self::Isolating, Self::Quarantined, Self::Releasing];

    /// The word for it, as the catalog has it; none for a document that is given out.
    #[must_use]
    pub const fn as_str(self) -> Option<&'static str> {
        match self {
            Self::Available => None,
            Self::Scanning => Some("scanning"),
            Self::Failed => Some("failed"),
            Self::Isolating => Some("isolating"),
            Self::Quarantined => Some("quarantined"),
            Self::Releasing => Some("releasing"),
        }
    }

    /// The word for it that people and programs are shown. They need not know whether a rename is
    /// done.
    #[must_use]
    pub const fn shown(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::Scanning => "scanning",
            Self::Failed => "failed",
            Self::Isolating | Self::Quarantined | Self::Releasing => "quarantined",
        }
    }

    /// Whether its bytes are given out.
    #[must_use]
    pub const fn is_available(self) -> bool {
        matches!(self, Self::Available)
    }

    /// Whether it is in the quarantine, or on its way there or back: its file need not be in its
    /// place.
    #[must_use]
    pub const fn is_quarantined(self) -> bool {
        matches!(self, Self::Isolating | Self::Quarantined | Self::Releasing)
    }

    /// Whether its file is on its way into the quarantine or back.
    #[must_use]
    pub const fn is_under_way(self) -> bool {
        matches!(self, Self::Isolating | Self::Releasing)
    }

    pub(super) fn parse(word: &str) -> Result<Self, String> {
        let named = Self::HELD.into_iter().find(|one| one.as_str() == Some(word));
        named.ok_or_else(|| format!("{word:?} is no state of a document"))
    }
}

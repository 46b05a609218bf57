//! The token that a client shows, and the file in which a later one may appear.

use super::Token;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;
use towline_types::StoreId;

/// The token of all connections of a client. Clones are the same source.
#[derive(Debug, Clone)]
pub(crate) struct TokenSource(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    token: Mutex<Token>,
    file: Option<PathBuf>,
    /// The file is being read: connections of one client look for a later token together.
    is_reading: AtomicBool,
}

impl TokenSource {
    /// A token, and the file that it came from.
    pub(crate) fn new(token: Token, file: Option<PathBuf>) -> Self {
        Self(Arc::new(Inner { token: Mutex::new(token), file, is_reading: AtomicBool::new(false) }))
    }

    /// The token to show now.
    pub(crate) fn current(&self) -> Token {
        self.0.token.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The file that the token came from.
    pub(crate) fn file(&self) -> Option<&PathBuf> {
        self.0.file.as_ref()
    }

    /// Reads the file again, because the server has refused the token. Any other token that the
    /// file has is the one to show, unless it says that it is for another store than the one before,
    /// and than the server's: then it is not for this server. Returns whether the token to show is
    /// another one than `refused`.
    pub(crate) async fn has_other_than(&self, refused: &Token, of_server: Option<StoreId>) -> bool {
        let source = self.clone();
        let is_taken = move |now: &Token, found: &Token| {
            is_for_same(now, found) || (of_server.is_some() && found.store() == of_server)
        };
        let read = tokio::task::spawn_blocking(move || source.read(is_taken));
        read.await.is_ok() && self.current() != *refused
    }

    /// Reads the file again on another thread, because the token is about to end. If the file has a
    /// token that ends later, that one is the one to show from then on.
    pub(crate) fn look_for_later(&self) {
        if self.0.file.is_none() || self.0.is_reading.swap(true, Ordering::AcqRel) {
            return;
        }
        let source = self.clone();
        tokio::task::spawn_blocking(move || {
            source.read(|now, found| {
                let is_later = match (now.ends_at(), found.ends_at()) {
                    (Some(now), Some(found)) => found > now,
                    _ => found != now,
                };
                is_later && is_for_same(now, found)
            });
            source.0.is_reading.store(false, Ordering::Release);
        });
    }

    /// Takes the token of the file in the place of the current one, where `is_taken` says so. Where
    /// the file has no token, all stays as it is.
    fn read(&self, is_taken: impl FnOnce(&Token, &Token) -> bool) {
        let Some(Ok(found)) = self.0.file.as_deref().map(Token::from_file) else { return };
        let mut token = self.0.token.lock().unwrap_or_else(PoisonError::into_inner);
        if is_taken(&token, &found) {
            *token = found;
        }
    }
}

/// Whether the token may be for the same server: the two do not name two stores.
fn is_for_same(now: &Token, found: &Token) -> bool {
    now.store().zip(found.store()).is_none_or(|(now, found)| now == found)
}

/// The most time before its end at which a later token is looked for.
const BEFORE_END_MAX: Duration = Duration::from_secs(600);
/// The least and the most time between two looks for a later token.
const BETWEEN_LOOKS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// When a connection looks for a later token than the one that it has shown.
#[derive(Debug)]
pub(crate) struct TokenWatch {
    source: TokenSource,
    shown: Token,
    /// When the next look is due; `None` where the token does not say its end, or has no file.
    due: Option<Instant>,
}

impl TokenWatch {
    /// The watch of a connection that has shown the current token of that source.
    pub(crate) fn of(source: &TokenSource, shown: Token) -> Self {
        let mut watch = Self { source: source.clone(), shown, due: None };
        watch.plan();
        watch
    }

    /// When the next look is due.
    pub(crate) const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Looks for a later token, where a look is due. Returns the token to show, where there is one.
    pub(crate) fn later(&mut self, now: Instant) -> Option<Token> {
        if self.due.is_none_or(|due| now < due) {
            return None;
        }
        let current = self.source.current();
        if current != self.shown {
            self.shown = current.clone();
            self.plan();
            return Some(current);
        }
        self.source.look_for_later();
        let (least, most) = BETWEEN_LOOKS;
        let left = self.shown.ends_at().map_or(most, left_of);
        self.due = Some(now + (left / 10).clamp(least, most));
        None
    }

    /// Plans the first look: when half of the time that is left has passed, but at most
    /// [`BEFORE_END_MAX`] before the end. The request that shows the later token still has to get
    /// through the queue of a slow line.
    fn plan(&mut self) {
        let left = self.shown.ends_at().map(left_of).filter(|_| self.source.file().is_some());
        self.due = left.map(|left| Instant::now() + left - (left / 2).min(BEFORE_END_MAX));
    }
}

/// How long a token with that end is still valid by the clock of this machine.
fn left_of(ends_at: Duration) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // The clock of the timer does not reach further than some centuries.
    ends_at.saturating_sub(now).min(Duration::from_secs(u32::MAX.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;

    fn token(ends_in: u64, name: &str) -> Token {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let claims = BASE64_URL_SAFE_NO_PAD.encode(format!(r#"{{"exp":{}}}"#, now + ends_in));
        Token::new(&format!("e30.{claims}.{name}")).unwrap()
    }

    #[tokio::test]
    async fn a_token_of_the_file_is_taken_where_it_ends_later() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let first = token(100, "a");
        let source = TokenSource::new(first.clone(), Some(file.path().to_owned()));
        let looked = async |found: &str| {
            std::fs::write(file.path(), found).unwrap();
            source.look_for_later();
            while source.0.is_reading.load(Ordering::Acquire) {
                tokio::task::yield_now().await;
            }
            source.current()
        };
        assert_eq!(looked("").await, first, "a file without a token changes nothing");
        assert_eq!(looked(token(90, "b").reveal()).await, first);
        let later = token(200, "c");
        assert_eq!(looked(later.reveal()).await, later);
        // Once a server has refused it, any other one is shown.
        let earlier = token(90, "d");
        std::fs::write(file.path(), earlier.reveal()).unwrap();
        assert!(source.has_other_than(&later, None).await);
        assert_eq!(source.current(), earlier);
        assert!(!source.has_other_than(&earlier, None).await);
    }

    #[tokio::test]
    async fn a_token_for_another_store_is_not_taken() {
        let [store, other] = ["1", "2"].map(|digit| digit.repeat(32));
        let of = |store: &str, ends_at: u64| {
            let claims = format!(r#"{{"iss":"{store}","exp":{ends_at}}}"#);
            let claims = BASE64_URL_SAFE_NO_PAD.encode(claims);
            Token::new(&format!("e30.{claims}.s")).unwrap()
        };
        let file = tempfile::NamedTempFile::new().unwrap();
        let first = of(&store, u64::from(u32::MAX));
        let source = TokenSource::new(first.clone(), Some(file.path().to_owned()));
        let elsewhere = of(&other, 2 * u64::from(u32::MAX));
        std::fs::write(file.path(), elsewhere.reveal()).unwrap();
        source.look_for_later();
        while source.0.is_reading.load(Ordering::Acquire) {
            tokio::task::yield_now().await;
        }
        assert_eq!(source.current(), first);
        for of_server in [None, first.store()] {
            assert!(!source.has_other_than(&first, of_server).await);
            assert_eq!(source.current(), first);
        }
        // The refused token was for another store; this one is for the store of the server.
        assert!(source.has_other_than(&first, elsewhere.store()).await);
        assert_eq!(source.current(), elsewhere);
    }

    #[tokio::test]
    async fn a_later_token_is_looked_for_before_the_end_and_shown_once() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let source = TokenSource::new(token(100, "a"), Some(file.path().to_owned()));
        let mut watch = TokenWatch::of(&source, source.current());
        let due = watch.due().unwrap();
        let after = due - Instant::now();
        assert!(after > Duration::from_secs(45) && after < Duration::from_secs(51), "{after:?}");
        assert_eq!(watch.later(due - Duration::from_secs(1)), None);
        assert_eq!(watch.due(), Some(due));
        assert_eq!(watch.later(due), None);
        let next = watch.due().unwrap();
        assert!(next > due && next <= due + Duration::from_secs(30));
        let later = token(5000, "b");
        *source.0.token.lock().unwrap() = later.clone();
        assert_eq!(watch.later(next), Some(later));
        assert_eq!(watch.later(next), None);
        assert!(watch.due().unwrap() > next + Duration::from_secs(1000));
    }

    #[test]
    fn a_token_without_a_file_or_an_end_is_not_watched() {
        let of = |token: Token, file: Option<&str>| {
            let source = TokenSource::new(token.clone(), file.map(PathBuf::from));
            TokenWatch::of(&source, token).due()
        };
        assert_eq!(of(token(100, "a"), None), None);
        assert_eq!(of(Token::new("opaque").unwrap(), Some("/t")), None);
        assert!(of(token(u64::MAX / 2_000_000_000, "a"), Some("/t")).is_some());
    }
}

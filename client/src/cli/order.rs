//! All that one client is to send, part after part, and to which command each file, folder and link
//! belongs.

use super::selection::Selection;
use super::selection::Stopper;
use super::selection::found_files::FoundFiles;
use super::sent_again::SentAgain;
use crate::document::Document;
use crate::item::Item;
use crate::transfer::options::PutOptions;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Files of one command, or of none.
#[derive(Debug)]
pub(super) struct Part {
    /// The client, by its place.
    pub(super) client: usize,
    pub(super) files: Files,
    pub(super) options: PutOptions,
    /// The command, by its place.
    pub(super) job: Option<usize>,
    /// The files that are not sent again, although the options say so for all.
    pub(super) sent_again: Option<SentAgain>,
}

#[derive(Debug)]
pub(super) enum Files {
    /// One file of the list of unfinished uploads.
    One(Document),
    /// What a command names.
    Named(Selection),
}

impl Part {
    /// How many files it has, as far as that is known.
    pub(super) fn found(&self) -> Arc<FoundFiles> {
        match &self.files {
            Files::One(document) => {
                let bytes = std::fs::metadata(&document.local).map_or(0, |found| found.len());
                Arc::new(FoundFiles::known(1, bytes))
            }
            Files::Named(selection) => Arc::clone(selection.files()),
        }
    }
}

/// Tells to which command an item belongs, by its place among all items.
#[derive(Debug, Clone, Default)]
pub(super) struct Commands(Arc<Mutex<Vec<Begin>>>);

/// The place of the first file of a part, and the command of the part.
type Begin = (usize, Option<usize>);

impl Commands {
    pub(super) fn of(&self, place: usize) -> Option<usize> {
        let begins = self.lock();
        let after = begins.partition_point(|(begin, _)| *begin <= place);
        after.checked_sub(1).and_then(|part| begins[part].1)
    }

    fn begins(&self, place: usize, job: Option<usize>) {
        self.lock().push((place, job));
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Begin>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Items = Box<dyn Iterator<Item = Item> + Send>;

/// What all parts have. The iterator blocks while the next one is being looked for.
pub(super) struct Order {
    parts: VecDeque<Part>,
    now: Option<(Items, PutOptions, Option<SentAgain>)>,
    commands: Commands,
    place: usize,
}

impl Order {
    pub(super) fn of(parts: Vec<Part>) -> Self {
        Self { parts: parts.into(), now: None, commands: Commands::default(), place: 0 }
    }

    pub(super) fn commands(&self) -> Commands {
        self.commands.clone()
    }

    /// What stops the looking for more files.
    pub(super) fn stoppers(&self) -> Vec<Stopper> {
        let stoppers = self.parts.iter().filter_map(|part| match &part.files {
            Files::Named(selection) => Some(selection.stopper()),
            Files::One(_) => None,
        });
        stoppers.collect()
    }
}

impl Iterator for Order {
    type Item = (Item, PutOptions);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((items, options, sent_again)) = &mut self.now
                && let Some(item) = items.next()
            {
                self.place += 1;
                let mut options = options.clone();
                let local = &item.document.local;
                options.again &= !sent_again.as_ref().is_some_and(|sent| sent.has(local));
                return Some((item, options));
            }
            let Part { files, options, job, sent_again, client: _ } = self.parts.pop_front()?;
            self.commands.begins(self.place, job);
            let items: Items = match files {
                Files::One(document) => Box::new(std::iter::once(Item::file(document))),
                Files::Named(selection) => Box::new(selection.into_items()),
            };
            self.now = Some((items, options, sent_again));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_is_known_to_be_of_its_command() {
        let part = |name: &str, job| Part {
            client: 0,
            files: Files::One(Document::in_folder(name, Vec::new()).unwrap()),
            options: PutOptions::default(),
            job,
            sent_again: None,
        };
        let mut order = Order::of(vec![part("a", None), part("b", Some(3)), part("c", Some(1))]);
        let commands = order.commands();
        assert_eq!(commands.of(0), None);
        assert_eq!(order.by_ref().count(), 3);
        let known: Vec<_> = (0..3).map(|place| commands.of(place)).collect();
        assert_eq!(known, [None, Some(3), Some(1)]);
    }
}

//! Connections, their channels, and what each channel is used for.

use super::{Line, Place, Slot, World};
use crate::command::{CHANNELS, LINES, Target};
use crate::document::Order;
use towline_tests::raw_client::RawClient;

impl World {
    pub(super) async fn line(&mut self, number: usize) -> &mut Line {
        if self.lines[number].is_none() {
            let token = &self.users[number / 2].token;
            let client = RawClient::login(self.host.address(), token).await;
            let slots = [Slot::Empty; CHANNELS as usize];
            self.lines[number] =
                Some(Line { client, slots, pending: Vec::new(), durable: [0; CHANNELS as usize] });
        }
        self.lines[number].as_mut().unwrap()
    }

    pub(super) fn slot(&self, place: Place) -> Slot {
        self.lines[place.line]
            .as_ref()
            .map_or(Slot::Empty, |line| line.slots[place.channel as usize])
    }

    pub(super) fn set(&mut self, place: Place, slot: Slot) {
        let line = self.lines[place.line].as_mut().unwrap();
        if let Slot::Open { .. } = slot {
            line.durable[place.channel as usize] = 0;
        }
        line.slots[place.channel as usize] = slot;
    }

    fn places() -> impl Iterator<Item = Place> {
        (0..LINES).flat_map(|line| (0..CHANNELS).map(move |channel| Place { line, channel }))
    }

    /// Every channel with an upload.
    pub(super) fn open(&self) -> Vec<(Place, usize, Order)> {
        let open = |place| match self.slot(place) {
            Slot::Open { document, order } => Some((place, document, order)),
            _ => None,
        };
        Self::places().filter_map(open).collect()
    }

    pub(super) fn writer(&self, document: usize) -> Option<Place> {
        self.open().into_iter().find(|(_, open, _)| *open == document).map(|(place, ..)| place)
    }

    pub(super) fn aim(&self, target: Target) -> Place {
        let open = self.open();
        match target {
            Target::Open(number) if !open.is_empty() => open[usize::from(number) % open.len()].0,
            Target::Open(_) => Place { line: 0, channel: 0 },
            Target::Any { line, channel } => Place { line, channel },
        }
    }

    pub(super) fn pick(&self, number: u8) -> Option<usize> {
        let count = self.documents.len();
        (count > 0).then(|| usize::from(number) % count)
    }

    /// The channel is needed for another upload.
    pub(super) fn leave(&mut self, place: Place) {
        self.set(place, Slot::Empty);
    }
}

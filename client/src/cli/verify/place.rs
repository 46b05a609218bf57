//! Where something lies on the server, in the order of a listing.

use std::fmt;
use towline_types::Name;

/// See the module's description: a folder comes before what lies in it, and the entries of a folder
/// come in the order of the form in which a server compares names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(Vec<(String, Name)>);

impl Place {
    pub(super) fn of<'a>(names: impl IntoIterator<Item = &'a Name>) -> Self {
        Self(names.into_iter().map(|name| (name.key(), name.clone())).collect())
    }

    /// What lies at that path below.
    pub(super) fn below(&self, names: &[Name]) -> Self {
        let Self(mut all) = self.clone();
        all.extend(Self::of(names).0);
        Self(all)
    }

    /// The number of names down to the first that differs, where the two names there are twins: the
    /// protocol says no order for twins. `None` where they are none.
    pub(super) fn twin_depth(&self, other: &Self) -> Option<usize> {
        let mut pairs = self.0.iter().zip(&other.0);
        let depth = pairs.position(|(ours, theirs)| ours != theirs)?;
        (self.0[depth].0 == other.0[depth].0).then_some(depth + 1)
    }

    /// Whether the first `depth` names of both are the same to a server.
    pub(super) fn is_same_to(&self, other: &Self, depth: usize) -> bool {
        let keys = |place: &Self| place.0.iter().take(depth).map(|(key, _)| key.clone()).collect();
        let (ours, theirs): (Vec<_>, Vec<_>) = (keys(self), keys(other));
        ours == theirs
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (_, name)) in self.0.iter().enumerate() {
            write!(f, "{}{name}", if number == 0 { "" } else { "/" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_in_the_order_of_a_listing() {
        let place = |path: &str| {
            let names: Vec<_> = path.split('/').map(|name| Name::new(name).unwrap()).collect();
            Place::of(&names)
        };
        let order = ["a", "a/x", "a/x/y", "a b", "a-b", "a.b", "B", "B/a", "c", "C (1)", "Z", "ä"];
        for pair in order.windows(2) {
            assert!(place(pair[0]) < place(pair[1]), "{pair:?}");
        }
        assert_eq!(place("a/x/y").to_string(), "a/x/y");
        assert_eq!(place("a/x/y").twin_depth(&place("a/X")), Some(2));
        assert_eq!(place("a/x/y").twin_depth(&place("a/x")), None);
        assert_eq!(place("a/x").twin_depth(&place("b/X")), None);
        assert!(place("a/X/z").is_same_to(&place("A/x/y"), 2));
        assert!(
            !place("a/b").is_same_to(&place("a/x"), 2) && !place("a").is_same_to(&place("a/x"), 2)
        );
        assert_eq!(place("a").below(&[Name::new("x").unwrap()]), place("a/x"));
    }
}

//! Where a node lies.

use crate::limits;
use crate::name::{BadName, DocumentPath, Name};
use std::fmt;

/// The place of a node: the names on the way to it, from the user's own folder on, its own name
/// last. Without names it is the user's own folder itself, which is no node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct NodePath(Vec<Name>);

impl NodePath {
    /// The user's own folder.
    pub const ROOT: Self = Self(Vec::new());

    /// Puts a path together.
    ///
    /// # Errors
    /// [`BadName::TooDeep`] where the names are more, or longer together, than those of the
    /// deepest file may be.
    pub fn new(names: Vec<Name>) -> Result<Self, BadName> {
        let length: usize = names.iter().map(|name| name.as_str().len() + 1).sum();
        if names.len() > limits::FOLDER_DEPTH + 1 || length > limits::PATH_BYTES + 1 {
            return Err(BadName::TooDeep);
        }
        Ok(Self(names))
    }

    /// Checks the names of a place in which something is to be made.
    ///
    /// # Errors
    /// Says why a name is refused.
    pub fn of_new(names: &[String]) -> Result<Self, BadName> {
        Self::new(names.iter().map(Name::new).collect::<Result<_, _>>()?)
    }

    /// Checks the names of a place in which something is looked for. A name that was accepted by
    /// the rules of its time [can still be found](Name::recorded).
    ///
    /// # Errors
    /// Says why a name is refused.
    pub fn of_existing(names: &[String]) -> Result<Self, BadName> {
        Self::new(names.iter().map(Name::recorded).collect::<Result<_, _>>()?)
    }

    /// Reads a path as a person types it: `proj/a/new`. One slash or more at the beginning, at
    /// the end and between two names say nothing; no name is the user's own folder.
    ///
    /// # Errors
    /// Says why a name is refused.
    pub fn typed(path: &str) -> Result<Self, BadName> {
        let names = path.split('/').filter(|name| !name.is_empty());
        Self::new(names.map(Name::recorded).collect::<Result<_, _>>()?)
    }

    /// The names, the outermost folder first.
    #[must_use]
    pub fn names(&self) -> &[Name] {
        &self.0
    }

    /// Whether it is the user's own folder.
    #[must_use]
    pub const fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The node's own name; none for the user's own folder.
    #[must_use]
    pub fn name(&self) -> Option<&Name> {
        self.0.last()
    }

    /// Where the folder lies that the node is in; none for the user's own folder.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let (_, folder) = self.0.split_last()?;
        Some(Self(folder.to_vec()))
    }

    /// The place of a node of that name in this folder.
    ///
    /// # Errors
    /// [`BadName::TooDeep`].
    pub fn join(&self, name: Name) -> Result<Self, BadName> {
        let mut names = self.0.clone();
        names.push(name);
        Self::new(names)
    }

    /// Whether the node is in that folder, or is it.
    #[must_use]
    pub fn is_within(&self, folder: &Self) -> bool {
        self.0.starts_with(&folder.0)
    }

    /// The same place as that of a file; none for the user's own folder.
    #[must_use]
    pub fn to_document(&self) -> Option<DocumentPath> {
        let (filename, folder) = self.0.split_last()?;
        DocumentPath::new(folder.to_vec(), filename.clone()).ok()
    }
}

impl From<DocumentPath> for NodePath {
    fn from(path: DocumentPath) -> Self {
        let mut names = path.folder().to_vec();
        names.push(path.filename().clone());
        Self(names)
    }
}

impl From<NodePath> for Vec<String> {
    fn from(path: NodePath) -> Self {
        path.0.into_iter().map(String::from).collect()
    }
}

impl fmt::Display for NodePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, name) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str("/")?;
            }
            name.fmt(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(path: &str) -> NodePath {
        NodePath::typed(path).unwrap()
    }

    #[test]
    fn a_path_is_read_as_people_type_it() {
        for path in ["proj/a", "/proj/a", "proj/a/", "//proj///a//"] {
            assert_eq!(typed(path).to_string(), "proj/a", "{path}");
        }
        for path in ["", "/", "//"] {
            assert!(typed(path).is_root(), "{path}");
        }
        for path in ["..", "a/../b", ".", "a\\b", "a/\u{1b}b"] {
            assert!(NodePath::typed(path).is_err(), "{path}");
        }
    }

    #[test]
    fn a_place_has_a_folder_and_a_name() {
        let place = typed("a/b/c.txt");
        assert_eq!(place.name().unwrap().as_str(), "c.txt");
        assert_eq!(place.parent(), Some(typed("a/b")));
        assert_eq!(typed("a").parent(), Some(NodePath::ROOT));
        assert_eq!(NodePath::ROOT.parent(), None);
        assert!(place.is_within(&typed("a")) && place.is_within(&place));
        assert!(!place.is_within(&typed("a/bc")));
        let document = place.to_document().unwrap();
        assert_eq!(document.to_string(), "a/b/c.txt");
        assert_eq!(NodePath::from(document), place);
        assert_eq!(NodePath::ROOT.to_document(), None);
    }

    #[test]
    fn a_path_is_as_deep_and_as_long_as_that_of_a_file() {
        let deepest = ["x"; 33].map(str::to_owned);
        let deepest = NodePath::of_new(&deepest).unwrap();
        assert!(deepest.to_document().is_some());
        assert_eq!(deepest.join(Name::new("x").unwrap()), Err(BadName::TooDeep));
        let mut long = vec!["y".repeat(255); 8];
        assert_eq!(NodePath::of_new(&long).map(|path| path.to_string().len()), Ok(2047));
        long[7].pop();
        long.push("z".to_owned());
        assert_eq!(NodePath::of_new(&long).map(|path| path.to_string().len()), Ok(2048));
        long.push("z".to_owned());
        assert_eq!(NodePath::of_new(&long), Err(BadName::TooDeep));
    }

    #[test]
    fn what_is_made_obeys_the_rules_of_today_and_what_is_found_those_of_its_time() {
        let names = ["a.".to_owned()];
        assert_eq!(NodePath::of_new(&names), Err(BadName::Edge));
        assert!(NodePath::of_existing(&names).is_ok());
        assert_eq!(NodePath::of_existing(&["..".to_owned()]), Err(BadName::Dots));
    }
}

//! The name that a thing has here. Settings of programs have names that begin with a dot: at the top of
//! the folder a stranger chooses no such name. And no name is that of the staging file of a neighbour.

use crate::staging_name;
use std::io;
use towline_types::Name;

/// See the module's description.
pub(super) fn own_name(name: &Name, is_top: bool) -> io::Result<Name> {
    match name.as_str().strip_prefix('.') {
        Some(rest) if is_top || staging_name::is_one(name.as_str()) => {
            Name::new(format!("_{rest}")).map_err(io::Error::other)
        }
        _ => Ok(name.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stranger_chooses_no_hidden_name_at_the_top_and_no_staging_name_anywhere() {
        let staging = ".towline-0123456789abcdef.part";
        let longest = format!(".{}", "x".repeat(254));
        for (name, top, below) in [
            (".bashrc", "_bashrc", ".bashrc"),
            ("..a", "_.a", "..a"),
            (".towline-receive", "_towline-receive", ".towline-receive"),
            (staging, "_towline-0123456789abcdef.part", "_towline-0123456789abcdef.part"),
            ("a.b", "a.b", "a.b"),
            (&longest, &longest.replace('.', "_"), &longest),
        ] {
            let name = Name::new(name).unwrap();
            assert_eq!(own_name(&name, true).unwrap().as_str(), top);
            assert_eq!(own_name(&name, false).unwrap().as_str(), below);
        }
    }
}

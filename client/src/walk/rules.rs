//! What of a folder is left out: the rules of a command line, and ignore files.

use ignore::gitignore::{Gitignore, GitignoreBuilder};
use std::path::{Path, PathBuf};

/// One rule of a command line. Its text is `+GLOB` or `-GLOB`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Rule {
    /// What matches is sent.
    Include(String),
    /// What matches is left out.
    Exclude(String),
}

/// Why a rule cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadRule {
    #[error("a pattern must not be empty")]
    Empty,
    #[error("a pattern must not begin with \"!\"; --include and --exclude are opposites")]
    Negated,
    #[error("{0}")]
    BadGlob(String),
}

impl Rule {
    /// The form in which the rule is remembered.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Include(glob) => format!("+{glob}"),
            Self::Exclude(glob) => format!("-{glob}"),
        }
    }

    /// A rule that was remembered.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text.split_at_checked(1)? {
            ("+", glob) => Some(Self::Include(glob.to_owned())),
            ("-", glob) => Some(Self::Exclude(glob.to_owned())),
            _ => None,
        }
    }

    /// The line of a `.gitignore` that says the same.
    fn line(&self) -> String {
        match self {
            Self::Include(glob) => format!("!{glob}"),
            // Else it would be a comment.
            Self::Exclude(glob) if glob.starts_with('#') => format!("\\{glob}"),
            Self::Exclude(glob) => glob.clone(),
        }
    }
}

/// The rules of a command line, in the order in which they were typed: the first that matches
/// decides. Where there is a rule to include something, files that no rule matches are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rules(Vec<Rule>);

impl Rules {
    /// # Errors
    /// Where one of them means nothing.
    pub(crate) fn new(rules: Vec<Rule>) -> Result<Self, BadRule> {
        for rule in &rules {
            let (Rule::Include(glob) | Rule::Exclude(glob)) = rule;
            if glob.trim().is_empty() {
                return Err(BadRule::Empty);
            }
            if glob.starts_with('!') {
                return Err(BadRule::Negated);
            }
            let mut builder = GitignoreBuilder::new("/");
            let added = builder.add_line(None, &rule.line()).map(|builder| builder.build());
            if let Err(error) | Ok(Err(error)) = added {
                return Err(BadRule::BadGlob(error.to_string()));
            }
        }
        Ok(Self(rules))
    }

    pub(crate) fn texts(&self) -> Vec<String> {
        self.0.iter().map(Rule::text).collect()
    }

    /// The same for the names of a listing.
    pub(crate) fn filter(&self, top: &Path) -> Filter {
        Filter { top: top.to_owned(), rules: self.below(top) }
    }

    /// The rules as they are for what lies below a folder that was named.
    pub(super) fn below(&self, top: &Path) -> TopRules {
        let mut builder = GitignoreBuilder::new(top);
        // Of the lines of a `.gitignore` the last one that matches decides.
        for rule in self.0.iter().rev() {
            // A rule that cannot be used was refused by `new`.
            let _ = builder.add_line(None, &rule.line());
        }
        TopRules {
            matcher: builder.build().unwrap_or_else(|_| Gitignore::empty()),
            includes: self.0.iter().any(|rule| matches!(rule, Rule::Include(_))),
        }
    }
}

/// The rules as they are for the names of a listing, instead of a walk.
#[derive(Debug)]
pub(crate) struct Filter {
    top: PathBuf,
    rules: TopRules,
}

impl Filter {
    /// Whether the rules leave out what has that path below the folder that was named. What lies in
    /// a folder that is left out is not asked about.
    pub(crate) fn leaves_out(&self, below: &str, is_folder: bool) -> bool {
        match self.rules.choose(&self.top.join(below), is_folder) {
            Chosen::Taken => false,
            Chosen::LeftOut => true,
            Chosen::Undecided => !is_folder && self.takes_only_what_is_named(),
        }
    }

    pub(crate) fn takes_only_what_is_named(&self) -> bool {
        self.rules.takes_only_what_is_named()
    }
}

/// What rules say of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chosen {
    Taken,
    LeftOut,
    Undecided,
}

#[derive(Debug)]
pub(super) struct TopRules {
    matcher: Gitignore,
    includes: bool,
}

impl TopRules {
    pub(super) fn choose(&self, path: &Path, is_folder: bool) -> Chosen {
        choose(&self.matcher, path, is_folder)
    }

    /// Whether a file that nothing decides about is left out.
    pub(super) fn takes_only_what_is_named(&self) -> bool {
        self.includes
    }
}

/// The ignore file of one folder.
#[derive(Debug)]
pub(super) struct IgnoreFile(Gitignore);

impl IgnoreFile {
    /// Reads the file. A line that means nothing leaves nothing out; why is returned with the
    /// rest. The same where the file cannot be read.
    pub(super) fn read(path: &Path) -> (Self, Vec<String>) {
        // To open a named pipe would be to wait for its other end.
        if !path.is_file() {
            return (Self(Gitignore::empty()), Vec::new());
        }
        let (matcher, error) = Gitignore::new(path);
        let bad_lines = error.map(|error| match error {
            ignore::Error::Partial(errors) => errors.iter().map(ToString::to_string).collect(),
            other => vec![other.to_string()],
        });
        (Self(matcher), bad_lines.unwrap_or_default())
    }

    pub(super) fn choose(&self, path: &Path, is_folder: bool) -> Chosen {
        choose(&self.0, path, is_folder)
    }
}

fn choose(matcher: &Gitignore, path: &Path, is_folder: bool) -> Chosen {
    match matcher.matched(path, is_folder) {
        ignore::Match::None => Chosen::Undecided,
        ignore::Match::Ignore(_) => Chosen::LeftOut,
        ignore::Match::Whitelist(_) => Chosen::Taken,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn include(glob: &str) -> Rule {
        Rule::Include(glob.to_owned())
    }

    fn exclude(glob: &str) -> Rule {
        Rule::Exclude(glob.to_owned())
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let rules = Rules::new(vec![include("keep.tmp"), exclude("*.tmp"), exclude("/build/")]);
        let rules = rules.unwrap().below(Path::new("/x/photos"));
        for (path, is_folder, chosen) in [
            ("/x/photos/deep/keep.tmp", false, Chosen::Taken),
            ("/x/photos/deep/a.tmp", false, Chosen::LeftOut),
            ("/x/photos/a.jpg", false, Chosen::Undecided),
            ("/x/photos/build", true, Chosen::LeftOut),
            ("/x/photos/build", false, Chosen::Undecided),
            // A pattern with a slash is meant from the named folder on.
            ("/x/photos/deep/build", true, Chosen::Undecided),
        ] {
            assert_eq!(rules.choose(Path::new(path), is_folder), chosen, "{path}");
        }
        assert!(rules.takes_only_what_is_named());
        assert!(!Rules::default().below(Path::new("/x")).takes_only_what_is_named());
    }

    #[test]
    fn rules_are_remembered_as_they_were_typed() {
        let rules = vec![include("*.c"), exclude("#x"), exclude("a b")];
        let texts = Rules::new(rules.clone()).unwrap().texts();
        assert_eq!(texts, ["+*.c", "-#x", "-a b"]);
        let again: Vec<_> = texts.iter().filter_map(|text| Rule::parse(text)).collect();
        assert_eq!(again, rules);
        for text in ["", "x", "é"] {
            assert_eq!(Rule::parse(text), None, "{text}");
        }
        let rules = Rules::new(rules).unwrap().below(Path::new("/x"));
        assert_eq!(rules.choose(Path::new("/x/#x"), false), Chosen::LeftOut);
    }

    #[test]
    fn a_rule_that_means_nothing_is_refused() {
        assert_eq!(Rules::new(vec![exclude(" ")]), Err(BadRule::Empty));
        assert_eq!(Rules::new(vec![exclude("!a")]), Err(BadRule::Negated));
        assert!(matches!(Rules::new(vec![include("{a")]), Err(BadRule::BadGlob(_))));
    }
}

//! The messages that the programs can print, as their sources write them.
//! `docs/troubleshooting.md` has to have an entry for each.
//!
//! A message is made at one of a few kinds of places: an attribute `#[error("…")]`, a call of one
//! of the [`MAKERS`], a call of one of the [`PRINTERS`], or a line for standard error. The texts at
//! such a place are messages. Where an attribute or a maker has no text of its own, the texts of the
//! functions and constants that it names count, and where it names none with a text, those of the
//! function around it. What is made in other ways is in the list [`SPEAKERS`].

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The crates whose messages reach a person.
const CRATES: [&str; 7] = ["types", "upload", "protocol", "state", "engine", "server", "client"];

/// Functions and macros that make a message out of their arguments.
const MAKERS: [&str; 13] = [
    "CliError::new",
    "CliError::usage",
    "ErrorReply::bad_field",
    "ErrorReply::new",
    "Rejection::new",
    "UsageError",
    "anyhow",
    "bail",
    "context",
    "ensure",
    "refused",
    "unauthorized",
    "with_context",
];

/// Functions and macros that also print what comes from elsewhere: only their own texts count.
const PRINTERS: [&str; 10] = [
    "AttemptEnd::Lost",
    "Failure::Integrity",
    "Unreached::ForNow",
    "bad_request",
    "blocking",
    "error",
    "notice",
    "say",
    "tracing::error",
    "tracing::warn",
];

/// The same in the folders of the two command lines, where values of options are read.
const OF_OPTIONS: [&str; 3] = ["Err", "map_err", "ok_or_else"];

/// Functions and constants whose texts are all parts of messages, each with its file.
const SPEAKERS: &[(&str, &str)] = &[
    ("client/src/attempt_end.rs", "reason"),
    ("client/src/cli/movement.rs", "silence"),
    ("client/src/client/other_address.rs", "moved"),
    ("client/src/cli/output.rs", "lost"),
    ("client/src/cli/receipt/teller.rs", "tell_bad_line"),
    ("client/src/cli/receipt/teller.rs", "trouble"),
    ("client/src/cli/server_among.rs", "server_among"),
    ("client/src/cli/unfinished.rs", "interrupted_before"),
    ("client/src/cli/unfinished.rs", "unanswered"),
    ("client/src/cli/receive.rs", "why"),
    ("client/src/cli/receive/place.rs", "goes_on"),
    ("client/src/cli/receive/place.rs", "was_moved"),
    ("client/src/cli/receive/rights.rs", "told"),
    ("client/src/cli/receive/landing.rs", "land"),
    ("client/src/client/retry.rs", "watch_for_small_mtu"),
    ("client/src/client/retry.rs", "with_end_of_token"),
    ("client/src/get/landing.rs", "OTHER_BYTES"),
    ("client/src/get/prepare.rs", "make_link"),
    ("client/src/get/receiver.rs", "too_often"),
    ("client/src/route/greeting.rs", "fmt"),
    ("client/src/route/no_server.rs", "fmt"),
    ("client/src/transfer/agree.rs", "agree"),
    ("client/src/transfer/agree.rs", "other_server"),
    ("client/src/transfer/attempt.rs", "upload_until_agreed"),
    ("client/src/transfer/resume.rs", "was_completed"),
    ("client/src/transfer/sending.rs", "repair"),
    ("client/src/uploads/found.rs", "read"),
    ("client/src/walk.rs", "add_listed"),
    ("engine/src/identity.rs", "fmt"),
    ("engine/src/presence.rs", "missing_because"),
    ("engine/src/publish/remaining_steps.rs", "LOST"),
    ("engine/src/storage/rights.rs", "fmt"),
    ("engine/src/strict_modes.rs", "fmt"),
    ("engine/src/writer/begin.rs", "CUT_OFF"),
    ("engine/src/writer/cancel.rs", "GIVEN_UP"),
    ("engine/src/writer/release.rs", "SKIPPED"),
    ("server/src/cli/join.rs", "tell"),
    ("server/src/cli/run_as.rs", "warning"),
    ("server/src/log.rs", "filter"),
    ("server/src/log.rs", "log_panic"),
    ("server/src/log/format.rs", "of_event"),
    ("server/src/log/standard_error.rs", "gap"),
];

/// Files and folders with code for tests alone, and what the demo tells of itself.
const LEFT_OUT: [&str; 7] =
    ["tests", "tests.rs", "hostile", "scripted.rs", "contract", "demo", "demo.rs"];

/// A place where a message is made or printed.
struct Place {
    own: Vec<String>,
    /// The functions and constants that are named there; none for a printer.
    names: Vec<String>,
    /// The number of the function around it; none for a printer.
    around: Option<usize>,
}

struct Function {
    name: String,
    texts: Vec<String>,
}

/// What a crate's sources say.
#[derive(Default)]
struct Sources {
    functions: Vec<Function>,
    /// The texts of each constant.
    constants: BTreeMap<String, Vec<String>>,
    places: Vec<Place>,
    /// The path of the file that is being read, seen from the workspace.
    file: String,
}

/// All messages, each with `…` in the place of what differs from one time to the next.
///
/// # Panics
/// Where a source cannot be read, or lacks what [`SPEAKERS`] names.
#[must_use]
pub fn of_the_programs() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace is around");
    CRATES.iter().flat_map(|name| of_crate(root, name)).collect()
}

fn of_crate(root: &Path, name: &str) -> BTreeSet<String> {
    let mut files = Vec::new();
    find(&root.join(name).join("src"), &mut files);
    files.sort();
    let mut sources = Sources::default();
    for path in files {
        let text = std::fs::read_to_string(&path).expect("the source can be read");
        let tokens: TokenStream = text.parse().expect("the source is Rust");
        let file = path.strip_prefix(root).expect("the file is in the workspace");
        sources.file = file.to_str().expect("the path is Unicode").to_owned();
        let begin = sources.functions.len();
        sources.read(tokens, None);
        for (_, speaker) in SPEAKERS.iter().filter(|(file, _)| *file == sources.file) {
            let functions = sources.functions[begin..].iter();
            let functions = functions.filter(|function| function.name == *speaker);
            let constant = sources.constants.get(*speaker).into_iter().flatten();
            let own: Vec<_> =
                functions.flat_map(|function| &function.texts).chain(constant).cloned().collect();
            assert!(!own.is_empty(), "{} has no text {speaker}", sources.file);
            sources.places.push(Place { own, names: Vec::new(), around: None });
        }
    }
    let messages = sources.places.iter().flat_map(|place| sources.texts_of(place));
    messages.map(|text| sources.template(&text)).filter(|text| is_sentence(text)).collect()
}

fn find(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("the folder of sources can be read") {
        let path = entry.expect("the folder of sources can be read").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if LEFT_OUT.contains(&name) {
            continue;
        }
        if path.is_dir() {
            find(&path, files);
        } else if name.ends_with(".rs") {
            files.push(path);
        }
    }
}

/// Two words at least; shorter texts are parts of other texts, names or codes.
fn is_sentence(text: &str) -> bool {
    let words = text.split_whitespace().filter(|word| word.contains(char::is_alphabetic));
    words.count() > 1
}

impl Sources {
    /// Reads the tokens of a file, or of a group in it that lies in the function `around`.
    fn read(&mut self, tokens: TokenStream, mut around: Option<usize>) {
        let tokens: Vec<_> = tokens.into_iter().collect();
        let outer = around;
        let mut is_test = false;
        for (n, token) in tokens.iter().enumerate() {
            match token {
                TokenTree::Group(group) if is_attribute(&tokens, n) => {
                    is_test |= compact(group).starts_with("cfg(test");
                    if let Some(argument) = argument_of(group, "error") {
                        self.places.push(place(&argument, around));
                    }
                }
                TokenTree::Group(group) => {
                    let is_body = group.delimiter() == Delimiter::Brace;
                    if is_test && is_body {
                        is_test = false;
                        continue;
                    }
                    let called = called(&tokens[..n]);
                    if MAKERS.iter().any(|maker| is_named(&called, maker)) {
                        self.places.push(place(group, around));
                    } else if PRINTERS.contains(&&*called)
                        || self.file.contains("/cli/") && OF_OPTIONS.contains(&&*called)
                        || ["write", "writeln"].contains(&&*called)
                            && names(&group.stream()).iter().any(|name| name == "stderr")
                    {
                        let own = texts(&group.stream());
                        self.places.push(Place { own, names: Vec::new(), around: None });
                    }
                    self.read(group.stream(), around);
                    if is_body {
                        around = outer;
                    }
                }
                TokenTree::Ident(word) if word == "fn" => {
                    let (Some(TokenTree::Ident(name)), false) = (tokens.get(n + 1), is_test) else {
                        continue;
                    };
                    let body = body(&tokens[n..]).map(|body| texts(&body.stream()));
                    let texts = body.unwrap_or_default();
                    self.functions.push(Function { name: name.to_string(), texts });
                    around = Some(self.functions.len() - 1);
                }
                TokenTree::Ident(word) if word == "const" || word == "static" => {
                    let end = tokens[n..].iter().position(is_semicolon);
                    if let (Some(TokenTree::Ident(name)), Some(end)) = (tokens.get(n + 1), end) {
                        let value = tokens[n..n + end].iter().cloned().collect();
                        self.constants.entry(name.to_string()).or_default().extend(texts(&value));
                    }
                }
                token if is_semicolon(token) => is_test = false,
                _ => {}
            }
        }
    }

    fn texts_of(&self, place: &Place) -> Vec<String> {
        if !place.own.iter().any(|text| is_sentence(text)) {
            let named: Vec<_> =
                place.names.iter().flat_map(|name| self.texts_named(name)).cloned().collect();
            let around = place.around.map(|number| &self.functions[number].texts);
            if named.iter().any(|text| is_sentence(text)) {
                return [&place.own[..], &named].concat();
            }
            if let Some(around) = around {
                return around.clone();
            }
        }
        place.own.clone()
    }

    fn texts_named(&self, name: &str) -> impl Iterator<Item = &String> {
        let functions = self.functions.iter().filter(move |function| function.name == name);
        let constants = self.constants.get(name).into_iter().flatten();
        functions.flat_map(|function| &function.texts).chain(constants)
    }

    /// The text with `…` in the place of each placeholder; a constant is put in.
    fn template(&self, text: &str) -> String {
        let mut template = String::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once('{') {
            template.push_str(&before.replace("}}", "}"));
            if let Some(behind) = behind.strip_prefix('{') {
                template.push('{');
                rest = behind;
                continue;
            }
            let (inside, behind) = behind.split_once('}').unwrap_or((behind, ""));
            match self.constants.get(inside).map(Vec::as_slice) {
                Some([constant]) => template.push_str(constant),
                _ if inside.ends_with(":?") => template.push_str("\"…\""),
                _ => template.push('…'),
            }
            rest = behind;
        }
        template.push_str(&rest.replace("}}", "}"));
        let text = template.replace('\n', " ").replace("……", "…");
        text.trim().trim_start_matches("towlined: ").to_owned()
    }
}

fn place(group: &Group, around: Option<usize>) -> Place {
    Place { own: texts(&group.stream()), names: names(&group.stream()), around }
}

/// The texts in the tokens, in their order, without those of attributes.
fn texts(tokens: &TokenStream) -> Vec<String> {
    let mut found = Vec::new();
    let tokens: Vec<_> = tokens.clone().into_iter().collect();
    for (n, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Group(_) if is_attribute(&tokens, n) => {}
            TokenTree::Group(group) => found.extend(texts(&group.stream())),
            TokenTree::Literal(literal) => found.extend(
                syn::parse_str::<syn::LitStr>(&literal.to_string()).map(|text| text.value()),
            ),
            _ => {}
        }
    }
    found
}

/// The names of functions that are called in the tokens, and of constants.
fn names(tokens: &TokenStream) -> Vec<String> {
    let mut found = Vec::new();
    let tokens: Vec<_> = tokens.clone().into_iter().collect();
    for (n, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Group(group) => found.extend(names(&group.stream())),
            TokenTree::Ident(name) => {
                let name = name.to_string();
                let is_constant = name.len() > 2 && !name.contains(char::is_lowercase);
                let is_called = matches!(tokens.get(n + 1), Some(TokenTree::Group(group))
                    if group.delimiter() == Delimiter::Parenthesis);
                if is_constant || is_called {
                    found.push(name);
                }
            }
            _ => {}
        }
    }
    found
}

/// The path before a group, as it is written: `CliError::new`, or `tracing::warn` for a macro.
fn called(before: &[TokenTree]) -> String {
    let mut path = Vec::new();
    let mut before = before.iter().rev().peekable();
    before.next_if(|token| is_punct(token, '!'));
    while let Some(TokenTree::Ident(name)) = before.next() {
        path.push(name.to_string());
        if before.next_if(|token| is_punct(token, ':')).is_none() {
            break;
        }
        before.next();
    }
    path.reverse();
    path.join("::")
}

/// `super::UsageError` is `UsageError`, and `AttemptEnd::refused` is not `refused`.
fn is_named(called: &str, name: &str) -> bool {
    called.strip_suffix(name).is_some_and(|module| {
        module.is_empty() || module.ends_with("::") && !module.contains(char::is_uppercase)
    })
}

fn body(tokens: &[TokenTree]) -> Option<&Group> {
    let tokens = tokens.iter().take_while(|token| !is_semicolon(token));
    tokens
        .filter_map(|token| match token {
            TokenTree::Group(group) => Some(group),
            _ => None,
        })
        .find(|group| group.delimiter() == Delimiter::Brace)
}

fn is_attribute(tokens: &[TokenTree], n: usize) -> bool {
    let before = n.checked_sub(1).map(|before| &tokens[before]);
    let before = match before {
        Some(token) if is_punct(token, '!') => n.checked_sub(2).map(|before| &tokens[before]),
        before => before,
    };
    before.is_some_and(|token| is_punct(token, '#'))
}

/// What stands between the parentheses of the attribute `#[name(…)]`.
fn argument_of(attribute: &Group, name: &str) -> Option<Group> {
    let mut tokens = attribute.stream().into_iter();
    match (tokens.next(), tokens.next()) {
        (Some(TokenTree::Ident(found)), Some(TokenTree::Group(group))) if found == name => {
            Some(group)
        }
        _ => None,
    }
}

fn compact(attribute: &Group) -> String {
    attribute.stream().to_string().replace(' ', "")
}

fn is_semicolon(token: &TokenTree) -> bool {
    is_punct(token, ';')
}

fn is_punct(token: &TokenTree, mark: char) -> bool {
    matches!(token, TokenTree::Punct(found) if found.as_char() == mark)
}

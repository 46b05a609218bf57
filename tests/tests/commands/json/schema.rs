//! The tables of `docs/json.md` and of two sections of `docs/operator.md`, as a machine reads them.

use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The commands that have `--json`, for events that every command has.
const COMMANDS: [&str; 21] = [
    "put", "resume", "get", "watch", "uploads", "status", "cancel", "ls", "rm", "mv", "mkdir",
    "versions", "link", "restore", "verify", "receipt", "log", "login", "servers", "logout",
    "receive",
];

/// The type of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    String,
    Integer,
    Number,
    Boolean,
    Strings,
    /// A list of lists of two integers.
    Pairs,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Field {
    name: String,
    kind: Type,
    is_always_there: bool,
}

/// An event of some commands.
#[derive(Debug)]
struct Event {
    name: String,
    commands: BTreeSet<String>,
    fields: Vec<Field>,
}

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Schema {
    every_line: Vec<Field>,
    events: Vec<Event>,
    /// The places of the events that were seen.
    seen: BTreeSet<usize>,
}

impl Schema {
    /// Reads the page about `towline`.
    pub(crate) fn of_client() -> Self {
        let page = page("docs/json.md");
        let node = page.split_once("\n## A file, folder or link on the server\n").unwrap().1;
        let none = BTreeMap::new();
        let parts = BTreeMap::from([
            ("upload", table(&page, "field of an upload", &none)),
            ("node", table(node, "field", &none)),
        ]);
        let schema = Self::of(&page, &parts, &COMMANDS);
        assert!(schema.events.len() > 25, "{} events", schema.events.len());
        schema
    }

    /// Reads the section about `towlined`.
    pub(crate) fn of_server() -> Self {
        let page = page("docs/operator.md");
        let (_, section) = page.split_once("\n## Output for programs: `--json`\n").unwrap();
        let section = section.split("\n## ").next().unwrap();
        let usage = table(section, "field of usage", &BTreeMap::new());
        let parts = BTreeMap::from([("usage", usage)]);
        let known = [
            "status",
            "tokens",
            "key",
            "documents",
            "uploads",
            "quarantine",
            "usage",
            "trash",
            "verify",
        ];
        Self::of(section, &parts, &known)
    }

    /// Reads the section about the audit log, whose events are the client's, the server's or the operator's.
    pub(crate) fn of_audit_log() -> Self {
        let page = page("docs/operator.md");
        let (_, section) = page.split_once("\n## Audit log\n").unwrap();
        let section = section.split("\n## ").next().unwrap();
        let none = BTreeMap::new();
        let parts = BTreeMap::from([
            ("client", table(section, "field of a client", &none)),
            ("operator", table(section, "field of an operator", &none)),
            ("result", table(section, "field of a result", &none)),
        ]);
        Self::of(section, &parts, &["client", "server", "operator"])
    }

    fn of(page: &str, parts: &BTreeMap<&str, Vec<Field>>, known: &[&str]) -> Self {
        let every = page.split_once("# Every line\n").unwrap().1;
        let chapters = page.split("\n### `").skip(1);
        let events = chapters.map(|chapter| {
            let (heading, text) = chapter.split_once('\n').unwrap();
            let (name, commands) = heading.split_once("` (").unwrap();
            let commands = commands.trim_end_matches(')');
            let commands: BTreeSet<_> = match commands {
                "every command" => known.iter().map(ToString::to_string).collect(),
                some => some.split(", ").map(str::to_owned).collect(),
            };
            for command in &commands {
                assert!(known.contains(&command.as_str()), "{heading}: no command {command}");
            }
            let (name, fields) = (name.to_owned(), table(text, "field", parts));
            Event { name, commands, fields }
        });
        let events = events.collect();
        Self { every_line: table(every, "field", parts), events, seen: BTreeSet::new() }
    }

    /// Holds a line of a command to the page. `is_first`: it is the first one of its run.
    pub(crate) fn hold(&mut self, command: &str, is_first: bool, line: &Value) {
        let Value::Object(line) = line else { panic!("no object: {line}") };
        let name = line["event"].as_str().unwrap();
        let is_it = |event: &Event| event.name == name && event.commands.contains(command);
        let place = self.events.iter().position(is_it);
        let place = place.unwrap_or_else(|| panic!("{command} has no event {name}: {line:?}"));
        self.seen.insert(place);
        assert_eq!(line.contains_key("schema"), is_first, "{command}: {line:?}");
        assert!(!is_first || line["schema"] == 1, "{line:?}");
        let fields = || self.every_line.iter().chain(&self.events[place].fields);
        for (key, value) in line {
            let field = fields().find(|field| field.name == *key);
            let field = field.unwrap_or_else(|| panic!("{command}, {name}: unknown: {key}"));
            assert!(field.kind.is_of(value), "{command}, {name}: {key} is {value}");
        }
        let missing = |field: &&Field| field.is_always_there && !line.contains_key(&field.name);
        let missing: Vec<_> = fields().filter(missing).map(|field| &field.name).collect();
        assert!(missing.is_empty(), "{command}, {name}: without {missing:?}");
        assert!(is_time(line), "{line:?}");
    }

    /// The events that no line was of.
    pub(crate) fn unseen(&self) -> BTreeSet<&str> {
        let unseen = self.events.iter().enumerate().filter(|(place, _)| !self.seen.contains(place));
        unseen.map(|(_, event)| event.name.as_str()).collect()
    }
}

impl Type {
    fn of(word: &str) -> Self {
        match word {
            "string" => Self::String,
            "integer" => Self::Integer,
            "number" => Self::Number,
            "boolean" => Self::Boolean,
            "strings" => Self::Strings,
            "pairs" => Self::Pairs,
            other => panic!("no type: {other}"),
        }
    }

    fn is_of(self, value: &Value) -> bool {
        match self {
            Self::String => value.is_string(),
            Self::Integer => value.is_i64() || value.is_u64(),
            Self::Number => value.is_number(),
            Self::Boolean => value.is_boolean(),
            Self::Strings => value.as_array().is_some_and(|all| all.iter().all(Value::is_string)),
            Self::Pairs => value.as_array().is_some_and(|all| all.iter().all(is_pair)),
        }
    }
}

fn page(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    std::fs::read_to_string(path).unwrap()
}

fn is_pair(value: &Value) -> bool {
    value.as_array().is_some_and(|pair| pair.len() == 2 && pair.iter().all(Value::is_u64))
}

fn is_time(line: &Map<String, Value>) -> bool {
    // `2026-11-29T01:36:56.120Z`
    let time = line["time"].as_str().unwrap();
    time.len() == 24 && time.ends_with('Z') && time.as_bytes()[10] == b'T'
}

/// The fields of the first table whose head begins with that cell. A row that begins with `…` takes
/// in another table.
fn table(text: &str, head: &str, parts: &BTreeMap<&str, Vec<Field>>) -> Vec<Field> {
    let head = format!("\n| {head} | type | unit | when |\n");
    let (_, rows) = text.split_once(&head).unwrap_or_else(|| panic!("no table: {text}"));
    let rows = rows.lines().skip(1).take_while(|line| line.starts_with('|'));
    let mut fields = Vec::new();
    for row in rows {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        if let Some(part) = cells[0].strip_prefix("… ") {
            fields.extend(parts[part].iter().cloned());
            continue;
        }
        let [name, kind, _unit, when] = cells[..] else { panic!("four cells: {row}") };
        assert!(!when.is_empty(), "{row}: when?");
        fields.push(Field {
            name: name.trim_matches('`').to_owned(),
            kind: Type::of(kind),
            is_always_there: when.starts_with("always"),
        });
    }
    fields
}

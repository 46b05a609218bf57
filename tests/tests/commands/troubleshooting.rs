//! `docs/troubleshooting.md` and the sources: each message that the programs can print has an entry
//! there, and no entry has a message that no program prints any more.

use std::collections::BTreeSet;
use std::path::Path;
use towline_protocol::Code;
use towline_tests::cli_fixture::run;
use towline_tests::printed_messages;
use towline_tests::process::{towline, towlined};

fn page() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    std::fs::read_to_string(root.join("docs/troubleshooting.md")).unwrap()
}

/// The lines of the blocks that begin with this line.
fn lines_of_blocks<'a>(page: &'a str, begin: &str) -> Vec<&'a str> {
    let blocks = page.split("\n```").filter_map(|block| block.strip_prefix(begin));
    blocks.flat_map(str::lines).filter(|line| !line.is_empty()).collect()
}

#[test]
fn every_message_has_one_entry_and_every_entry_a_message() {
    let page = page();
    let lines = lines_of_blocks(&page, "message\n");
    let entries: BTreeSet<_> = lines.iter().map(|line| (*line).to_owned()).collect();
    assert_eq!(entries.len(), lines.len(), "a message is there twice");
    let printed = printed_messages::of_the_programs();
    let missing: Vec<_> = printed.difference(&entries).collect();
    assert!(missing.is_empty(), "the page has no entry for these: {missing:#?}");
    let outdated: Vec<_> = entries.difference(&printed).collect();
    assert!(outdated.is_empty(), "no program prints these any more: {outdated:#?}");
}

/// What a source says in each of the ways in which a message is made: if the reading of sources
/// stopped finding one of them, the page could lose these messages unnoticed.
#[test]
fn messages_of_every_kind_are_found_in_the_sources() {
    let printed = printed_messages::of_the_programs();
    for message in [
        // An attribute; with a constant in it; by a function that the attribute names.
        "document … is not complete on the server, so it cannot be fetched",
        "this is no join line: one begins with towline://",
        "its size is …, and this server accepts files up to …",
        // A maker with its own text; with a constant; with a variable of the function around it.
        "there is no terminal to ask for confirmation; add --yes",
        "this account was removed on the server",
        "you have … connections, and a user may have no more; end some, or try again",
        // A line of the log, and one that is printed aside.
        "too many connections; one was turned away",
        "warning: every user of this machine can read the token in …; to forbid that: chmod 600 …",
        // The value of an option, and a function whose texts are all messages.
        "\"…\" is not a number of files; write 100000, unlimited or default",
        "everybody on this machine may write into …. To mend it: chmod go-w …",
    ] {
        assert!(printed.contains(message), "{message}");
    }
}

#[test]
fn every_code_is_in_the_table() {
    let page = page();
    let (_, table) = page.split_once("\n### Codes\n").unwrap();
    let rows: Vec<_> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "))
        .map(|(code, rest)| (code, rest.starts_with("yes |")))
        .collect();
    let codes: Vec<_> = Code::ALL.iter().map(|code| (code.as_str(), code.can_retry())).collect();
    assert_eq!(rows, codes);
}

#[test]
fn every_link_leads_to_a_heading_of_the_page() {
    let page = page();
    let anchors: BTreeSet<String> = page
        .lines()
        .filter_map(|line| line.strip_prefix("## ").or_else(|| line.strip_prefix("### ")))
        .map(|title| {
            let title = title.to_lowercase().replace(' ', "-");
            title.chars().filter(|c| c.is_alphanumeric() || *c == '-').collect()
        })
        .collect();
    let links: Vec<_> =
        page.split("](#").skip(1).filter_map(|rest| rest.split(')').next()).collect();
    assert!(!links.is_empty());
    for link in links {
        assert!(anchors.contains(link), "#{link}");
    }
}

/// The command lines of both programs in a text in back quotes, from the name of the program on.
fn commands(span: &str) -> impl Iterator<Item = Vec<&str>> {
    let words: Vec<_> = span.split([' ', ';', '(', ')', '|', '>']).collect();
    let begins: Vec<_> = (0..words.len())
        .filter(|n| matches!(words[*n], "towline" | "towlined"))
        // The name of the service, or of the process.
        .filter(|n| {
            *n == 0 || !matches!(words[*n - 1], "start" | "stop" | "reload" | "status" | "-a")
        })
        .filter(|n| words.len() > n + 1 && !words[n + 1].is_empty())
        .collect();
    begins.into_iter().map(move |n| words[n..].to_vec())
}

#[tokio::test]
async fn every_command_that_the_page_advises_exists() {
    let page = page();
    let text = page.split("\n```").step_by(2).collect::<Vec<_>>().join("\n");
    let lines: BTreeSet<_> = text.split('`').skip(1).step_by(2).flat_map(commands).collect();
    assert!(lines.len() > 40, "{lines:#?}");
    for line in lines {
        let is_command =
            |word: &&&str| word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
        let names =
            line[1..].iter().take_while(|word| !word.starts_with('-')).take_while(is_command);
        let names: Vec<_> = names.copied().collect();
        // A word behind a command may be the path of a file.
        let mut help = None;
        for length in (names.len().min(1)..=names.len().min(2)).rev() {
            let mut command = if line[0] == "towline" { towline() } else { towlined() };
            command.args(&names[..length]).arg("--help");
            let outcome = run(command).await;
            if outcome.code == Some(0) {
                help = Some(outcome.out);
                break;
            }
        }
        let help = help.unwrap_or_else(|| panic!("no such command: {line:?}"));
        for option in line.iter().filter(|word| word.starts_with("--") && **word != "--version") {
            assert!(help.contains(option), "{option} of {line:?}");
        }
    }
}

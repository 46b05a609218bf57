//! What may be typed.

use super::*;
use clap::CommandFactory as _;

#[test]
fn the_command_line_is_sound() {
    Arguments::command().debug_assert();
}

#[test]
fn each_command_but_the_server_can_be_quiet_and_says_so_in_the_same_words() {
    let all = Arguments::command();
    // `receipt` has commands of its own.
    let of_it = clap::Command::get_subcommands;
    let (groups, plain): (Vec<_>, Vec<_>) =
        all.get_subcommands().partition(|command| command.has_subcommands());
    for command in plain.into_iter().chain(groups.into_iter().flat_map(of_it)) {
        let is_server = ["demo", "serve"].contains(&command.get_name());
        let quiet = command.get_arguments().find(|argument| argument.get_id() == "quiet");
        let said = quiet.map(|quiet| {
            assert_eq!(quiet.get_short(), Some('q'), "{}", command.get_name());
            quiet.get_help().expect("a help").to_string()
        });
        let words = "Print only errors; the exit code says the rest".to_owned();
        assert_eq!(said, (!is_server).then_some(words), "{}", command.get_name());
    }
}

#[test]
fn the_words_that_tools_rely_on() {
    for line in [
        "towline put a b --to h:1 --token-file t --state-file s --chunk-size 64KiB --json --quiet",
        "towline upload -v -r a",
        "towline send -n a",
        "towline push a",
        "towline cp a",
        "towline put a --retries 3 --folder a/b --on-conflict reject --again",
        "towline put a --parallel 4",
        "towline put a --skip-refused",
        "towline put - --name backup.tar",
        "towline put a --limit-rate 2MB --timeout 60",
        "towline resume --limit-rate 500K/s",
        "towline put a --parallel auto",
        "towline resume 7 8",
        "towline resume photos 7",
        "towline resume --all",
        "towline uploads --json",
        "towline uploads --forget photos",
        "towline status 7",
        "towline cancel 7 --to [::1]:8695",
        "towline get proj/a 7 -o x --no-sync --on-conflict skip --json --retries 3",
        "towline get a -o - --quiet",
        "towline get -r a -v",
        "towline get a --parallel 4 --max-entries 5",
        "towline get a --include *.jpg --exclude old/",
        "towline ls",
        "towline ls -l -R proj --json",
        "towline ls --tree",
        "towline ls --b3sum proj",
        "towline rm --yes a b",
        "towline mv a b",
        "towline mkdir a/b c",
        "towline versions a",
        "towline restore a --version 7",
        "towline verify a --folder b",
        "towline put a --receipts r",
        "towline resume --receipts r",
        "towline receipt verify r --to a --to b --dir d --folder e --json",
        "towline receipt verify r -q",
        "towline log -n 10",
        "towline watch --json",
        "towline watch -q",
        "towline status 7 -q",
        "towline uploads -q --forget all",
    ] {
        Arguments::try_parse_from(line.split(' ')).unwrap();
    }
    for line in [
        "towline",
        "towline put",
        "towline status 0",
        "towline resume 7 --all",
        "towline uploads --json --forget all",
        "towline put a --parallel 0",
        "towline put a --limit-rate 0",
        "towline put a --limit-rate 10",
        "towline put a --timeout 0",
        "towline put a --parallel 17",
        "towline put a --on-conflict overwrite",
        "towline put a -v -q",
        "towline get a --parallel 0",
        "towline get a --parallel 17",
        "towline get a --parallel auto",
    ] {
        assert!(Arguments::try_parse_from(line.split(' ')).is_err(), "{line}");
    }
}

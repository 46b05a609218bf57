//! Words and options of other tools that a person may type from habit, and the ones that Towline
//! has instead. Towline refuses them, and the refusal ends with a tip.

use super::arguments::Arguments;
use clap::CommandFactory as _;
use clap::error::{ContextKind, ContextValue, Error, ErrorKind};
use std::ffi::OsString;

/// An option of other tools, in the spellings that it has there.
struct Habit {
    words: &'static [&'static str],
    /// The commands that the tip is right for. An empty list stands for all commands that know no
    /// such option.
    commands: &'static [&'static str],
    tip: &'static str,
}

const fn habit(
    words: &'static [&'static str],
    commands: &'static [&'static str],
    tip: &'static str,
) -> Habit {
    Habit { words, commands, tip }
}

const SENDS: &[&str] = &["put", "resume"];
const MOVES_BYTES: &[&str] = &["put", "resume", "get"];

/// The options of which there is something to say. The first that fits counts.
const OPTIONS: &[Habit] = &[
    habit(&["--bwlimit", "--rate"], SENDS, "--limit-rate SIZE limits what is sent in a second"),
    habit(
        &["--filter", "--exclude-from", "--include-from", "--files-from"],
        &["put", "verify"],
        "--include GLOB and --exclude GLOB choose what is taken of a folder",
    ),
    habit(
        &["-a", "--archive"],
        &["put", "get"],
        "omit it: a folder always comes with everything in it; links, times and permissions are \
         kept, owners are not",
    ),
    habit(
        &["-P", "--progress", "--partial"],
        MOVES_BYTES,
        "omit it: progress is always shown, and what has arrived is always kept; a port is written \
         after the server: --to HOST:PORT",
    ),
    habit(&["-z", "-C", "--compress"], MOVES_BYTES, "omit it: Towline sends files as they are"),
    habit(
        &["-c", "--continue", "--resume"],
        MOVES_BYTES,
        "omit it: the same command always continues",
    ),
    habit(
        &["-f", "--force", "--overwrite", "--delete", "-u", "--update"],
        &["put"],
        "--on-conflict replace makes a file the next version of the one that has its name; \
         'towline rm' removes what is on the server",
    ),
    habit(
        &["-f", "--force", "--overwrite", "-u", "--update"],
        &["get"],
        "--on-conflict replace lets a fetched file take the place of the one that has its name here",
    ),
    habit(
        &["-f", "--force"],
        &["rm"],
        "--yes removes without a question; a folder always goes with everything in it",
    ),
    habit(
        &["-f", "--force"],
        &["mv"],
        "nothing is replaced: 'towline rm' removes what has the name",
    ),
    habit(
        &["-p", "--parents"],
        &["mkdir"],
        "omit it: missing folders above are always made as well",
    ),
    habit(&["--server", "--host"], &[], "the server is given with --to HOST[:PORT]"),
    habit(&["-p", "--port"], &[], "the port is written after the server: --to HOST:PORT"),
    habit(&["-l", "--user", "--username"], &[], "omit it: the token says who you are"),
    habit(
        &["--token", "--password"],
        &[],
        "a token is read from a file, --token-file FILE, or from the variable TOWLINE_TOKEN",
    ),
];

/// Commands of other tools, and the tip for each of them.
const COMMANDS: &[(&[&str], &str)] = &[
    (
        &["sync", "rsync", "mirror", "backup"],
        "'towline put FOLDER' sends a folder, and the next time only what is not there yet",
    ),
    (&["copy", "scp", "add", "store"], "'towline put' sends files and folders"),
    (&["jobs", "status-all"], "'towline uploads' lists what is unfinished"),
    (&["abort", "stop"], "'towline cancel DOCUMENT_ID' ends an unfinished upload and deletes it"),
    (&["continue", "retry", "restart"], "'towline resume' continues after an interruption"),
    (&["pause"], "Ctrl-C pauses an upload, and 'towline resume' continues it"),
    (
        &["auth", "token"],
        "the server's operator makes tokens (towlined token --user NAME); put takes one with \
         --token-file FILE",
    ),
];

/// The refusal of that command line, with a tip where there is one.
pub(super) fn with_tip(mut error: Error, typed: &[OsString]) -> Error {
    let kind = match error.kind() {
        ErrorKind::UnknownArgument => ContextKind::InvalidArg,
        ErrorKind::InvalidSubcommand => ContextKind::InvalidSubcommand,
        _ => return error,
    };
    let Some(ContextValue::String(word)) = error.get(kind) else { return error };
    // `--bwlimit=1000` and `--bwlimit 1000` are the same.
    let word = word.split('=').next().unwrap_or_default();
    let tip = match kind {
        ContextKind::InvalidArg => tip_for_option(word, command_of(typed).as_deref()),
        _ => COMMANDS.iter().find(|(words, _)| words.contains(&word)).map(|(_, tip)| *tip),
    };
    let Some(tip) = tip else { return error };
    for guess in [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand] {
        error.remove(guess);
    }
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    error
}

fn tip_for_option(word: &str, command: Option<&str>) -> Option<&'static str> {
    // The commands that need no server have no options for one.
    let command = command.filter(|command| !matches!(*command, "uploads" | "demo" | "serve"))?;
    let fits = |habit: &&Habit| {
        habit.words.contains(&word)
            && (habit.commands.is_empty() || habit.commands.contains(&command))
    };
    OPTIONS.iter().find(fits).map(|habit| habit.tip)
}

/// The command that was typed, under its own name where it was an alias.
fn command_of(typed: &[OsString]) -> Option<String> {
    let typed = typed.get(1)?.to_str()?;
    let known = Arguments::command();
    Some(known.find_subcommand(typed)?.get_name().to_owned())
}

/// `towline help --help` asks for the help about `help`, which is the help itself.
pub(super) fn is_help_of_help(error: &Error) -> bool {
    error.kind() == ErrorKind::InvalidSubcommand
        && matches!(
            error.get(ContextKind::InvalidSubcommand),
            Some(ContextValue::String(typed)) if matches!(typed.as_str(), "--help" | "-h")
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    fn refusal(line: &str) -> String {
        let typed: Vec<OsString> = line.split(' ').map(Into::into).collect();
        with_tip(Arguments::try_parse_from(&typed).unwrap_err(), &typed).to_string()
    }

    /// Each word of the table, with each command that the table has it for.
    fn habits() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
        OPTIONS.iter().flat_map(|habit| {
            let commands = if habit.commands.is_empty() { &["put", "get"] } else { habit.commands };
            let of = move |command: &'static &'static str| {
                habit.words.iter().map(move |word| (*command, *word, habit.tip))
            };
            commands.iter().flat_map(of)
        })
    }

    #[test]
    fn what_other_tools_take_is_refused_with_what_towline_has() {
        for (command, word, tip) in habits() {
            let text = refusal(&format!("towline {command} {word} a"));
            assert!(text.contains(tip) && text.matches("tip:").count() == 1, "{text}");
        }
        for (words, tip) in COMMANDS {
            for word in *words {
                let text = refusal(&format!("towline {word} a"));
                assert!(text.contains(tip) && text.matches("tip:").count() == 1, "{text}");
            }
        }
        assert!(refusal("towline put --bwlimit=1000 a").contains("--limit-rate"));
        assert!(refusal("towline upload --bwlimit=1000 a").contains("--limit-rate"));
        assert!(refusal("towline put -avz a").contains("everything in it"));
        assert!(refusal("towline rm -rf a").contains("--yes"));
        assert!(refusal("towline mkdir -p a").contains("above are always made"));
        // For a word that is not in the table, the parser's own guess stays.
        assert!(refusal("towline put --retry 3 a").contains("--retries"));
        // A tip for one command says nothing about another.
        for line in ["towline get --bwlimit=1 a", "towline ls --force", "towline uploads --host a"]
        {
            let text = refusal(line);
            for (_, _, tip) in habits() {
                assert!(!text.contains(tip), "{text}");
            }
        }
    }

    #[test]
    fn a_tip_names_only_options_and_commands_that_exist() {
        let top = Arguments::command().render_help().to_string();
        let commands_of = |tip: &str| {
            for command in tip.split("'towline ").skip(1) {
                let name = command.split([' ', '\'']).next().unwrap();
                assert!(top.contains(&format!("\n  {name} ")), "{tip}: {name}");
            }
        };
        let options_of = |tip: &str, command: &str| {
            let mut known = Arguments::command();
            let help = known.find_subcommand_mut(command).unwrap().render_help().to_string();
            let words = tip.split(|c: char| !c.is_alphanumeric() && c != '-');
            for option in words.filter(|word| word.starts_with("--")) {
                let is_operators = option == "--user" && tip.contains("towlined token --user");
                assert!(is_operators || help.contains(option), "{command}: {option}");
            }
        };
        for (command, _, tip) in habits() {
            options_of(tip, command);
            commands_of(tip);
        }
        for (_, tip) in COMMANDS {
            options_of(tip, "put");
            commands_of(tip);
        }
    }
}

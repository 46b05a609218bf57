//! Words and options of other tools that a person may type from habit, and the ones that Towline
//! has instead. Towline refuses them, and the refusal ends with a tip.

use clap::error::{ContextKind, ContextValue, Error, ErrorKind};

/// Options of other tools, and the tip for each of them.
const OPTIONS: &[(&[&str], &str)] = &[
    (&["--bwlimit", "--rate"], "--limit-rate SIZE limits what is sent in a second"),
    (
        &["--filter", "--exclude-from", "--include-from", "--files-from"],
        "--include GLOB and --exclude GLOB say what of a folder is sent",
    ),
    (
        &["-a", "--archive"],
        "leave it out: a folder is always sent with everything in it; times, owners and rights \
         are not kept",
    ),
    (
        &["-P", "--progress", "--partial"],
        "leave it out: progress is shown, and what was sent is kept, without an option; a port \
         goes behind the server: --to HOST:PORT",
    ),
    (&["-z", "-C", "--compress"], "leave it out: Towline sends files as they are"),
    (&["-c", "--continue", "--resume"], "leave it out: the same command always continues"),
    (
        &["-f", "--force", "--overwrite", "--delete", "-u", "--update"],
        "--on-conflict replace makes a file the next version of the one that has its name; \
         'towline rm' removes what is on the server",
    ),
    (&["--server", "--host"], "the server is named with --to HOST[:PORT]"),
    (&["-p", "--port"], "the port goes behind the server: --to HOST:PORT"),
    (&["-l", "--user", "--username"], "leave it out: the token says who you are"),
    (
        &["--token", "--password"],
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
    (&["abort", "stop"], "'towline cancel DOCUMENT_ID' gives an unfinished upload up"),
    (&["continue", "retry", "restart"], "'towline resume' goes on after an interruption"),
    (&["pause"], "Ctrl-C pauses an upload, and 'towline resume' goes on with it"),
    (
        &["login", "auth", "token"],
        "the server's operator makes tokens (towlined token --user NAME); put takes one with \
         --token-file FILE",
    ),
];

/// The refusal, with a tip where there is one.
pub(super) fn with_tip(mut error: Error) -> Error {
    let (kind, table) = match error.kind() {
        ErrorKind::UnknownArgument => (ContextKind::InvalidArg, OPTIONS),
        ErrorKind::InvalidSubcommand => (ContextKind::InvalidSubcommand, COMMANDS),
        _ => return error,
    };
    let Some(ContextValue::String(typed)) = error.get(kind) else { return error };
    // `--bwlimit=1000` and `--bwlimit 1000` are the same.
    let typed = typed.split('=').next().unwrap_or_default();
    let Some((_, tip)) = table.iter().find(|(words, _)| words.contains(&typed)) else {
        return error;
    };
    for guess in [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand] {
        error.remove(guess);
    }
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![(*tip).into()]));
    error
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
    use super::super::arguments::Arguments;
    use super::*;
    use clap::{CommandFactory as _, Parser as _};

    fn refusal(line: &str) -> String {
        with_tip(Arguments::try_parse_from(line.split(' ')).unwrap_err()).to_string()
    }

    #[test]
    fn what_other_tools_take_is_refused_with_what_towline_has() {
        for (words, tip) in OPTIONS {
            for word in *words {
                let text = refusal(&format!("towline put {word} a"));
                assert!(text.contains(tip) && text.matches("tip:").count() == 1, "{text}");
            }
        }
        for (words, tip) in COMMANDS {
            for word in *words {
                let text = refusal(&format!("towline {word} a"));
                assert!(text.contains(tip) && text.matches("tip:").count() == 1, "{text}");
            }
        }
        assert!(refusal("towline put --bwlimit=1000 a").contains("--limit-rate"));
        assert!(refusal("towline put -avz a").contains("everything in it"));
        // For a word that is not in the table, the parser's own guess stays.
        assert!(refusal("towline put --retry 3 a").contains("--retries"));
    }

    #[test]
    fn a_tip_names_only_options_and_commands_that_exist() {
        let mut command = Arguments::command();
        let help = command.find_subcommand_mut("put").unwrap().render_help().to_string();
        let top = Arguments::command().render_help().to_string();
        for (typed, tip) in OPTIONS.iter().chain(COMMANDS) {
            let words = || tip.split(|c: char| !c.is_alphanumeric() && c != '-');
            for option in words().filter(|word| word.starts_with("--")) {
                let is_operators = option == "--user" && tip.contains("towlined token --user");
                assert!(is_operators || help.contains(option), "{typed:?}: {option}");
            }
            for command in tip.split("'towline ").skip(1) {
                let name = command.split([' ', '\'']).next().unwrap();
                assert!(top.contains(&format!("\n  {name} ")), "{typed:?}: {name}");
            }
        }
    }
}

//! Runs without a server.

use super::*;
use crate::cli::arguments::StateArgs;
use crate::cli::error::Reader;
use crate::cli::printer::{Detail, OutputStyle, Resuming};
use crate::cli::resolve::{self, Purpose};
use crate::document::Document;
use crate::token::Token;
use crate::transfer::options::PutOptions;

#[tokio::test]
async fn an_interruption_before_the_first_file_is_no_success() {
    let home = tempfile::tempdir().unwrap();
    for count in [1, 3] {
        let parts = (0..count).map(|n| {
            let path = home.path().join(format!("{n}.txt"));
            std::fs::write(&path, "a").unwrap();
            let document = Document::in_folder(path, Vec::new()).unwrap();
            let files = order::Files::One(document);
            let options = PutOptions::default();
            Part { client: 0, files, options, job: None, sent_again: None }
        });
        let state_args = StateArgs { state_file: Some(home.path().join("state.json")) };
        let memory = resolve::memory(&state_args, Purpose::Remember, true).unwrap();
        // Nothing is asked of it.
        let server = "127.0.0.1:1".parse().unwrap();
        let clients = vec![Client::new(server, Token::new("t").unwrap())];
        let style = OutputStyle { reader: Reader::Person, detail: Detail::Errors };
        let mut printer = Printer::new(style, Resuming::SameCommand);
        let cancel = CancellationToken::new();
        cancel.cancel();
        let (parts, jobs) = (parts.collect(), Vec::new());
        let run = Run { clients, parts, jobs, asides: asides().1, timeout: None, receipts: None };
        let ended = run.all_until(&cancel, &memory, &mut printer);
        assert_eq!(ended.await, Exit::Resumable, "of {count} files");
    }
}

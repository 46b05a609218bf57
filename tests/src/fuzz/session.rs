//! Whole sessions with a real server: for every input in every division into pieces, the server
//! answers with legal frames that are true, closes when the client has finished, and serves the
//! next session.

mod content;
mod fuzz_server;
mod listener;
mod program;
mod questions;
mod reads;
mod shown;

use super::input::Input;
use fuzz_server::FuzzServer;
use program::{Language, Program};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// One server for the whole process; one session uses it at a time.
static GROUND: Mutex<Option<FuzzServer>> = Mutex::new(None);

/// Longer than any session takes, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// The longest raw stream and the longest program.
const INPUT_BYTES_MAX: usize = 64 << 10;

/// After this number of sessions, a correct client checks that the server works.
const HONEST_EVERY: usize = 32;

/// The first byte of the input chooses: raw bytes instead of a login, raw bytes after a good login,
/// a program that uploads, or one that asks about the tree as well.
pub fn body(data: &[u8]) {
    let mut turn = GROUND.lock().unwrap_or_else(PoisonError::into_inner);
    // After an input that failed, the next input gets a new server.
    let mut server = turn.take().unwrap_or_else(FuzzServer::new);
    let mut input = Input::new(&data[..data.len().min(INPUT_BYTES_MAX)]);
    let mode = input.byte() % 4;
    server.next_person();
    let runtime = server.runtime();
    runtime.block_on(async {
        let mut program = Program::new(&server);
        let session = async {
            match mode {
                0 => program.raw(input).await,
                1 => program.raw_behind_login(input).await,
                2 => program.carry_out(Language::Uploads, input).await,
                _ => {
                    program.carry_out(Language::Tree, input).await;
                    program.look_afterwards(&server).await;
                }
            }
        };
        let ended = tokio::time::timeout(PATIENCE, session).await;
        assert!(ended.is_ok(), "a connection hangs");
        server.saw(program.last_document(), program.last_node());
        if server.sessions().is_multiple_of(HONEST_EVERY) {
            server.honest_session().await;
        }
    });
    fuzz_server::assert_no_panic();
    *turn = Some(server);
}

/// Stops the server and removes its folder.
pub fn stop() {
    drop(GROUND.lock().unwrap_or_else(PoisonError::into_inner).take());
}

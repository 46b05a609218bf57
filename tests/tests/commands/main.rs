//! What a person does at the command line, in good and in bad conditions: the real `towline`
//! against a real server, with one file for each behaviour.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod changed;
mod choose;
mod cuts;
mod damage;
mod demo;
mod documents;
mod folder;
mod get;
mod jobs;
mod kills;
mod many;
mod messages;
mod notes;
mod other_server;
mod output;
mod pace;
mod pause;
mod places;
mod progress;
mod put;
mod refused;
mod server_settings;
mod signals;
mod small_inputs;
mod state;
mod terminal;
mod tokens;
mod tree;

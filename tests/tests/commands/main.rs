//! What a person does at the command line, in good and in bad conditions: the real `towline`
//! against a real server, with one file for each behaviour.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod changed;
mod choose;
mod claimed_store;
mod cuts;
mod damage;
mod demo;
mod documents;
mod folder;
mod get;
mod get_cuts;
mod get_hostile;
mod get_names;
mod get_sources;
mod get_under_new_name;
mod http_ports;
mod jobs;
mod joined_token;
mod json;
mod kills;
mod links;
mod login;
mod many;
mod messages;
mod notes;
mod operator;
mod other_server;
mod output;
mod pace;
mod pause;
mod pipe;
mod places;
mod progress;
mod put;
mod receipts;
mod receive;
mod refused;
mod round_trip;
mod server_settings;
mod signals;
mod small_inputs;
mod state;
mod terminal;
mod tls;
mod tokens;
mod tree;
mod tree_changes;
mod tree_hostile;
mod troubleshooting;
mod verify;
mod whose_token;

//! What a running server says of itself, to the operator of its machine: over a socket in the data
//! folder, as one JSON object to each connection.

mod answer;
mod answer_maker;
mod socket;

pub(crate) use answer::{Answer, Figure, Said};
pub(crate) use answer_maker::AnswerMaker;
pub(crate) use socket::{StatusSocket, ask};

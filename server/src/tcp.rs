//! The TCP door: Towline's own framed protocol, as `SPEC.md` of `towline-protocol` has it.

mod error_code;
mod features;
mod frame_reader;
mod lent_reader;
mod login;
mod node;
mod send_buffer;
pub(crate) mod session;
mod translate;

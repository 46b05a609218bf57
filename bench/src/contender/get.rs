//! Those that fetch: each brings the workload from its server, where it lies already.

mod curl;
mod rsync;
mod scp;
mod towline;

pub(crate) use curl::CurlGet;
pub(crate) use rsync::RsyncGet;
pub(crate) use scp::ScpGet;
pub(crate) use towline::TowlineGet;

use crate::workspace::RunDir;
use std::path::Path;

/// The folder that the workload lies in: peers serve it from there.
fn source<'a>(run_dir: &RunDir<'a>) -> &'a Path {
    let path = run_dir.workload.path();
    path.parent().unwrap_or(path)
}

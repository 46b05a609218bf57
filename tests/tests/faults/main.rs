//! Faults below the server: power cuts, full and failing disks, system calls that
//! fail. They need root or tools of the system; where those are missing each test
//! says aloud that it was skipped.

mod failpoints;
mod kill_points;
mod nth_call;
mod volumes;

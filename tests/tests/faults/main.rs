//! Faults below the server: power cuts, full and failing disks, system calls that fail. They need
//! root or tools of the system; where those are missing, each test prints that it was skipped.

mod claimed_space;
mod copies;
mod declared;
mod descriptors;
mod expiry_kills;
mod failed_sync;
mod failpoints;
mod full_disk;
mod grown;
mod http_kills;
mod http_memory;
mod http_relaxed;
mod kill_points;
mod links;
mod memory;
mod migration;
mod moves;
mod nth_call;
mod nth_call_http;
mod other_volume;
mod other_volume_waits;
mod panics;
mod read_only;
mod refused_place;
mod relaxed;
mod removed_folder;
mod scan_kills;
mod short_writes;
mod slow_disk;
mod table;
mod tree_kills;
mod tree_races;
mod used_up;
mod volumes;
mod whole;

//! As `nth_call`, for uploads over HTTP.

use super::nth_call::{
    Aim, BYTES, CATALOG, EIO, ENOSPC, Fault, NAMES, REST, Steps, each, failed_sync, fault,
};
use std::net::SocketAddr;
use towline_tests::http_scenario::{HttpScenario, LengthTold};
use towline_tests::is_long;
use towline_tests::scenario::AllowedLoss;
use towline_tests::site::{Site, TestUser};

impl Steps for HttpScenario {
    fn of(user: &TestUser) -> Self {
        Self::new(user, LengthTold::AtTheBeginning)
    }

    async fn set_out(&mut self, address: SocketAddr) {
        self.set_out(address).await;
    }

    async fn go_on(&mut self, address: SocketAddr) {
        self.go_on(address).await;
    }

    async fn arrive(&mut self, address: SocketAddr, site: &Site, allowed_loss: AllowedLoss) {
        self.arrive(address, site, allowed_loss).await;
    }

    async fn assert_closed(&self, address: SocketAddr, hit: &[String]) {
        self.assert_closed(address, hit).await;
    }

    fn assert_only_whole_files(&self, site: &Site) {
        self.assert_only_whole_files(site);
    }

    fn errors(&self) -> Vec<String> {
        self.errors()
    }
}

/// The faults of the quick form: one of each kind of call that keeps a promise.
const QUICK_BYTES: &[Fault] = &[
    fault("pwrite64", EIO, Aim::Bytes),
    fault("pwrite64", ENOSPC, Aim::Bytes),
    failed_sync("fdatasync", EIO),
    fault("ftruncate", EIO, Aim::Bytes),
];

const QUICK_NAMES: &[Fault] = &[
    fault("fsync", EIO, Aim::Names),
    fault("mkdirat", ENOSPC, Aim::Names),
    fault("renameat2", EIO, Aim::Names),
    fault("unlinkat", EIO, Aim::Names),
];

const QUICK_CATALOG: &[Fault] = &[
    fault("pwrite64", ENOSPC, Aim::Catalog),
    fault("fsync,fdatasync", EIO, Aim::Catalog),
    fault("pread64", EIO, Aim::Catalog),
];

#[tokio::test(flavor = "multi_thread")]
async fn the_nth_call_on_bytes_fails_over_http() {
    each::<HttpScenario>(if is_long() { BYTES } else { QUICK_BYTES }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_nth_call_on_names_fails_over_http() {
    each::<HttpScenario>(if is_long() { NAMES } else { QUICK_NAMES }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_nth_call_on_the_catalog_fails_over_http() {
    each::<HttpScenario>(if is_long() { CATALOG } else { QUICK_CATALOG }).await;
}

/// Everything else is the same at both doors, so the quick form leaves it to `nth_call`.
#[tokio::test(flavor = "multi_thread")]
async fn the_nth_call_on_anything_else_fails_over_http() {
    if is_long() {
        each::<HttpScenario>(REST).await;
    }
}

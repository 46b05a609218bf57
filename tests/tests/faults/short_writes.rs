//! The system writes only some of the bytes of a write: the server continues with the exact next
//! byte.

use std::time::{Duration, Instant};
use towline_protocol::request::Complete;
use towline_protocol::{Code, Reply, Request};
use towline_tests::PATIENCE;
use towline_tests::disks::Disks;
use towline_tests::process::Launch;
use towline_tests::raw_client::{RawClient, ZERO, upload};
use towline_tests::strace::Strace;
use towline_tests::test_file::{BLOCK, TestFile};
use towline_tests::volume::{self, Volume};

/// Whether this line of `strace` shows a write of which only some bytes were written: `7
/// pwrite64(19, "…"..., 1048576, 0) = 405504`.
fn is_short(line: &str) -> bool {
    let Some((call, written)) = line.rsplit_once(" = ") else { return false };
    let asked = call.trim_end().trim_end_matches(')').rsplit(", ").nth(1);
    let asked = asked.and_then(|asked| asked.parse::<u64>().ok());
    let written = written.split(' ').next().and_then(|written| written.parse::<u64>().ok());
    matches!((asked, written), (Some(asked), Some(written)) if written < asked)
}

/// The disk is full in the middle of a write, and has room again before the next one.
#[tokio::test(flavor = "multi_thread")]
async fn short_writes_are_continued_to_the_byte() {
    if !volume::has("strace") {
        return;
    }
    // A busy machine may not have made room in time.
    for wait_ms in [1500, 6000, 24_000] {
        let Some(data) = Volume::memory(16 << 20) else { return };
        let Some(state) = Volume::memory(16 << 20) else { return };
        if is_gone_on_with(data, state, wait_ms).await {
            return;
        }
        println!("there was no room again within {wait_ms} ms");
    }
    panic!("no write began after there was room again");
}

/// Each write except the first one waits `wait_ms` milliseconds before it begins. Returns whether
/// there was room again by then.
async fn is_gone_on_with(data: Volume, state: Volume, wait_ms: u32) -> bool {
    let disks = Disks::of(data, Some(state));
    let site = disks.site();
    let user = site.add_user("ada").await;
    let wait = format!("delay_enter={wait_ms}000");
    let strace = Strace::inject(&site.outside().join("log"), "pwrite64", &wait)
        .when("2+")
        .about([site.staging_folder().join("1.tmp")]);
    let server = Launch::without_reserve(site).under(&strace.words()).start().await;
    // The file has one block, so the server reserves no room for it.
    let test_file = TestFile::new(BLOCK, 995);
    let mut client = RawClient::login(server.address(), &user.token).await;
    client.upload(upload("doc", &test_file)).await;
    let ballast = disks.data().fill_up_to(300_000);
    client.chunks(ZERO, &test_file, 0..test_file.size()).await;
    let began = Instant::now();
    while !strace.seen().iter().any(|line| is_short(line)) {
        assert!(began.elapsed() < PATIENCE, "no short write: {:#?}", strace.seen());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    std::fs::remove_file(ballast).expect("the ballast is there");
    client.send(&Request::Complete(Complete::default())).await;
    let answer = client.reply_on(ZERO).await;
    println!("{:#?}", strace.seen());
    server.gone().await;
    match answer {
        Reply::Success(success) => assert_eq!(success.blake3, test_file.hash()),
        Reply::Error(error) if error.code == Code::NoSpace => return false,
        other => panic!("{other:?}"),
    }
    site.assert_published(&user, "doc", &test_file);
    true
}

#[test]
fn short_writes_are_told_from_others() {
    assert!(is_short("7 pwrite64(19, \"\\1\"..., 1048576, 0) = 405504"));
    assert!(is_short("7 pwrite64(19, \"\\1\"..., 1048576, 0) = 405504 (DELAYED)"));
    assert!(!is_short("7 pwrite64(19, \"\\1\"..., 1048576, 0) = 1048576"));
    assert!(!is_short("7 pwrite64(19, \"\\1\"..., 1048576, 0) = -1 ENOSPC (No space left)"));
}

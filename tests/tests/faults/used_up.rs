//! What can be used up besides bytes: room for files, and a quota. It is said as that,
//! and no number of missing bytes is made up.

use towline_protocol::Code;
use towline_tests::corpus::{BLOCK, Corpus};
use towline_tests::process::Launch;
use towline_tests::site::Site;
use towline_tests::speaker::{ZERO, offset, resume, upload};
use towline_tests::strace::Strace;
use towline_tests::volume::{Volume, has};

#[tokio::test(flavor = "multi_thread")]
async fn room_for_more_files() {
    let Some(volume) = Volume::memory(64 << 20) else { return };
    let site = Site::on(&volume);
    let person = site.add_user("ada").await;
    let server = Launch::without_reserve(&site).start().await;
    let mut speaker = server.speaker(&person).await;
    let corpus = Corpus::new(2 * BLOCK, 970);
    let begun = speaker.upload(upload("begun", &corpus)).await.document_id;
    speaker.chunks(ZERO, &corpus, 0..BLOCK).await;
    speaker.progress_that("a promise", |p| p.durable == offset(BLOCK)).await;

    let mut ballast = 0;
    volume.remount("nr_inodes=200");
    while std::fs::write(volume.path().join(ballast.to_string()), "").is_ok() {
        ballast += 1;
        assert!(ballast < 1000, "the files are not limited");
    }
    let mut late = server.speaker(&person).await;
    let told = late.upload_refused(upload("late", &corpus), Code::NoSpace).await;
    println!("{}", told.message);
    assert!(told.message.contains("inodes") && told.missing.is_none(), "{told:?}");
    assert!(told.retry);
    server.says("inodes").await;

    // With room for one more it goes on, without a restart.
    for number in 0..20 {
        std::fs::remove_file(volume.path().join(number.to_string())).unwrap();
    }
    late.upload(upload("late", &corpus)).await;
    late.chunks(ZERO, &corpus, 0..corpus.size()).await;
    late.complete(ZERO).await;
    site.assert_published(&person, "late", &corpus);
    speaker.resume(resume(begun)).await;
    speaker.chunks(ZERO, &corpus, BLOCK..corpus.size()).await;
    speaker.complete(ZERO).await;
    server.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota() {
    if !has("strace") {
        return;
    }
    let site = Site::in_memory();
    let person = site.add_user("ada").await;
    let log = site.outside().join("strace.log");
    let strace = Strace::inject(&log, "pwrite64", "error=EDQUOT")
        .about([site.staging_folder().join("1.tmp")]);
    let server = Launch::over(&site).under(&strace.words()).start().await;
    let mut speaker = server.speaker(&person).await;
    let corpus = Corpus::new(BLOCK, 971);
    let id = speaker.upload(upload("full", &corpus)).await.document_id;
    assert_eq!(id.get(), 1, "strace aims at it");
    speaker.chunks(ZERO, &corpus, 0..100_000).await;
    let told = speaker.error(Code::NoSpace).await;
    println!("{}", told.message);
    assert!(told.message.contains("quota") && told.missing.is_none(), "{told:?}");
    server.gone().await;
}

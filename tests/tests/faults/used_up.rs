//! Limits of a disk other than its bytes: the number of files, and a quota. The message names the
//! limit, and no number of missing bytes is made up.

use towline_protocol::{Code, Reply, Request};
use towline_tests::process::Launch;
use towline_tests::raw_client::{ZERO, offset, resume, upload};
use towline_tests::site::Site;
use towline_tests::strace::Strace;
use towline_tests::test_file::{BLOCK, TestFile};
use towline_tests::volume::{Volume, has};

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_without_inodes_is_told_as_full() {
    let Some(volume) = Volume::memory(64 << 20) else { return };
    let site = Site::on(&volume);
    let user = site.add_user("ada").await;
    let server = Launch::without_reserve(&site).start().await;
    let mut client = server.client(&user).await;
    let test_file = TestFile::new(2 * BLOCK, 970);
    let begun = client.upload(upload("begun", &test_file)).await.document_id;
    client.chunks(ZERO, &test_file, 0..BLOCK).await;
    client.progress_that("a promise", |p| p.durable == offset(BLOCK)).await;

    let mut ballast = 0;
    volume.remount("nr_inodes=200");
    let mut late = server.client(&user).await;
    let told = loop {
        while std::fs::write(volume.path().join(ballast.to_string()), "").is_ok() {
            ballast += 1;
            assert!(ballast < 1000, "the files are not limited");
        }
        late.send(&Request::Upload(upload("late", &test_file))).await;
        match late.reply_on(ZERO).await {
            // The server has just replaced a file of its own, and the old one is gone.
            Reply::Upload(granted) => drop(late.cancel(granted.document_id).await),
            Reply::Error(error) => break error,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(told.code, Code::NoSpace);
    println!("{}", told.message);
    assert!(told.message.contains("inodes") && told.missing.is_none(), "{told:?}");
    assert!(told.retry);
    server.says("inodes").await;

    // With room for one more file the upload continues, without a restart.
    for number in 0..20 {
        std::fs::remove_file(volume.path().join(number.to_string())).unwrap();
    }
    late.upload(upload("late", &test_file)).await;
    late.chunks(ZERO, &test_file, 0..test_file.size()).await;
    late.complete(ZERO).await;
    site.assert_published(&user, "late", &test_file);
    client.resume(resume(begun)).await;
    client.chunks(ZERO, &test_file, BLOCK..test_file.size()).await;
    client.complete(ZERO).await;
    server.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_that_is_used_up_is_told() {
    if !has("strace") {
        return;
    }
    let site = Site::in_memory();
    let user = site.add_user("ada").await;
    let log = site.outside().join("strace.log");
    let strace = Strace::inject(&log, "pwrite64", "error=EDQUOT")
        .about([site.staging_folder().join("1.tmp")]);
    let server = Launch::over(&site).under(&strace.words()).start().await;
    let mut client = server.client(&user).await;
    let test_file = TestFile::new(BLOCK, 971);
    let id = client.upload(upload("full", &test_file)).await.document_id;
    assert_eq!(id.get(), 1, "strace aims at it");
    client.chunks(ZERO, &test_file, 0..100_000).await;
    let told = client.error(Code::NoSpace).await;
    println!("{}", told.message);
    assert!(told.message.contains("quota") && told.missing.is_none(), "{told:?}");
    server.gone().await;
}

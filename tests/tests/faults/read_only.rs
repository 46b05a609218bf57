//! A volume that was mounted again as read-only: all documents and uploads can still be looked at,
//! no byte is lost, and uploads continue when the volume is writable again.

use std::path::Path;
use std::process::Command;
use towline_protocol::Code;
use towline_protocol::request::Complete;
use towline_tests::process::Launch;
use towline_tests::raw_client::{ZERO, find, offset, position, resume, upload};
use towline_tests::site::Site;
use towline_tests::test_file::TestFile;
use towline_tests::volume::Volume;

#[tokio::test]
async fn a_read_only_volume_of_the_uploads_is_told_and_can_be_read() {
    let Some(volume) = Volume::ext4(32 << 20) else { return };
    let site = Site::new();
    let user = site.add_user("ada").await;
    let test_file = TestFile::new(3000, 940);
    let shown = volume.show_at(&site.uploads());
    let mut server = Launch::without_reserve(&site).start().await;
    let mut writer = server.client(&user).await;
    let done = writer.upload(upload("done", &test_file)).await.document_id;
    writer.chunks(ZERO, &test_file, 0..3000).await;
    writer.complete(ZERO).await;
    let begun = writer.upload(upload("begun", &test_file)).await.document_id;
    writer.chunks(ZERO, &test_file, 0..1000).await;
    let paused = writer.pause().await;
    let last = paused.iter().find(|progress| progress.document_id == begun).unwrap();
    let promised = last.durable;
    assert_eq!(promised, offset(1000));
    // No process may be writing while the volume is mounted read-only.
    server.kill_and_start_again().await;
    volume.remount("ro");

    let mut reader = server.client(&user).await;
    let told = reader.upload_refused(upload("new", &test_file), Code::StorageReadOnly).await;
    println!("a new upload: {} {}", told.code, told.message);
    let told = reader.resume_refused(resume(begun), Code::StorageReadOnly).await;
    println!("a resume: {} {}", told.code, told.message);
    assert_eq!(reader.status(begun).await.durable, promised);
    assert_eq!(reader.status(done).await.status, "completed");
    let found = reader.find(find("begun", test_file.filesize())).await;
    assert_eq!(found.unfinished.map(|unfinished| unfinished.document_id), Some(begun));
    let again = Complete { document_id: Some(done), ..Complete::default() };
    assert_eq!(reader.complete_with(again).await.blake3, test_file.hash());

    // The server starts over such a volume, too.
    server.kill_and_start_again().await;
    let mut reader = server.client(&user).await;
    assert_eq!(reader.status(begun).await.durable, promised);
    reader.resume_refused(resume(begun), Code::StorageReadOnly).await;

    volume.remount("rw");
    let from = position(reader.resume(resume(begun)).await.offset);
    reader.chunks(ZERO, &test_file, from..3000).await;
    reader.complete(ZERO).await;
    site.assert_published(&user, "begun", &test_file);
    server.gone().await;
    shown.hide();
}

#[tokio::test]
async fn a_read_only_data_folder_is_told_at_the_start() {
    let Some(volume) = Volume::ext4(32 << 20) else { return };
    let site = Site::on(&volume);
    site.add_user("ada").await;
    volume.remount("ro");
    let ended = Launch::over(&site).try_start().await.expect_err("nothing could be promised");
    let said = ended.said.last().expect("it says why");
    println!("{said}");
    assert_eq!(ended.status.and_then(|status| status.code()), Some(1));
    assert!(said.contains("Read-only file system"), "{said}");
    assert!(said.contains(&site.path().display().to_string()), "{said}");
    assert!(mount_is_read_only(volume.path()));
}

fn mount_is_read_only(path: &Path) -> bool {
    let touched = Command::new("touch").arg(path.join("x")).output().expect("touch can be run");
    !touched.status.success()
}

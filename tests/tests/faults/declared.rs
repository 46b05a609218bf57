//! The server dies, or the power is cut, when the length of an upload that had none was just
//! recorded. Afterwards the upload has that length, and all promised bytes are there.

use towline_protocol::request::{Complete, Upload};
use towline_protocol::{Code, Request};
use towline_tests::disks::Disks;
use towline_tests::process::Launch;
use towline_tests::raw_client::{ZERO, offset, position, resume};
use towline_tests::site::{Site, TestUser};
use towline_tests::test_file::{BLOCK, TestFile};
use towline_types::DocumentId;

const FIRST: usize = BLOCK + 5;

fn end_of(test_file: &TestFile) -> Complete {
    let (filesize, blake3) = (Some(test_file.filesize()), Some(test_file.hash()));
    Complete { filesize, blake3, ..Complete::default() }
}

/// Sends a part, pauses, sends the rest and says the length: the server dies of it.
async fn dies(site: &Site, user: &TestUser, test_file: &TestFile) -> DocumentId {
    let launch = Launch::without_reserve(site).failpoints("declare.recorded=kill@1");
    let mut server = launch.start().await;
    let mut client = server.client(user).await;
    let open = Upload { filename: "backup.tar".to_owned(), ..Upload::default() };
    let id = client.upload(open).await.document_id;
    client.chunks(ZERO, test_file, 0..FIRST).await;
    assert_eq!(client.pause().await[0].durable, offset(FIRST));
    let mut client = server.client(user).await;
    assert_eq!(client.resume(resume(id)).await.offset, offset(FIRST));
    client.chunks(ZERO, test_file, FIRST..test_file.size()).await;
    let _ = client.try_send(&Request::Complete(end_of(test_file))).await;
    client.ended().await;
    server.ended().await;
    assert!(server.was_killed().await, "it dies of this point");
    id
}

/// The next start knows the length, and the upload goes on to its end.
async fn goes_on(site: &Site, user: &TestUser, test_file: &TestFile, id: DocumentId) {
    let server = Launch::without_reserve(site).start().await;
    let mut client = server.client(user).await;
    assert_eq!(client.status(id).await.filesize, test_file.filesize(), "the length is recorded");
    let from = position(client.resume(resume(id)).await.offset);
    assert!((FIRST..=test_file.size()).contains(&from), "{from}");
    client.chunks(ZERO, test_file, from..test_file.size()).await;
    let other = Complete { filesize: Some(TestFile::new(9, 1).filesize()), ..end_of(test_file) };
    client.complete_refused(other, Code::FileChanged).await;
    let mut client = server.client(user).await;
    client.resume(resume(id)).await;
    assert_eq!(client.complete_with(end_of(test_file)).await.blake3, test_file.hash());
    site.assert_published(user, "backup.tar", test_file);
    server.assert_calm();
    server.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_length_that_was_recorded_stays_behind_a_kill() {
    let site = Site::in_memory();
    let user = site.add_user("ada").await;
    let test_file = TestFile::new(3 * BLOCK + 700, 970);
    let id = dies(&site, &user, &test_file).await;
    goes_on(&site, &user, &test_file, id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_length_that_was_recorded_stays_behind_a_power_cut() {
    let Some(mut disks) = Disks::two() else { return };
    let user = disks.site().add_user("ada").await;
    let test_file = TestFile::new(3 * BLOCK + 700, 971);
    let id = dies(disks.site(), &user, &test_file).await;
    disks.lose_power();
    goes_on(disks.site(), &user, &test_file, id).await;
}

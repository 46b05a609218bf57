//! Control messages with wrong fields, and values that this server does not take.

use super::Watched;
use towline_protocol::request::Upload;
use towline_protocol::{Channel, Code};
use towline_tests::raw_client::{upload, upload_of_size};
use towline_tests::server::TestServer;
use towline_tests::test_file::TestFile;
use towline_types::FileSize;

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_names_the_field_that_is_wrong() {
    let watched = Watched::start().await;
    let mut client = watched.server.client().await;
    for (text, field) in [
        (r#"{"filename":"a","filesize":1}"#, "action"),
        (r#"{"action":["upload"]}"#, "action"),
        (r#"{"action":"upload","filesize":1}"#, "filename"),
        (r#"{"action":"upload","filename":"a","blocks":true}"#, "blocks"),
        (r#"{"action":"upload","filename":"a","new_only":true}"#, "new_only"),
        (
            r#"{"action":"upload","filename":"a","filesize":1,"on_konflict":"reject"}"#,
            "on_konflict",
        ),
        (
            r#"{"action":"upload","filename":"a","filesize":1,"on_conflict":"overwrite"}"#,
            "on_conflict",
        ),
        (r#"{"action":"upload","filename":["a"],"filesize":1}"#, "filename"),
        (r#"{"action":"upload","filename":"a","filesize":"1"}"#, "filesize"),
        (r#"{"action":"upload","filename":"a","filesize":-1}"#, "filesize"),
        (r#"{"action":"upload","filename":"a","filesize":1.5}"#, "filesize"),
        (r#"{"action":"upload","filename":"a","filesize":1.0}"#, "filesize"),
        (r#"{"action":"upload","filename":"a","filesize":1e30}"#, "filesize"),
        (r#"{"action":"upload","filename":"a","filesize":9223372036854775808}"#, "filesize"),
        (r#"{"action":"upload","filename":"a","filesize":99999999999999999999999}"#, "filesize"),
        (r#"{"action":"upload","filename":"a","filesize":9007199254740994.0}"#, "filesize"),
        (r#"{"action":"upload","filename":"a","filesize":1,"folder":"b"}"#, "folder"),
        (r#"{"action":"upload","filename":"a","filesize":1,"blocks":1}"#, "blocks"),
        (r#"{"action":"upload","filename":"a","filesize":1,"blake3":"AB"}"#, "blake3"),
        (r#"{"action":"upload","filename":"a","filesize":1,"user_id":0}"#, "user_id"),
        (r#"{"action":"upload","filename":"a","filesize":1,"channel":4294967296}"#, "channel"),
        (r#"{"action":"upload","filename":"a","filesize":1,"channel":-1}"#, "channel"),
        (r#"{"action":"resume"}"#, "document_id"),
        (r#"{"action":"resume","document_id":0}"#, "document_id"),
        (r#"{"action":"resume","document_id":"1"}"#, "document_id"),
        (r#"{"action":"resume","document_id":1,"offset":-1}"#, "offset"),
        (r#"{"action":"status","document_id":1,"x":2}"#, "x"),
        (r#"{"action":"cancel"}"#, "document_id"),
        (r#"{"action":"complete","blake3":null}"#, "blake3"),
        (r#"{"action":"upload","filename":"a","filesize":1,"user_id":null}"#, "user_id"),
        (r#"{"action":"complete","on_conflict":"x"}"#, "on_conflict"),
        (r#"{"action":"find","filename":"a"}"#, "filesize"),
    ] {
        client.send_json(text).await;
        let error = client.error(Code::BadRequest).await;
        assert_eq!(error.field.as_deref(), Some(field), "{text}");
    }
    for text in [r#"{"action":"fly"}"#, r#"{"action":"success"}"#, r#"{"action":"HELLO"}"#] {
        client.send_json(text).await;
        client.error(Code::UnknownAction).await;
    }
    // The answer is sent on the channel of the request.
    client.send_json(r#"{"action":"upload","channel":9,"filename":"a","blocks":true}"#).await;
    client.error_on(Channel(9), Code::BadRequest).await;
    watched.assert_nothing_new().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_larger_than_the_server_takes_is_refused_before_a_byte() {
    let server = TestServer::start_with(|config| {
        config.engine.max_filesize = FileSize::try_from(100_000).unwrap();
    })
    .await;
    let watched = Watched::over(server);
    let mut client = watched.server.client().await;
    for size in [100_001, 1 << 40, i64::MAX.cast_unsigned()] {
        let begin = upload_of_size("large.bin", FileSize::try_from(size).unwrap());
        let error = client.upload_refused(begin, Code::SizeLimit).await;
        assert_eq!(error.max, Some(100_000));
    }
    let granted = client.upload(upload("fits.bin", &TestFile::new(100_000, 1))).await;
    client.cancel(granted.document_id).await;
    watched.assert_nothing_new().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_the_disk_has_no_room_for_is_refused_before_a_byte() {
    let server = TestServer::start_with(|config| {
        // The server keeps more space free than any disk has.
        config.engine.reserve_bytes = 1 << 60;
        config.engine.max_filesize = FileSize::try_from(1 << 50).unwrap();
    })
    .await;
    let watched = Watched::over(server);
    let mut client = watched.server.client().await;
    let begin = upload_of_size("large.bin", FileSize::try_from(1_000_000).unwrap());
    let error = client.upload_refused(begin, Code::NoSpace).await;
    assert!(error.missing.is_some_and(|missing| missing > 1_000_000), "{error:?}");
    watched.assert_nothing_new().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_for_another_user_is_refused() {
    let watched = Watched::start().await;
    let bob = watched.server.site.add_user("bob").await;
    let mut client = watched.server.client().await;
    let begin = Upload { user_id: Some(bob.id), ..upload("a.bin", &TestFile::new(1, 1)) };
    client.upload_refused(begin, Code::WrongUser).await;
    watched.assert_nothing_new().await;
}

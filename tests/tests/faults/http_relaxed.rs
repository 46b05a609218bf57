//! A relaxed server whose power is cut after it has made one file of the parts of others.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use towline_tests::disks::Disks;
use towline_tests::http_client::{HttpAnswer, HttpClient};
use towline_tests::process::Launch;
use towline_tests::test_file::{BLOCK, TestFile};

/// The path of the upload that has begun.
fn path_of(begun: &HttpAnswer) -> String {
    let address = begun.header("location").expect("an address");
    let (_, number) = address.rsplit_once("/uploads/").expect("the address of an upload");
    format!("/uploads/{number}")
}

/// The bytes of the parts were durable, and the parts are given up for the file: so the file is
/// durable when that is told (P1).
#[tokio::test(flavor = "multi_thread")]
async fn a_file_made_of_durable_parts_survives_a_power_cut() {
    let Some(mut disks) = Disks::two() else { return };
    let user = disks.site().add_user("ada").await;
    let relaxed = Launch::without_reserve(disks.site()).arguments(&["--durability", "relaxed"]);
    let mut server = relaxed.start().await;
    let client = HttpClient::new(server.address(), &user.token);
    let test_file = TestFile::new(BLOCK + 5000, 985);
    let tus = ("tus-resumable", "1.0.0");
    let mut parts = Vec::new();
    for bytes in [&test_file.bytes[..BLOCK], &test_file.bytes[BLOCK..]] {
        let length = bytes.len().to_string();
        let headers = [
            tus,
            ("upload-concat", "partial"),
            ("upload-length", length.as_str()),
            ("content-type", "application/offset+octet-stream"),
        ];
        let begun = client.send("POST", "/files", &headers, bytes.to_vec()).await.is(201);
        assert_eq!(begun.upload_offset(), Some(bytes.len() as u64));
        parts.push(path_of(&begun));
    }
    let metadata = format!("filename {}", STANDARD.encode("whole"));
    let concat = format!("final;{}", parts.join(" "));
    let headers = [tus, ("upload-concat", concat.as_str()), ("upload-metadata", metadata.as_str())];
    let made = client.send("POST", "/files", &headers, "").await.is(201);
    let path = path_of(&made);
    server.freeze();
    disks.power_off();
    server.gone().await;
    disks.power_on();
    let server = Launch::without_reserve(disks.site()).start().await;
    let client = HttpClient::new(server.address(), &user.token);
    let shown = client.get(&path).await.is(200).json();
    assert_eq!(shown["status"], "AVAILABLE", "{shown}");
    disks.site().assert_published(&user, "whole", &test_file);
    server.assert_calm();
    server.gone().await;
}

//! Names that no file may have, and unusual names that are allowed.

use super::Watched;
use towline_protocol::Code;
use towline_protocol::request::Upload;
use towline_tests::raw_client::{ZERO, upload};
use towline_tests::server::TestServer;
use towline_tests::test_file::TestFile;

#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_paths_or_invisible_or_reserved_are_refused() {
    let watched = Watched::start().await;
    let mut client = watched.server.client().await;
    let too_long = "ü".repeat(128);
    let longest = "x".repeat(256);
    let many = "€".repeat(255);
    let names = [
        "",
        ".",
        "..",
        "../x",
        "a/b",
        "/etc/passwd",
        "a\\b",
        "..\\x",
        "C:\\x",
        "...",
        ".x ",
        "x.",
        "x ",
        " x",
        "\u{a0}x",
        "a\0b",
        "a\nb",
        "a\u{1b}[2Jb",
        "a\u{7f}b",
        "a\u{9b}b",
        "a\u{202e}fdp.exe",
        "a\u{2066}b",
        "a\u{200b}b",
        "a\u{ad}b",
        "a\u{feff}b",
        "\u{2028}a",
        "a\u{e0041}b",
        "CON",
        "con",
        "con.txt",
        "nul.tar.gz",
        "Aux.pdf",
        "COM1",
        "lpt9.doc",
        "COM¹",
        "CONIN$",
        &too_long,
        &longest,
        &many,
    ];
    for name in names {
        let begin = upload(name, &TestFile::new(1, 1));
        let error = client.upload_refused(begin, Code::BadName).await;
        assert!(!error.message.is_empty());
        let begin = Upload {
            folder: vec!["good".to_owned(), name.to_owned()],
            ..upload("a.bin", &TestFile::new(1, 1))
        };
        client.upload_refused(begin, Code::BadName).await;
    }
    // A path may have 32 folders and not one more, and its whole length has a limit, too.
    for (count, name) in [(33, "f".to_owned()), (20, "f".repeat(110))] {
        let folder = vec![name; count];
        let begin = Upload { folder, ..upload("a.bin", &TestFile::new(1, 1)) };
        client.upload_refused(begin, Code::BadName).await;
    }
    watched.assert_nothing_new().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_look_odd_and_are_legal_are_published() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let test_file = TestFile::new(100, 113);
    let longest = format!("{}.bin", "x".repeat(251));
    for name in [
        "Übung 3.pdf",
        "報告書.pdf",
        "نامه\u{200c}ها.txt",
        "👩\u{200d}🚀.png",
        "a..b",
        ".env",
        "..a",
        ".staging",
        "-rf",
        "~",
        "con1",
        "a:b",
        "conference.pdf",
        "%2e%2e%2fx",
        "a'b\"c;d|e&f$(g)`h`",
        &longest,
    ] {
        client.upload(upload(name, &test_file)).await;
        client.chunks(ZERO, &test_file, 0..100).await;
        assert_eq!(client.complete(ZERO).await.filename, name);
        server.site.assert_published(&server.user, name, &test_file);
    }
    let folder = vec!["f".to_owned(); 32];
    client.upload(Upload { folder: folder.clone(), ..upload("deep.bin", &test_file) }).await;
    client.chunks(ZERO, &test_file, 0..100).await;
    assert_eq!(client.complete(ZERO).await.folder, folder);
    let path = format!("{}/deep.bin", folder.join("/"));
    server.site.assert_published(&server.user, &path, &test_file);
}

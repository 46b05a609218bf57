//! `GET` of the bytes of a document.

use super::kit::server;
use towline_tests::http_client::HttpClient;
use towline_tests::server::TestServer;
use towline_tests::test_file::{BLOCK, TestFile, chance};

async fn stored(name: &str, file: &TestFile) -> (TestServer, HttpClient, String) {
    let (server, client) = server().await;
    let upload = client.begin(name, file.size()).await;
    if file.size() > 0 {
        client.patch(&upload, 0, &file.bytes).await.is(204);
    }
    let path = format!("/documents/{}/content", upload.id);
    (server, client, path)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_comes_back_as_it_was_sent() {
    for size in [0, 1, BLOCK, 3 * BLOCK + 7] {
        let file = TestFile::new(size, 50);
        let (_server, client, path) = stored("Bild ü.png", &file).await;
        let answer = client.get(&path).await.is(200);
        assert!(answer.body == file.bytes, "{size}");
        assert_eq!(answer.header("etag"), Some(format!("\"b3-{}\"", file.hash()).as_str()));
        assert_eq!(answer.header("content-length"), Some(size.to_string().as_str()));
        assert_eq!(answer.header("content-type"), Some("image/png"));
        assert_eq!(
            answer.header("content-disposition"),
            Some("attachment; filename=\"Bild _.png\"; filename*=UTF-8''Bild%20%C3%BC.png")
        );
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("content-security-policy"), Some("sandbox"));
        let head = client.send("HEAD", &path, &[], "").await.is(200);
        assert!(head.body.is_empty());
        for name in ["etag", "content-length", "last-modified", "content-disposition"] {
            assert_eq!(head.header(name), answer.header(name), "{name}");
        }
        let shown = client.get(&format!("{path}?inline=1")).await.is(200);
        assert!(shown.header("content-disposition").unwrap().starts_with("inline"), "{shown:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_never_shown() {
    let file = TestFile::new(100, 51);
    let (_server, client, path) = stored("page.html", &file).await;
    let answer = client.get(&format!("{path}?inline=1")).await.is(200);
    assert_eq!(answer.header("content-type"), Some("application/octet-stream"));
    assert!(answer.header("content-disposition").unwrap().starts_with("attachment"), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_comes_alone() {
    let file = TestFile::new(3 * BLOCK + 7, 52);
    let (_server, client, path) = stored("a.bin", &file).await;
    let (mut chance, size) = (chance(), file.size());
    let range = async |text: String| client.send("GET", &path, &[("range", &text)], "").await;
    for _ in 0..20 {
        let start = chance.usize(0..size);
        let end = chance.usize(start + 1..=size);
        let answer = range(format!("bytes={start}-{}", end - 1)).await.is(206);
        assert!(answer.body == file.bytes[start..end], "{start}..{end}");
        let said = format!("bytes {start}-{}/{size}", end - 1);
        assert_eq!(answer.header("content-range"), Some(said.as_str()));
    }
    assert!(range("bytes=-10".to_owned()).await.is(206).body == file.bytes[size - 10..]);
    assert!(range(format!("bytes={}-", size - 5)).await.is(206).body == file.bytes[size - 5..]);
    assert!(range("bytes=5-4".to_owned()).await.is(200).body == file.bytes);
    let none = range(format!("bytes={size}-")).await.is(416);
    assert_eq!(none.header("content-range"), Some(format!("bytes */{size}").as_str()));
    assert_eq!(none.problem(), "range");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_ranges_come_in_parts() {
    let file = TestFile::new(2 * BLOCK, 53);
    let (_server, client, path) = stored("a.bin", &file).await;
    let headers = [("range", "bytes=0-9, 1048570-1048589, -5")];
    let answer = client.send("GET", &path, &headers, "").await.is(206);
    let media_type = answer.header("content-type").unwrap();
    let boundary = media_type.strip_prefix("multipart/byteranges; boundary=").unwrap();
    let mut wanted = Vec::new();
    for (index, (start, end)) in
        [(0, 10), (1_048_570, 1_048_590), (2 * BLOCK - 5, 2 * BLOCK)].into_iter().enumerate()
    {
        let before = if index == 0 { "" } else { "\r\n" };
        wanted.extend_from_slice(
            format!(
                "{before}--{boundary}\r\nContent-Type: application/octet-stream\r\n\
                 Content-Range: bytes {start}-{}/{}\r\n\r\n",
                end - 1,
                file.size()
            )
            .as_bytes(),
        );
        wanted.extend_from_slice(&file.bytes[start..end]);
    }
    wanted.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    assert!(answer.body == wanted, "{:?}", String::from_utf8_lossy(&answer.body));
    assert_eq!(answer.header("content-length"), Some(wanted.len().to_string().as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_are_kept() {
    let file = TestFile::new(1000, 54);
    let (_server, client, path) = stored("a.bin", &file).await;
    let first = client.get(&path).await.is(200);
    let (tag, date) = (first.header("etag").unwrap(), first.header("last-modified").unwrap());
    let get = async |headers: &[(&str, &str)]| client.send("GET", &path, headers, "").await;
    let unchanged = get(&[("if-none-match", tag)]).await.is(304);
    assert_eq!((unchanged.body.len(), unchanged.header("etag")), (0, Some(tag)));
    get(&[("if-modified-since", date)]).await.is(304);
    get(&[("if-match", "\"other\"")]).await.is(412);
    get(&[("if-match", tag)]).await.is(200);
    let range = ("range", "bytes=0-9");
    assert_eq!(get(&[range, ("if-range", tag)]).await.is(206).body.len(), 10);
    assert_eq!(get(&[range, ("if-range", "\"other\"")]).await.is(200).body.len(), 1000);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_complete_document_has_bytes() {
    let (_server, client) = server().await;
    let upload = client.begin("a", 1000).await;
    client.patch(&upload, 0, &[1; 10]).await.is(204);
    let path = format!("/documents/{}/content", upload.id);
    assert_eq!(client.get(&path).await.is(409).problem(), "bad_state");
    client.get("/documents/4711/content").await.is(404);
    client.get("/documents/abc/content").await.is(404);
}

//! Pages of other origins in a browser.

use super::kit::{server, server_with};
use towline_server::{Config, OriginArgument};
use towline_tests::http_client::HttpAnswer;

const PAGE: &str = "https://app.example.com";

fn allow(config: &mut Config, origin: &str) {
    let origin: OriginArgument = origin.parse().unwrap();
    config.http.origins = std::iter::once(origin).collect();
}

/// The origin whose pages may read the answer.
fn allowed(answer: &HttpAnswer) -> Option<&str> {
    answer.header("access-control-allow-origin")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_an_allowed_origin_may_upload_and_read_the_offset() {
    let (_server, client) = server_with(|config| allow(config, PAGE)).await;
    let asks = [
        ("origin", PAGE),
        ("access-control-request-method", "PATCH"),
        ("access-control-request-headers", "authorization,content-range,upload-offset"),
    ];
    // A browser asks without the token.
    let stranger = client.with_token("");
    for path in ["/uploads/1", "/uploads", "/files", "/files/1/content", "/delta"] {
        let answer = stranger.send("OPTIONS", path, &asks, "").await.is(204);
        assert_eq!(allowed(&answer), Some(PAGE), "{path}");
        let methods = answer.header("access-control-allow-methods").unwrap();
        assert!(methods.contains("PATCH") && methods.contains("DELETE"), "{methods}");
        let headers = answer.header("access-control-allow-headers").unwrap().to_lowercase();
        for sent in ["authorization", "content-range", "tus-resumable", "upload-complete"] {
            assert!(headers.contains(sent), "{sent} in {headers}");
        }
        assert_eq!(answer.header("access-control-allow-credentials"), None);
    }
    let upload = client.begin("a", 300).await;
    let answer = client.patch_with(&upload, 0, &[7; 100], &[("origin", PAGE)]).await.is(204);
    assert_eq!(allowed(&answer), Some(PAGE));
    let exposed = answer.header("access-control-expose-headers").unwrap().to_lowercase();
    for read in ["upload-offset", "etag", "location", "towline-document", "tus-resumable"] {
        assert!(exposed.contains(read), "{read} in {exposed}");
    }
    // Also where the request is refused: else the page could not tell why.
    let refused = stranger.send("GET", &upload.path, &[("origin", PAGE)], "").await.is(401);
    assert_eq!(allowed(&refused), Some(PAGE));
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_origins_get_no_leave() {
    let (_server, client) = server_with(|config| allow(config, PAGE)).await;
    for origin in ["https://evil.test", "http://app.example.com", "null"] {
        let asks = [("origin", origin), ("access-control-request-method", "GET")];
        let answer = client.send("OPTIONS", "/uploads", &asks, "").await.is(204);
        assert_eq!(allowed(&answer), None, "{origin}");
        let answer = client.send("GET", "/documents", &[("origin", origin)], "").await.is(200);
        assert_eq!(allowed(&answer), None, "{origin}");
        assert_eq!(answer.header("vary"), Some("Origin"));
    }
    let (_closed, client) = server().await;
    let answer = client.send("GET", "/documents", &[("origin", PAGE)], "").await.is(200);
    assert_eq!(allowed(&answer), None, "none is allowed unless the operator says so");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_may_where_the_operator_says_so_and_tus_still_tells_what_it_can() {
    let (_server, client) = server_with(|config| allow(config, "*")).await;
    let answer = client.send("GET", "/documents", &[("origin", PAGE)], "").await.is(200);
    assert_eq!(allowed(&answer), Some(PAGE));
    // OPTIONS without the browser's question is the one of tus.
    let answer = client.send("OPTIONS", "/files", &[("origin", PAGE)], "").await.is(204);
    assert_eq!(answer.header("tus-version"), Some("1.0.0"));
    assert_eq!(allowed(&answer), Some(PAGE));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_an_allowed_origin_may_show_the_bytes() {
    let (_server, client) = server_with(|config| allow(config, PAGE)).await;
    let upload = client.begin("a.png", 100).await;
    client.patch(&upload, 0, &[7; 100]).await.is(204);
    let path = format!("/documents/{}/content", upload.id);
    let policy = "cross-origin-resource-policy";
    let own = client.get(&path).await.is(200);
    assert_eq!(own.header(policy), Some("same-origin"));
    let page = client.send("GET", &path, &[("origin", PAGE)], "").await.is(200);
    assert_eq!(page.header(policy), Some("cross-origin"));
}

//! Control frames whose text is no JSON object.

use super::Watched;
use towline_protocol::Code;

#[tokio::test(flavor = "multi_thread")]
async fn text_that_is_no_json_object_is_refused() {
    let watched = Watched::start().await;
    let mut client = watched.server.client().await;
    let upload = r#""action":"upload","filename":"a.bin","filesize":1"#;
    let deep = |levels: usize| {
        format!(r#"{{"action":"ping","x":{}1{}}}"#, "[".repeat(levels), "]".repeat(levels))
    };
    let texts: Vec<Vec<u8>> = vec![
        b"".to_vec(),
        b"\xff\xfe".to_vec(),
        b"{\"action\":\"upload\",\"filename\":\"\xff\",\"filesize\":1}".to_vec(),
        b"{\"action\":\"ping\"".to_vec(),
        b"{\"action\":\"ping\"} x".to_vec(),
        b"{\"action\":\"ping\"}{}".to_vec(),
        b"{\"action\":\"ping\",}".to_vec(),
        b"{\"action\":\"ping\"}\0".to_vec(),
        b"\xef\xbb\xbf{\"action\":\"ping\"}".to_vec(),
        b"[1]".to_vec(),
        b"7".to_vec(),
        b"null".to_vec(),
        b"\"action\"".to_vec(),
        deep(15).into_bytes(),
        deep(2000).into_bytes(),
        format!(r#"{{{upload},"filename":"b.bin"}}"#).into_bytes(),
        format!(r#"{{{upload},"action":"upload"}}"#).into_bytes(),
        format!(r#"{{{upload},"\u0066ilename":"b.bin"}}"#).into_bytes(),
        format!(r#"{{{upload},"x":{{"y":1,"y":1}}}}"#).into_bytes(),
        br#"{"action":"upload","filename":"\ud800","filesize":1}"#.to_vec(),
    ];
    for text in &texts {
        client.send_json(text).await;
        let error = client.error(Code::BadJson).await;
        assert!(error.message.len() <= 1024, "{error:?}");
    }
    // The same connection still works.
    client.ping().await;
    for text in &texts {
        let mut stranger = watched.stranger().await;
        stranger.send_json(text).await;
        stranger.error(Code::BadJson).await;
        assert_eq!(stranger.closed().await, []);
    }
    watched.assert_nothing_new().await;
}

//! Requests about the tree that lead outside of it, or that speak of a tree that is not there.

use super::Watched;
use serde_json::{Value, json};
use towline_protocol::{Code, Reply};
use towline_tests::raw_client::RawClient;

/// Paths that lead out of the user's folder, or that some system would take for another.
fn outside() -> Vec<Value> {
    vec![
        json!([".."]),
        json!(["..", "2", "doc"]),
        json!(["proj", "..", "..", "2"]),
        json!(["."]),
        json!(["proj/../../2"]),
        json!(["/etc/passwd"]),
        json!(["..\\2"]),
        json!(["proj", ""]),
        json!([".staging"]),
        json!(["proj", "a\u{0}b"]),
        json!(["proj", "\u{1b}[2J"]),
        json!(vec!["d"; 34]),
        json!(vec!["long name ".trim().repeat(25); 10]),
    ]
}

/// Sends a request, and returns the code and the field of the error that has to come.
async fn refused(client: &mut RawClient, request: &Value) -> (Code, Option<String>) {
    client.send_json(&request.to_string()).await;
    match client.reply().await {
        Reply::Error(error) => (error.code, error.field),
        other => panic!("{request} is answered by {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_leads_outside_is_refused_by_every_request() {
    let server = towline_tests::server::TestServer::start().await;
    server.client().await.mkdir("proj").await;
    let watched = Watched::over(server);
    let mut client = watched.server.client().await;
    for path in outside() {
        // What is to be made or moved there: the name is refused.
        let is_legal = path == json!([".staging"]);
        for request in [
            json!({ "action": "mkdir", "path": path }),
            json!({ "action": "link", "path": path, "target": "../../etc" }),
            json!({ "action": "move", "path": ["proj"], "to": path }),
        ] {
            if !is_legal {
                assert_eq!(refused(&mut client, &request).await.0, Code::BadName, "{request}");
            }
        }
        // What is to be there already: the name is refused, or there is nothing of that name.
        for action in ["list", "stat", "remove", "restore", "versions", "read", "move"] {
            let mut request = json!({ "action": action, "path": path });
            if action == "move" {
                request["to"] = json!(["elsewhere"]);
            }
            let (code, _) = refused(&mut client, &request).await;
            assert!([Code::BadName, Code::NotFound].contains(&code), "{request}: {code:?}");
        }
    }
    watched.assert_nothing_new().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_and_texts_that_no_answer_had_are_refused() {
    let watched = Watched::start().await;
    let mut client = watched.server.client().await;
    let long = "x".repeat(8000);
    for (request, code, field) in [
        (json!({ "action": "list", "path": [], "limit": 0 }), Code::BadRequest, Some("limit")),
        (json!({ "action": "list", "path": [], "limit": 10_001 }), Code::BadRequest, Some("limit")),
        (json!({ "action": "list", "path": [], "after": "t1.1.1" }), Code::BadCursor, None),
        (json!({ "action": "list", "path": [], "after": "" }), Code::BadCursor, None),
        (json!({ "action": "list", "trash": true, "after": "l1.a" }), Code::BadCursor, None),
        (json!({ "action": "list", "trash": true, "path": [] }), Code::BadRequest, Some("path")),
        (json!({ "action": "list" }), Code::BadRequest, Some("path")),
        (json!({ "action": "delta", "limit": 2001 }), Code::BadRequest, Some("limit")),
        (json!({ "action": "delta", "wait_ms": 55_001 }), Code::BadRequest, Some("wait_ms")),
        (json!({ "action": "delta", "since": "l1.a" }), Code::BadCursor, None),
        (json!({ "action": "delta", "since": long }), Code::BadCursor, None),
        (json!({ "action": "delta", "since": "c1.99.1.0" }), Code::BadCursor, None),
        (json!({ "action": "versions", "node_id": 0 }), Code::BadRequest, Some("node_id")),
        (
            json!({ "action": "remove", "path": ["a"], "sure": true }),
            Code::BadRequest,
            Some("sure"),
        ),
        (json!({ "action": "move", "path": ["a"] }), Code::BadRequest, Some("to")),
        (json!({ "action": "mkdir", "path": ["a"], "mode": 512 }), Code::BadRequest, Some("mode")),
        (
            json!({ "action": "link", "path": ["a"], "target": "" }),
            Code::BadRequest,
            Some("target"),
        ),
    ] {
        let found = refused(&mut client, &request).await;
        assert_eq!(found, (code, field.map(str::to_owned)), "{request}");
    }
    watched.assert_nothing_new().await;
}

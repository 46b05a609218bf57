//! A text that parses as a request or a reply is printed and parses again as the same. A text that
//! does not parse is refused with an answer that fits into a frame. `SPEC.md` section 2.1 says
//! which JSON is allowed.

use serde_json::Value;
use towline_protocol::frame;
use towline_protocol::limits::{CONTROL_BYTES_MAX, JSON_DEPTH_MAX, MESSAGE_BYTES_MAX};
use towline_protocol::{Code, ErrorReply, Reply, Request};

/// The input is the body of a control frame.
pub fn body(data: &[u8]) {
    let data = &data[..data.len().min(CONTROL_BYTES_MAX as usize)];
    let request = Request::parse(data);
    match &request {
        Ok(request) => {
            let printed = frame::control(request);
            assert_eq!(Request::parse(&printed[5..]).as_ref(), Ok(request), "a round trip");
        }
        Err(error) => is_sayable(error),
    }
    let reply = Reply::parse(data).ok();
    if let Some(reply) = &reply {
        let printed = frame::control(reply);
        assert_eq!(Reply::parse(&printed[5..]).ok().as_ref(), Some(reply), "a round trip");
    }
    let is_an_object = !matches!(&request, Err(error) if error.code == Code::BadJson);
    assert!(is_an_object || reply.is_none(), "both sides read JSON alike");
    if is_an_object {
        let object = serde_json::from_slice::<Value>(data).expect("it has been read as JSON");
        assert!(object.is_object() && depth(&object) <= JSON_DEPTH_MAX);
        what_is_added(data, &object, reply.as_ref());
    }
}

/// Adds one field at the end of the object.
fn what_is_added(data: &[u8], object: &Value, reply: Option<&Reply>) {
    let text = str::from_utf8(data).expect("JSON is UTF-8").trim_end();
    let open = text.strip_suffix('}').expect("an object ends so");
    let keys: Vec<_> = object.as_object().into_iter().flat_map(|object| object.keys()).collect();
    let comma = if keys.is_empty() { "" } else { "," };
    let with = |key: &str, value: &str| {
        let key = Value::from(key);
        format!("{open}{comma}{key}:{value}}}")
    };
    for key in keys.iter().take(4) {
        let twice = with(key, "1");
        let refusal = Request::parse(twice.as_bytes()).map_err(|error| error.code);
        assert_eq!(refusal, Err(Code::BadJson), "{key:?} stands there twice");
        assert!(Reply::parse(twice.as_bytes()).is_err(), "{key:?} stands there twice");
    }
    let mut unknown = "new".to_owned();
    while keys.contains(&&unknown) {
        unknown.push('_');
    }
    let more = with(&unknown, r#"{"x":[1]}"#);
    assert!(Request::parse(more.as_bytes()).is_err(), "no request may say what is not known");
    if let Some(reply) = reply {
        let again = Reply::parse(more.as_bytes());
        assert_eq!(again.ok().as_ref(), Some(reply), "a reply may say more");
    }
    let inner = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
    let legal = with(&unknown, &inner(JSON_DEPTH_MAX - 2));
    let refusal = Request::parse(legal.as_bytes()).map_err(|error| error.code);
    assert_ne!(refusal, Err(Code::BadJson), "not too deep");
    let deep = with(&unknown, &inner(JSON_DEPTH_MAX - 1));
    let refusal = Request::parse(deep.as_bytes()).map_err(|error| error.code);
    assert_eq!(refusal, Err(Code::BadJson), "too deep");
}

/// Checks that a server may send this answer.
fn is_sayable(error: &ErrorReply) {
    assert!((1..=MESSAGE_BYTES_MAX).contains(&error.message.len()));
    assert_eq!((error.number, error.retry), (error.code.number(), error.code.can_retry()));
    let reply = Reply::Error(error.clone());
    let printed = frame::control(&reply);
    assert!(printed.len() <= CONTROL_BYTES_MAX as usize, "an answer of {} bytes", printed.len());
    assert_eq!(Reply::parse(&printed[5..]).ok(), Some(reply), "the client understands it");
}

fn depth(value: &Value) -> usize {
    let inner = match value {
        Value::Array(list) => list.iter().map(depth).max(),
        Value::Object(map) => map.values().map(depth).max(),
        _ => None,
    };
    1 + inner.unwrap_or(0)
}

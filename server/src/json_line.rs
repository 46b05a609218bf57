//! One JSON object in one line, as programs read it: of commands, and of the audit log.

use serde_json::Value;
use std::time::SystemTime;

/// The line of an event with these fields and the time of now. A field that is not known is left
/// out. It has no newline at its end.
///
/// A person finds `schema` and `event` at the beginning and `time` at the end. The order of the
/// fields has no meaning in JSON.
pub(crate) fn json_line(schema: Option<u32>, event: &str, fields: Value) -> String {
    let mut fields = match fields {
        Value::Object(fields) => fields,
        _ => serde_json::Map::new(),
    };
    fields.retain(|_, value| !value.is_null());
    let schema = schema.map_or_else(String::new, |schema| format!("\"schema\":{schema},"));
    let fields = Value::Object(fields).to_string();
    let inside = fields.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    let fields = inside.unwrap_or_default();
    let between = if fields.is_empty() { "" } else { "," };
    let time = humantime::format_rfc3339_millis(SystemTime::now());
    harmless(&format!("{{{schema}\"event\":\"{event}\",{fields}{between}\"time\":\"{time}\"}}"))
}

/// Escapes the characters that JSON allows and a terminal could obey. The result means the same as
/// the JSON text before.
fn harmless(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii_graphic() || c == ' ' || c.escape_debug().len() == 1 {
            text.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                text.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    text
}

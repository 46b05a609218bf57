//! The description of the door for programs, `docs/openapi.json` (OpenAPI 3.1), made of the types
//! that the handlers take and give. A test compares the file with it, and the addresses with those
//! of the router.

#![allow(dead_code, reason = "the functions stand for the handlers, and are there to be described")]

use super::changes::{Delta, Wanted};
use super::create::{Created, New};
use super::files::{Listed, NewFolder, NewPlace, Page, Removing, Restoring, Versions};
use super::item::{Item, Items};
use super::links::{NewLink, WholeLink};
use super::problem::Body as Problem;
use super::shown::Shown;
use super::uploads::{Completing, Token, Upload};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};

/// The bytes of a file.
#[derive(utoipa::ToSchema)]
#[schema(value_type = String, format = Binary)]
struct Bytes(Vec<u8>);

/// Declares an operation: its method, address, what it takes and what it answers besides a problem.
macro_rules! operation {
    ($(#[doc = $doc:literal])* $name:ident, $method:ident $path:literal, ($($input:tt)*), [$($answer:tt)*]) => {
        $(#[doc = $doc])*
        #[utoipa::path(
            $method, path = $path, $($input)*
            responses(
                $($answer)*,
                (status = "4XX", description = "The request is refused.", body = Problem, content_type = "application/problem+json"),
                (status = "5XX", description = "The server cannot do it now.", body = Problem, content_type = "application/problem+json"),
            )
        )]
        fn $name() {}
    };
}

operation! {
    /// An upload begins.
    begin, post "/uploads", (request_body = New,),
    [(status = 201, description = "It takes bytes now.", body = Created),
     (status = 200, description = "The file is here already.", body = Shown)]
}
operation! {
    /// Where to go on.
    probe, head "/uploads/{id}", (params(("id" = u64, Path)),),
    [(status = 200, description = "How far it is, in the headers.")]
}
operation! {
    /// How an upload stands.
    show_upload, get "/uploads/{id}", (params(("id" = u64, Path)),),
    [(status = 200, description = "The upload.", body = Upload)]
}
operation! {
    /// The bytes of a range.
    append, patch "/uploads/{id}",
    (params(("id" = u64, Path), ("Content-Range" = String, Header, description = "bytes FIRST-LAST/TOTAL, or bytes */TOTAL without bytes")),
     request_body(content = Bytes, content_type = "application/octet-stream"),),
    [(status = 204, description = "The bytes before Upload-Offset are durable.")]
}
operation! {
    /// The client gives an upload up.
    cancel, delete "/uploads/{id}", (params(("id" = u64, Path)),),
    [(status = 204, description = "It is gone.")]
}
operation! {
    /// The end of an upload.
    complete, post "/uploads/{id}/complete", (params(("id" = u64, Path)), request_body = Option<Completing>,),
    [(status = 201, description = "The document.", body = Shown),
     (status = 200, description = "The document: it was complete before.", body = Shown)]
}
operation! {
    /// Another token for an upload.
    renew_token, post "/uploads/{id}/token", (params(("id" = u64, Path)),),
    [(status = 201, description = "The token.", body = Token)]
}
operation! {
    /// What the server can do for clients of tus.
    upload_options, options "/uploads", (security(()),),
    [(status = 204, description = "In the headers.")]
}
operation! {
    /// The same.
    file_options, options "/files", (security(()),),
    [(status = 204, description = "In the headers.")]
}
operation! {
    /// The same.
    one_upload_options, options "/uploads/{id}", (params(("id" = u64, Path)), security(()),),
    [(status = 204, description = "In the headers.")]
}
operation! {
    /// What lies in a folder.
    list, get "/documents", (params(Listed),),
    [(status = 200, description = "A page.", body = Items)]
}
operation! {
    /// A document, and what its client has said of it.
    show_document, get "/documents/{id}", (params(("id" = u64, Path)),),
    [(status = 200, description = "The document.", body = Shown)]
}
operation! {
    /// The bytes of a document.
    document_content, get "/documents/{id}/content", (security(("token" = []), ("link" = [])), params(("id" = u64, Path)),),
    [(status = 200, description = "All bytes.", body = Bytes, content_type = "application/octet-stream"),
     (status = 206, description = "The ranges that were asked for.", body = Bytes, content_type = "application/octet-stream"),
     (status = 304, description = "The client has this state.")]
}
operation! {
    /// The same for whoever has a link.
    linked_content, get "/d/{id}/{name}", (security(("link" = [])), params(("id" = u64, Path), ("name" = String, Path, description = "anything")),),
    [(status = 200, description = "All bytes.", body = Bytes, content_type = "application/octet-stream"),
     (status = 206, description = "The ranges that were asked for.", body = Bytes, content_type = "application/octet-stream"),
     (status = 304, description = "The client has this state.")]
}
operation! {
    /// A link to a document.
    make_link, post "/download-url", (request_body = NewLink,),
    [(status = 201, description = "The link.", body = WholeLink)]
}
operation! {
    /// The bytes of a file as it is now.
    file_content, get "/files/{id}/content", (params(("id" = u64, Path)),),
    [(status = 200, description = "All bytes.", body = Bytes, content_type = "application/octet-stream"),
     (status = 206, description = "The ranges that were asked for.", body = Bytes, content_type = "application/octet-stream"),
     (status = 304, description = "The client has this state.")]
}
operation! {
    /// The same by its place.
    content_at, get "/content/{path}", (params(("path" = String, Path, description = "with / between names")),),
    [(status = 200, description = "All bytes.", body = Bytes, content_type = "application/octet-stream"),
     (status = 206, description = "The ranges that were asked for.", body = Bytes, content_type = "application/octet-stream"),
     (status = 304, description = "The client has this state.")]
}
operation! {
    /// A new folder.
    make, post "/files", (request_body = NewFolder,),
    [(status = 201, description = "The folder.", body = Item)]
}
operation! {
    /// A file, folder or link.
    show_file, get "/files/{id}", (params(("id" = u64, Path)),),
    [(status = 200, description = "It.", body = Item)]
}
operation! {
    /// A move.
    relocate, patch "/files/{id}",
    (params(("id" = u64, Path), ("If-Match" = String, Header, description = "\"p\" and placeRev in quotes, or *")), request_body = NewPlace,),
    [(status = 200, description = "It, in its new place.", body = Item)]
}
operation! {
    /// Into the trash.
    remove, delete "/files/{id}",
    (params(("id" = u64, Path), ("If-Match" = Option<String>, Header, description = "\"v\" and versionId in quotes"), Removing),),
    [(status = 200, description = "It, as it was.", body = Item)]
}
operation! {
    /// The versions of a file, the newest first.
    versions, get "/files/{id}/versions", (params(("id" = u64, Path), Page),),
    [(status = 200, description = "A page.", body = Versions)]
}
operation! {
    /// Back from the trash; or an older version is the newest again.
    restore, post "/files/{id}/restore", (params(("id" = u64, Path)), request_body = Option<Restoring>,),
    [(status = 200, description = "It.", body = Item)]
}
operation! {
    /// What was removed.
    trash, get "/trash", (params(Page),),
    [(status = 200, description = "A page.", body = Items)]
}
operation! {
    /// What has changed.
    delta, get "/delta", (params(Wanted),),
    [(status = 200, description = "A page of the log.", body = Delta)]
}
operation! {
    /// A stream that says when something has changed.
    change_stream, get "/delta/stream", (),
    [(status = 200, description = "Server-sent events, without an end.", body = String, content_type = "text/event-stream")]
}

/// Every request needs a token.
struct Bearer;

impl Modify for Bearer {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        let components = api.components.get_or_insert_default();
        components.add_security_scheme("token", scheme);
        let link = SecurityScheme::ApiKey(ApiKey::Query(ApiKeyValue::new("token")));
        components.add_security_scheme("link", link);
    }
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Towline",
        description = "The HTTP door of towlined. docs/http.md describes it for people, with the dialects of tus and of the IETF.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    paths(
        begin, probe, show_upload, append, cancel, complete, renew_token, upload_options,
        file_options, one_upload_options, list, show_document, document_content,
        linked_content, make_link, file_content,
        content_at, make, show_file, relocate, remove, versions, restore, trash, delta,
        change_stream
    ),
    modifiers(&Bearer),
    security(("token" = [])),
)]
struct Api;

/// Where the description lies.
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");

#[test]
fn the_file_describes_what_the_handlers_take_and_give() {
    let made = Api::openapi().to_pretty_json().unwrap() + "\n";
    if std::env::var_os("TOWLINE_WRITE_OPENAPI").is_some() {
        std::fs::write(FILE, &made).unwrap();
    }
    let written = std::fs::read_to_string(FILE).unwrap_or_default();
    assert!(
        written == made,
        "docs/openapi.json is not as the handlers are: run this test with TOWLINE_WRITE_OPENAPI=1"
    );
}

#[test]
fn every_address_of_the_router_is_described_and_no_other() {
    let described: Vec<_> = Api::openapi().paths.paths.into_keys().collect();
    let source = include_str!("router.rs");
    let mut routed: Vec<_> = source
        .split(".route(\"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap_or_default().replace("{*path}", "{path}"))
        .collect();
    routed.sort_unstable();
    routed.dedup();
    let mut described = described;
    described.sort_unstable();
    assert_eq!(described, routed);
}

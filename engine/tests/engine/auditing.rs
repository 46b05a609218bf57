//! What an observer hears of what is done with documents, and of what is refused.

use crate::kit::{Client, Server, ada, file, new_upload, offset, soon};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use towline_engine::{
    Account, AuditObserver, AuditRecord, AuditResult, Begun, Clock, NewUpload, Origin, ReadRequest,
    ReadTarget, ResumeRequest, SendingMode, Tag, UploadHandle, Verifier,
};
use towline_state::catalog::{NodeRef, RemovalGuard};
use towline_types::{DocumentId, NodePath, Timestamp};

/// Keeps what it hears, as text.
#[derive(Debug, Default, Clone)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl AuditObserver for Heard {
    fn observe(&self, record: AuditRecord) {
        let AuditRecord { action, user, document, node, path, to, bytes, result } = record;
        let mut text = format!("{action:?} {user}");
        let mut add = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                text += &format!(" {name}={value}");
            }
        };
        add("document", document.map(|id| id.to_string()));
        add("node", node.map(|id| id.to_string()));
        add("path", path);
        add("to", to);
        add("bytes", bytes.map(|bytes| bytes.to_string()));
        match result {
            AuditResult::Done => {}
            AuditResult::Refused(rejection) => {
                add("refused", Some(rejection.kind.as_str().to_owned()));
            }
            AuditResult::Ended(why) => add("ended", Some(why)),
        }
        self.0.lock().unwrap().push(text);
    }
}

impl Heard {
    /// What was heard since the last look.
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    fn account(&self, server: &Server) -> Account {
        let origin = Origin::new("a test").observed_by(Arc::new(self.clone()));
        server.engine.account(ada(), origin)
    }
}

async fn begun(account: &Account, new: NewUpload) -> UploadHandle {
    match soon(account.begin(new)).await.unwrap() {
        Begun::Uploading(upload) => *upload,
        _ => panic!("it does not begin"),
    }
}

fn at(path: &str) -> NodeRef {
    NodeRef::Path(place(path))
}

fn place(path: &str) -> NodePath {
    NodePath::typed(path).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_change_makes_a_record_with_its_result() {
    let server = Server::new().await;
    let heard = Heard::default();
    let account = heard.account(&server);
    let bytes = file(1000, 1);

    let mut upload = begun(&account, new_upload("a/doc", 1000)).await;
    let id = upload.id();
    assert_eq!(heard.take(), [format!("Upload 1 document={id} path=a/doc bytes=1000")]);
    server.write(&mut upload, &bytes, 0..1000).await;
    soon(upload.complete(None)).await.unwrap();
    let completed = heard.take();
    assert_eq!(completed.len(), 1, "data makes no record: {completed:?}");
    assert!(completed[0].starts_with(&format!("Complete 1 document={id} node=")), "{completed:?}");
    assert!(completed[0].ends_with(" path=a/doc bytes=1000"), "{completed:?}");

    soon(account.make_folder(place("b"), None)).await.unwrap();
    let folder = soon(account.stat(at("b"))).await.unwrap().node.node_id;
    assert_eq!(heard.take(), [format!("MakeFolder 1 node={folder} path=b")], "a look makes none");
    let node = soon(account.move_node(at("a/doc"), place("b/doc"), None)).await.unwrap().node;
    let node = node.node_id;
    assert_eq!(heard.take(), [format!("Move 1 node={node} path=a/doc to=b/doc")]);
    soon(account.move_node(at("nothing"), place("b/x"), None)).await.unwrap_err();
    assert_eq!(heard.take(), ["Move 1 path=nothing to=b/x refused=not_found"]);
    let guard = RemovalGuard { recursive: true, ..RemovalGuard::default() };
    soon(account.remove(NodeRef::Id(node), guard)).await.unwrap();
    assert_eq!(heard.take(), [format!("Remove 1 node={node}")]);
    soon(account.restore(at("b/doc"))).await.unwrap();
    assert_eq!(heard.take(), [format!("Restore 1 node={node} path=b/doc")]);

    let id = begun(&account, new_upload("c", 1000)).await.id();
    heard.take();
    soon(account.cancel(id)).await.unwrap();
    assert_eq!(heard.take(), [format!("Cancel 1 document={id}")]);
    soon(account.begin(new_upload("c", 1 << 40))).await.map(drop).unwrap_err();
    assert_eq!(heard.take(), [format!("Upload 1 path=c bytes={} refused=no_space", 1_u64 << 40)]);
}

/// Reads 1,000 bytes at the most, to the end.
async fn read_part(client: &mut Client, document: DocumentId, from: usize) {
    let target = ReadTarget::Version(document);
    let (offset, verifier) = (offset(from), Verifier::Engine);
    let request = ReadRequest { target, offset, length_bytes: Some(1000), verifier };
    client.session().read(Tag(0), request).unwrap();
    loop {
        let heard = client.hear().await;
        if heard.contains(": end ") || heard.contains(": rejected ") {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_read_in_parts_makes_one_record() {
    let server = Server::new().await;
    let heard = Heard::default();
    let stored = server.put("doc", &file(3000, 1)).await.receipt;
    let other = server.put("other", &file(10, 2)).await.receipt;
    assert_eq!(heard.take(), [""; 0], "its sessions have no observer");
    let mut client = Client::new(&server.engine, &heard.account(&server), 1);
    for offset in [0, 1000, 2000] {
        read_part(&mut client, stored.document_id(), offset).await;
    }
    read_part(&mut client, other.document_id(), 0).await;
    read_part(&mut client, other.document_id(), 11).await;
    let (doc, other) = (stored.document_id(), other.document_id());
    assert_eq!(
        heard.take(),
        [
            format!("Read 1 document={doc} path=doc bytes=3000"),
            format!("Read 1 document={other} path=other bytes=10"),
            format!("Read 1 document={other} refused=bad_request"),
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_engine_ends_by_itself_is_heard_by_its_own_observer() {
    let heard = Heard::default();
    let here = heard.clone();
    let seconds = Arc::new(AtomicU64::new(1_700_000_000));
    let clock = Arc::clone(&seconds);
    let server = Server::with(move |config| {
        config.audit = Some(Arc::new(here.clone()));
        let (wall, steady) = (Arc::clone(&clock), Arc::clone(&clock));
        let wall = move || Timestamp::from_secs(wall.load(Ordering::SeqCst));
        let steady = move || Duration::from_secs(steady.load(Ordering::SeqCst));
        config.clock = Clock::with_steady(wall, steady);
    })
    .await;
    let upload = server.begin("doc", 1000).await;
    let id = upload.id();
    soon(upload.pause()).await;
    assert_eq!(heard.take(), [""; 0], "what a client does is heard by the client's observer");
    seconds.fetch_add(8 * 86_400, Ordering::SeqCst);
    let resume = ResumeRequest::of(id, SendingMode::PLAIN);
    soon(server.account().resume(resume)).await.map(drop).unwrap_err();
    let ended = heard.take();
    assert_eq!(ended.len(), 1, "{ended:?}");
    let begin = format!("Expire 1 document={id} path=doc bytes=1000 ended=");
    assert!(ended[0].starts_with(&begin), "{ended:?}");
}

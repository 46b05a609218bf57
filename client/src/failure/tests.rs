//! Which failures may end by themselves, and what a person reads about them.

use super::*;
use crate::exit::Exit;
use rustix::io::Errno;
use towline_types::Offset;

#[test]
fn what_may_be_there_again_later_is_not_refused_for_good() {
    let kept = SavedProgress {
        document_id: DocumentId::MIN,
        durable: Offset::ZERO,
        safe_bytes: 10,
        filesize: FileSize::try_from(20).unwrap(),
        sent_bytes: 10,
    };
    let failure = |action, errno: Errno, kept| Failure::File {
        action,
        path: "/media/disk/a.bin".into(),
        source: errno.into(),
        kept,
    };
    let away = [
        Errno::IO,
        Errno::NODEV,
        Errno::NXIO,
        Errno::STALE,
        Errno::MFILE,
        Errno::NOMEM,
        Errno::AGAIN,
        Errno::NOTCONN,
        Errno::TIMEDOUT,
        Errno::HOSTDOWN,
    ];
    for errno in away {
        for action in ["open", "read"] {
            assert_eq!(failure(action, errno, None).exit(), Exit::Resumable, "{errno}");
            let advice = failure(action, errno, Some(kept)).advice().unwrap();
            assert!(advice.contains("safe") && advice.contains("again"), "{advice}");
        }
    }
    // An error of an open file may end by itself, also an error that the list does not name.
    assert_eq!(failure("read", Errno::NOLINK, None).exit(), Exit::Resumable);
    // The file has disappeared, or never existed.
    assert_eq!(failure("open", Errno::NOENT, Some(kept)).exit(), Exit::Resumable);
    assert_eq!(failure("open", Errno::NOENT, None).exit(), Exit::Refused);
    for action in ["open", "read"] {
        for errno in [Errno::ACCESS, Errno::ISDIR, Errno::INVAL] {
            assert_eq!(failure(action, errno, Some(kept)).exit(), Exit::Refused, "{errno}");
        }
    }
}

#[test]
fn no_server_is_said_in_a_sentence_with_what_to_look_at() {
    let server: ServerAddress = "nas.lcal".parse().unwrap();
    let text = |why, attempts| {
        Failure::NoServer { server: server.clone(), attempts, why, kept: None }.to_string()
    };
    assert_eq!(text(NoServer::NoSuchHost, 1), "no such host: nas.lcal");
    let refused = text(NoServer::Refused, 4);
    for what in ["nas.lcal:8695", "towlined", "default port", "4 times"] {
        assert!(refused.contains(what), "{refused}");
    }
}

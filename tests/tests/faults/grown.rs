//! The server dies, or makes a mistake, while it takes in that a file has grown: afterwards
//! the upload is the old one or the longer one, and all that was promised of it is there.

use towline_protocol::Request;
use towline_protocol::request::Resume;
use towline_tests::corpus::{BLOCK, Corpus};
use towline_tests::process::Launch;
use towline_tests::site::Site;
use towline_tests::speaker::{ZERO, offset, resume, upload};

#[tokio::test(flavor = "multi_thread")]
async fn the_upload_is_the_old_one_or_the_longer_one() {
    let short = Corpus::new(3 * BLOCK + 700, 960);
    let mut long = Corpus::new(5 * BLOCK, 961);
    long.bytes[..short.size()].copy_from_slice(&short.bytes);
    for (point, is_grown) in [("resume.growing", false), ("resume.grown", true)] {
        for manner in ["kill", "panic"] {
            println!("{point} {manner}");
            let site = Site::in_memory();
            let person = site.add_user("ada").await;
            let plan = format!("{point}={manner}@1");
            let mut server = Launch::without_reserve(&site).failpoints(&plan).start().await;
            let mut speaker = server.speaker(&person).await;
            let id = speaker.upload(upload("log", &short)).await.document_id;
            speaker.chunks(ZERO, &short, 0..short.size()).await;
            let last = speaker.pause().await;
            assert_eq!(last[0].durable, offset(short.size()));

            let wish = Resume { filesize: Some(long.filesize()), grow: true, ..resume(id) };
            let mut speaker = server.speaker(&person).await;
            speaker.send(&Request::Resume(wish.clone())).await;
            speaker.ended().await;
            if manner == "kill" {
                server.ended().await;
                assert!(server.was_killed().await);
                server = Launch::without_reserve(&site).start().await;
            }
            let mut speaker = server.speaker(&person).await;
            let status = speaker.status(id).await;
            let (size, durable) =
                if is_grown { (&long, 3 * BLOCK) } else { (&short, short.size()) };
            assert_eq!((status.filesize, status.durable), (size.filesize(), offset(durable)));

            let granted = speaker.resume(wish).await;
            assert_eq!((granted.offset, granted.filesize), (offset(3 * BLOCK), long.filesize()));
            speaker.chunks(ZERO, &long, 3 * BLOCK..long.size()).await;
            assert_eq!(speaker.complete(ZERO).await.blake3, long.hash());
            site.assert_published(&person, "log", &long);
            server.gone().await;
        }
    }
}

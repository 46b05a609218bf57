//! The server dies or panics while it records that a file has grown. Afterwards the upload has the
//! old length or the new one, and all promised bytes are there.

use towline_protocol::Request;
use towline_protocol::request::Resume;
use towline_tests::process::Launch;
use towline_tests::raw_client::{ZERO, offset, resume, upload};
use towline_tests::site::Site;
use towline_tests::test_file::{BLOCK, TestFile};

#[tokio::test(flavor = "multi_thread")]
async fn the_upload_is_the_old_one_or_the_longer_one() {
    let short = TestFile::new(3 * BLOCK + 700, 960);
    let mut long = TestFile::new(5 * BLOCK, 961);
    long.bytes[..short.size()].copy_from_slice(&short.bytes);
    for (point, is_grown) in [("resume.growing", false), ("resume.grown", true)] {
        for manner in ["kill", "panic"] {
            println!("{point} {manner}");
            let site = Site::in_memory();
            let user = site.add_user("ada").await;
            let plan = format!("{point}={manner}@1");
            let mut server = Launch::without_reserve(&site).failpoints(&plan).start().await;
            let mut client = server.client(&user).await;
            let id = client.upload(upload("log", &short)).await.document_id;
            client.chunks(ZERO, &short, 0..short.size()).await;
            let last = client.pause().await;
            assert_eq!(last[0].durable, offset(short.size()));

            let wish = Resume { filesize: Some(long.filesize()), grow: true, ..resume(id) };
            let mut client = server.client(&user).await;
            client.send(&Request::Resume(wish.clone())).await;
            client.ended().await;
            if manner == "kill" {
                server.ended().await;
                assert!(server.was_killed().await);
                server = Launch::without_reserve(&site).start().await;
            }
            let mut client = server.client(&user).await;
            let status = client.status(id).await;
            let (size, durable) =
                if is_grown { (&long, 3 * BLOCK) } else { (&short, short.size()) };
            assert_eq!((status.filesize, status.durable), (size.filesize(), offset(durable)));

            let granted = client.resume(wish).await;
            assert_eq!((granted.offset, granted.filesize), (offset(3 * BLOCK), long.filesize()));
            client.chunks(ZERO, &long, 3 * BLOCK..long.size()).await;
            assert_eq!(client.complete(ZERO).await.blake3, long.hash());
            site.assert_published(&user, "log", &long);
            server.gone().await;
        }
    }
}

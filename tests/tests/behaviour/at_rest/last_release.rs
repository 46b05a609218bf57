//! The data folder of the last release: the first start of today's server brings it up to date.

use crate::verify::verify;
use towline_tests::last_release::{UNFINISHED, assert_all_there, content, fill, users};
use towline_tests::process::Launch;
use towline_tests::raw_client::{ZERO, resume};
use towline_tests::site::Site;
use towline_types::DocumentId;

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_listed_and_reads_and_unfinished_uploads_go_on() {
    let site = Site::new();
    fill(&site);
    assert!(site.catalog_path().with_extension("db-wal").exists(), "as a kill leaves it");
    let mut server = Launch::over(&site).start().await;
    assert_all_there(&site, &server, &[]).await;
    let users = users(&site);
    let mut completed = Vec::new();
    for (id, file, durable) in UNFINISHED {
        let user = users.iter().find(|user| user.id.get() == file.0).unwrap();
        let mut client = server.client(user).await;
        let id = DocumentId::try_from(*id).unwrap();
        client.resume(resume(id)).await;
        client.chunks(ZERO, &content(*file), *durable..file.2).await;
        let success = client.complete(ZERO).await;
        assert_eq!(success.blake3, content(*file).hash());
        completed.push(id);
    }
    assert_all_there(&site, &server, &completed).await;
    server.kill_and_start_again().await;
    assert_all_there(&site, &server, &completed).await;
    drop(server.gone().await);
    let verified = verify(&site, &[]).await;
    assert!(verified.is_well(), "{:?}", verified.kinds());
}

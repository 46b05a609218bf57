//! A folder with very many entries: it is listed in pages and in frames of bounded length, and other
//! users are answered meanwhile.

use std::time::{Duration, Instant};
use towline_protocol::request::List;
use towline_tests::PATIENCE;
use towline_tests::raw_client::RawClient;
use towline_tests::server::TestServer;

const ROWS: usize = 100_000;

/// Adds rows of folders to the catalog, as a second program does it.
fn add_rows(server: &TestServer) {
    let catalog = rusqlite::Connection::open(server.site.catalog_path()).unwrap();
    catalog.busy_timeout(PATIENCE).unwrap();
    let sql = format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS}) \
         INSERT INTO nodes (node_id, user_id, parent_id, kind, name, name_key, place_rev, \
         content_rev) SELECT 1000 + i, {}, CASE WHEN i % 4 = 0 THEN 1001 + i / 40 * 4 END, \
         'folder', printf('folder %06d', i), printf('folder %06d', i), i, i FROM n",
        server.user.id
    );
    assert_eq!(catalog.execute(&sql, []).unwrap(), ROWS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_of_100_000_entries_comes_in_pages_and_holds_up_no_other_user() {
    let mut server = TestServer::start().await;
    add_rows(&server);
    let bob = server.site.add_user("bob").await;
    let mut other = RawClient::login(server.address(), &bob.token).await;
    other.mkdir("theirs").await;
    let mut client = server.client().await;
    let began = Instant::now();
    let listed = tokio::spawn(async move {
        let (mut all, mut after, mut pages) = (0, None, 0);
        loop {
            let (path, recursive, limit) = (Some(Vec::new()), true, Some(10_000));
            let list = List { path, recursive, limit, after, ..List::default() };
            let (_, entries, next) = client.list(list).await;
            assert!(entries.len() <= 1000, "{}", entries.len());
            all += entries.len();
            pages += 1;
            after = next;
            if after.is_none() {
                return (all, pages);
            }
        }
    });
    let (mut longest, mut asked) = (Duration::ZERO, 0);
    while !listed.is_finished() {
        let asked_at = Instant::now();
        assert_eq!(other.stat("theirs").await.node.name, "theirs");
        longest = longest.max(asked_at.elapsed());
        asked += 1;
    }
    let (all, pages) = listed.await.unwrap();
    println!(
        "{all} entries in {pages} pages and {:?}; {asked} answers meanwhile, the slowest after {longest:?}",
        began.elapsed()
    );
    assert_eq!(all, ROWS);
    assert!(asked > pages, "another user is answered between the pages: {asked}");
    server.stop().await;
}

//! Two changes of one tree at the same time, of which one waits between its steps: the list, the
//! log of changes and the disk agree afterwards.

use towline_protocol::request::{Mkdir, Move, Remove, Request};
use towline_tests::process::{Launch, ServerProcess};
use towline_tests::raw_client::{RawClient, ZERO, names};
use towline_tests::site::{Site, TestUser};
use towline_tests::tree_audit::assert_tree_is_one;

/// A server with that plan of failpoints, its user and a client.
async fn begin(site: &Site, plan: &str) -> (ServerProcess, TestUser, RawClient) {
    let user = site.add_user("ada").await;
    let server = Launch::over(site).failpoints(plan).start().await;
    let client = server.client(&user).await;
    (server, user, client)
}

/// A folder is made in another one, and lies on the disk already, when another client changes the
/// place of the folder above.
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_whose_parent_goes_meanwhile_leaves_no_row_without_a_folder() {
    let from = || Some(names("above"));
    let changes = [
        Request::Remove(Remove { path: from(), recursive: true, ..Remove::default() }),
        Request::Move(Move { path: from(), to: names("elsewhere"), ..Move::default() }),
    ];
    for change in changes {
        let site = Site::in_memory();
        // The first folder is made without a wait.
        let (server, user, mut first) = begin(&site, "mkdir.made=wait:1500@2").await;
        first.mkdir("above").await;
        let mkdir = Mkdir { path: names("above/below"), ..Mkdir::default() };
        first.send(&Request::Mkdir(mkdir)).await;
        server.says_in_one_line(&["a failpoint waits", "mkdir.made"]).await;
        let mut second = server.client(&user).await;
        second.send(&change).await;
        let made = first.reply_on(ZERO).await;
        let changed = second.reply_on(ZERO).await;
        println!("{made:?}, {changed:?}");
        assert_tree_is_one(&site, &user, &mut second).await;
        server.gone().await;
    }
}

//! The identity of a server's store, as its clients see it.

use towline_protocol::Reply;
use towline_tests::raw_client::RawClient;
use towline_tests::server::TestServer;
use towline_types::StoreId;

async fn told(server: &TestServer) -> StoreId {
    let mut client = RawClient::connect(server.address()).await;
    client.hello(&server.user.token).await;
    let Reply::Welcome(welcome) = client.reply().await else { panic!("no welcome") };
    welcome.server_id.expect("this server says which store it has")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_has_one_identity_at_every_address_and_another_store_has_another() {
    let mut server = TestServer::start().await;
    let (address, id) = (server.address(), told(&server).await);
    server.restart().await;
    assert_ne!(server.address(), address);
    assert_eq!(told(&server).await, id);
    assert_ne!(told(&TestServer::start().await).await, id);
}

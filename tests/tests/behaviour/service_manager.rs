//! What a server tells the service manager that has started it (`sd_notify`).

use rustix::process::Signal;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::SocketAddr;
use tokio::net::UnixDatagram;
use tokio::time::timeout;
use towline_tests::PATIENCE;
use towline_tests::process::Launch;
use towline_tests::site::Site;

async fn told(socket: &UnixDatagram) -> String {
    let mut bytes = [0; 200];
    let received = timeout(PATIENCE, socket.recv(&mut bytes)).await;
    let length = received.expect("it is told in time").unwrap();
    String::from_utf8(bytes[..length].to_vec()).unwrap()
}

/// Starts a server for that socket, has it read its keys again, and stops it.
async fn whole_life(socket: &UnixDatagram, name: &str) {
    let site = Site::new();
    site.add_user("ada").await;
    let mut server = Launch::over(&site).variable("NOTIFY_SOCKET", name).start().await;
    assert_eq!(told(socket).await, "READY=1");
    drop(server.client(&site.add_user("bob").await).await);
    server.signal(Signal::HUP);
    assert_eq!(told(socket).await, "RELOADING=1");
    assert_eq!(told(socket).await, "READY=1");
    server.signal(Signal::TERM);
    assert_eq!(told(socket).await, "STOPPING=1");
    assert!(server.ended().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_told_ready_reloading_and_stopping() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    whole_life(&socket, path.to_str().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_without_a_file_does_as_well() {
    let name = format!("towline-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let socket = std::os::unix::net::UnixDatagram::bind_addr(&address).unwrap();
    socket.set_nonblocking(true).unwrap();
    whole_life(&UnixDatagram::from_std(socket).unwrap(), &format!("@{name}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_manager_that_does_not_listen_stops_no_server() {
    let site = Site::new();
    let launch = Launch::over(&site).variable("NOTIFY_SOCKET", "/nonexistent/socket");
    let mut server = launch.start().await;
    server.says("the service manager could not be told").await;
    server.signal(Signal::TERM);
    assert!(server.ended().await.success());
}

//! A server that is restarted while a hundred clients upload.

use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use towline_client::{Client, Document, PutOptions, Token};
use towline_tests::process::ServerProcess;
use towline_tests::proxy::{FaultProxy, Faults};
use towline_tests::site::Site;
use towline_tests::test_file::{BLOCK, TestFile};

const CLIENTS: usize = 100;

/// Connections within this time are counted together.
const WINDOW: Duration = Duration::from_millis(100);

/// The largest number of connections in one window after that moment, and the number of all.
fn peak(arrivals: &[Instant], since: Instant, until: Instant) -> (usize, usize) {
    let came: Vec<_> = arrivals.iter().filter(|&&at| at >= since && at < until).collect();
    let window =
        |from: &&Instant| came.iter().filter(|&&&at| at >= **from && at < **from + WINDOW).count();
    (came.iter().map(window).max().unwrap_or(0), came.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_clients_come_back_one_by_one_and_all_finish() {
    let site = Site::new();
    let user = site.add_user("ada").await;
    let mut server = ServerProcess::start(&site).await;
    let proxy = FaultProxy::start(server.address(), []).await;
    // Slow enough that the uploads still run whenever the server is killed.
    proxy.otherwise(Faults::slow(150_000));
    let folder = site.outside().join("desk");
    std::fs::create_dir(&folder).unwrap();
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..CLIENTS {
        let test_file = TestFile::new(BLOCK / 2 + number * 100, 190 + number as u64);
        let path = folder.join(format!("{number}.bin"));
        std::fs::write(&path, &test_file.bytes).unwrap();
        let token = Token::new(&user.token).unwrap();
        let mut client = Client::new(proxy.address().to_string().parse().unwrap(), token);
        clients.spawn(async move {
            let document = Document::in_folder(path, Vec::new()).unwrap();
            let cancel = CancellationToken::new();
            let options = PutOptions::default();
            let receipt = client.put(&document, &options, &cancel, &mut |_| {}).await.unwrap();
            assert_eq!(receipt.blake3, test_file.hash());
            receipt.sent_bytes - test_file.size() as u64
        });
    }
    proxy.link(CLIENTS - 1).await;
    let mut peaks = Vec::new();
    for round in 0..4 {
        // All clients are sending; then for one second no client can.
        tokio::time::sleep(Duration::from_millis(400)).await;
        let killed = Instant::now();
        server.kill().await;
        tokio::time::sleep(Duration::from_millis(1000)).await;
        let back = Instant::now();
        server.start_again().await;
        tokio::time::sleep(Duration::from_millis(1200)).await;
        let arrivals = proxy.arrivals();
        let (away, tries) = peak(&arrivals, killed, back);
        let (herd, came) = peak(&arrivals, back, back + Duration::from_millis(1200));
        println!(
            "restart {round}: {tries} tries while it was away, {away} at most in 100 ms; \
             {came} came after it was back, {herd} at most in 100 ms"
        );
        peaks.push((herd, came));
    }
    let mut again = 0;
    let finish = async {
        while let Some(more) = clients.join_next().await {
            again += more.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(90), finish).await.expect("all finish");
    for number in 0..CLIENTS {
        let test_file = TestFile::new(BLOCK / 2 + number * 100, 190 + number as u64);
        site.assert_published(&user, &format!("{number}.bin"), &test_file);
    }
    println!("{again} bytes were sent more than once by {CLIENTS} clients");
    assert!(peaks.iter().any(|(_, came)| *came >= 20), "no herd ever came: {peaks:?}");
    for (herd, came) in peaks {
        // At most half of the clients came within one window.
        assert!(came < 20 || herd * 2 <= CLIENTS, "{herd} of {came} came together");
    }
}

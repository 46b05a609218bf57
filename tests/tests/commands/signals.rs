//! Ctrl-C works, whatever the server does.

use rustix::process::Signal;
use serde_json::json;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};
use towline_protocol::frame;
use towline_tests::corpus::Corpus;
use towline_tests::desk::Desk;
use towline_tests::site::Site;

/// A server that welcomes whoever comes, and then talks as fast as it is heard.
fn talker() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            std::thread::spawn(move || {
                let welcome = json!({"action": "welcome", "version": 1, "server": "x",
                    "user_id": 1, "user": "u", "max_filesize": 1_000_000, "chunk_size": 64,
                    "max_chunk_size": 1024, "block_size": 1_048_576, "max_channels": 16,
                    "features": []});
                let words = frame::control(&json!({"action": "ping"})).repeat(1000);
                // It hears that somebody is there, and nothing else.
                let heard = stream.read(&mut [0; 4096]);
                let said = heard.and_then(|_| stream.write_all(&frame::control(&welcome)));
                while said.is_ok() && stream.write_all(&words).is_ok() {}
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn one_signal_pauses_and_a_second_ends_it_though_the_server_talks_without_end() {
    let site = Site::new();
    let person = site.add_user("ada").await;
    let desk = Desk::new(&site, &person, talker());
    let file = desk.write("a.bin", &Corpus::new(10, 220));
    for (number, signals) in
        [&[Signal::INT][..], &[Signal::TERM], &[Signal::INT, Signal::TERM]].iter().enumerate()
    {
        let put = desk.start(desk.put(&file));
        // Nothing is printed by which to tell that it listens to the server.
        tokio::time::sleep(Duration::from_millis(800)).await;
        let began = Instant::now();
        for signal in *signals {
            put.signal(*signal);
            // A second one that comes at once is taken for the first.
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        put.end().await.assert_code(3);
        println!("{number}: {:?}", began.elapsed());
        assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    }
}

//! A thousand connections that send a byte now and then, and one that uploads a file.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use towline_client::{Client, Document, PutOptions, Token};
use towline_protocol::request::Upload;
use towline_protocol::{Reply, Request, frame};
use towline_tests::process::ServerProcess;
use towline_tests::raw_client::{Heard, RawClient, ZERO, chunk_frame, hello, offset, upload};
use towline_tests::server::TestServer;
use towline_tests::site::{Site, TestUser};
use towline_tests::test_file::{BLOCK, TestFile};
use towline_tests::volume::Volume;

const STRANGERS: usize = 500;
const USERS: usize = 500;

/// The most memory that the server may use with all of them: its buffers (96 MiB) and some more.
const RESIDENT_MAX: u64 = 256 << 20;

/// How long all of them are connected: a client may take 10 s until its `hello`.
const CROWD: Duration = Duration::from_secs(8);

/// The size of the honest client's file.
const HONEST: usize = 48 * BLOCK;

/// `VmRSS` and `VmHWM` of a process.
fn resident(id: u32) -> (u64, u64) {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim_matches([':', ' ', '\t', 'k', 'B']).parse::<u64>().unwrap() * 1024
    };
    (field("VmRSS"), field("VmHWM"))
}

/// How long an honest client takes for its file.
async fn honest(site: &Site, server: &ServerProcess, user: &TestUser, name: &str) -> Duration {
    let test_file = TestFile::new(HONEST, name.len() as u64);
    let path = site.path().with_file_name(name);
    std::fs::write(&path, &test_file.bytes).unwrap();
    let token = Token::new(&user.token).unwrap();
    let mut client = Client::new(server.address().to_string().parse().unwrap(), token);
    let document = Document::in_folder(path.clone(), Vec::new()).unwrap();
    let cancel = CancellationToken::new();
    let options = PutOptions { again: true, ..PutOptions::default() };
    let began = Instant::now();
    let receipt = client.put(&document, &options, &cancel, &mut |_| {}).await.unwrap();
    let took = began.elapsed();
    assert_eq!(receipt.blake3, test_file.hash());
    // The next upload reuses this memory. To get other memory takes longer than the upload on some
    // machines, and the test would measure that.
    std::fs::remove_file(path).unwrap();
    std::fs::remove_file(site.document(user, name)).unwrap();
    took
}

/// The shortest time of some uploads without the crowd, after one that is not measured.
async fn fastest_alone(
    site: &Site,
    server: &ServerProcess,
    user: &TestUser,
    rounds: usize,
) -> Duration {
    honest(site, server, user, "warm").await;
    let mut alone = Duration::MAX;
    for round in 0..rounds {
        alone = alone.min(honest(site, server, user, &format!("alone {round}.bin")).await);
    }
    alone
}

/// Checks that all connections of the crowd are still open. If the server had closed them, the
/// client would have been measured alone.
fn assert_all_drip(crowd: &mut JoinSet<()>, size: usize) {
    let mut ended = 0;
    while crowd.try_join_next().is_some() {
        ended += 1;
    }
    assert_eq!(ended, 0, "of {size} connections {ended} had ended before the end of the upload");
    assert_eq!(crowd.len(), size);
    crowd.abort_all();
}

/// Sends these bytes; those from `from` on one by one, a byte per second.
async fn drip(mut stream: TcpStream, bytes: Vec<u8>, from: usize) {
    if stream.write_all(&bytes[..from]).await.is_err() {
        return;
    }
    for byte in &bytes[from..] {
        if stream.write_all(&[*byte]).await.is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_of_them_and_one_honest_client() {
    // In memory: the test does not measure how a disk handles five hundred growing files.
    let volume = Volume::memory(2 << 30);
    let site = volume.as_ref().map_or_else(Site::new, Site::on);
    let user = site.add_user("ada").await;
    let mallory = site.add_user("mallory").await;
    let server = ServerProcess::start(&site).await;
    let alone = fastest_alone(&site, &server, &user, 5).await;
    let (before, _) = resident(server.id());

    let hello = |token: &str| frame::control(&hello(token));
    let (mut strangers, mut crowd) = (JoinSet::new(), JoinSet::new());
    let crowd_since = Instant::now();
    for number in 0..STRANGERS + USERS {
        let stream = TcpStream::connect(server.address()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        if number < STRANGERS {
            strangers.spawn(drip(stream, hello(&mallory.token), 0));
            continue;
        }
        // Logged in, and in the middle of a chunk that never ends.
        let test_file = TestFile::new(BLOCK, number as u64);
        let begin = Request::Upload(Upload { ..upload(&format!("{number}.bin"), &test_file) });
        let head = frame::chunk_head(ZERO, offset(0), u32::try_from(BLOCK).unwrap());
        let greeting = [&hello(&mallory.token)[..], &frame::control(&begin), &head].concat();
        let from = greeting.len();
        let bytes = [&greeting[..], &test_file.bytes[..1000]].concat();
        crowd.spawn(drip(stream, bytes, from));
    }
    // The shortest time of each: the machine has other work, too.
    let (mut all, mut among) = (Vec::new(), Duration::MAX);
    while all.len() < 5 || (among > 2 * alone && crowd_since.elapsed() < CROWD) {
        let name = format!("among {}.bin", all.len());
        all.push(honest(&site, &server, &user, &name).await);
        among = among.min(all[all.len() - 1]);
    }
    let (resident, peak) = resident(server.id());
    let ratio = alone.as_secs_f64() / among.as_secs_f64();
    println!(
        "alone {alone:?}, among a thousand {all:?}: {:.0} % of its speed; the server has \
         {} MiB, {} before, {} at most",
        ratio * 100.0,
        resident >> 20,
        before >> 20,
        peak >> 20
    );
    strangers.abort_all();
    assert_all_drip(&mut crowd, USERS);
    assert!(peak < RESIDENT_MAX, "{peak} bytes of memory");
    assert!(ratio >= 0.5, "{:.0} % of the speed it has alone", ratio * 100.0);
}

/// A connection from that address of this machine that sends a byte of a `hello` a second, and comes
/// again a second after the server has closed it.
async fn drip_again_and_again(from: Ipv4Addr, to: SocketAddr, token: String) {
    loop {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        if let Ok(stream) = socket.connect(to).await {
            let (mut reader, mut writer) = stream.into_split();
            let hello = frame::control(&hello(&token));
            let closed =
                async { while !matches!(reader.read(&mut [0; 64]).await, Ok(0) | Err(_)) {} };
            let drips = async {
                for byte in &hello {
                    let _ = writer.write_all(&[*byte]).await;
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            };
            tokio::select! { () = closed => {} () = drips => {} }
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// How long a login takes from that address of this machine, with the tries of a client that is
/// told to come again.
async fn login_from(from: Ipv4Addr, to: SocketAddr, token: &str) -> Duration {
    let began = Instant::now();
    loop {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        let mut client = RawClient::over(socket.connect(to).await.unwrap());
        client.hello(token).await;
        if matches!(client.heard().await, Heard::Reply(Reply::Welcome(_))) {
            return began.elapsed();
        }
    }
}

/// More strangers than an address may have, who come again whenever they have to leave, and some
/// from other addresses: a client from any address logs in meanwhile, and an upload goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_that_come_again_keep_no_client_out() {
    const OF_ONE_ADDRESS: u8 = 250;
    let volume = Volume::memory(2 << 30);
    let site = volume.as_ref().map_or_else(Site::new, Site::on);
    let user = site.add_user("ada").await;
    let server = ServerProcess::start(&site).await;
    let alone = fastest_alone(&site, &server, &user, 5).await;
    let mut crowd = JoinSet::new();
    let busy = Ipv4Addr::new(127, 0, 0, 2);
    for _ in 0..4 {
        for number in 0..OF_ONE_ADDRESS {
            crowd.spawn(drip_again_and_again(busy, server.address(), user.token.clone()));
            if number < 50 {
                let other = Ipv4Addr::new(127, 0, 1, number + 1);
                crowd.spawn(drip_again_and_again(other, server.address(), user.token.clone()));
            }
        }
    }
    // All of them have come once, and those that found no place come again.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let mut among = Duration::MAX;
    let (mut elsewhere, mut beside) = (Duration::ZERO, Duration::ZERO);
    for round in 0..5 {
        among = among.min(honest(&site, &server, &user, &format!("crowd {round}.bin")).await);
        let (other, same) = (Ipv4Addr::new(127, 0, 9, 9), busy);
        elsewhere = elsewhere.max(login_from(other, server.address(), &user.token).await);
        beside = beside.max(login_from(same, server.address(), &user.token).await);
    }
    let (_, peak) = resident(server.id());
    let ratio = alone.as_secs_f64() / among.as_secs_f64();
    println!(
        "among 1,200: {:.0} % of the speed alone ({alone:?}, {among:?}); the longest login \
         {elsewhere:?}, from the address of a thousand {beside:?}; {} MiB at most",
        ratio * 100.0,
        peak >> 20
    );
    crowd.abort_all();
    assert!(elsewhere < Duration::from_secs(1), "{elsewhere:?}");
    assert!(beside < Duration::from_secs(10), "{beside:?}");
    assert!(peak < RESIDENT_MAX, "{peak} bytes of memory");
    assert!(ratio >= 0.5, "{:.0} % of the speed it has alone", ratio * 100.0);
}

/// The server has very few buffers, and more connections than buffers each need one for a single
/// byte. They must not make the connections wait that have more to send.
#[tokio::test(flavor = "multi_thread")]
async fn a_byte_now_and_then_keeps_no_buffer_from_others() {
    let server = TestServer::start_with(|config| config.engine.limits.buffers = 4).await;
    let mallory = server.site.add_user("mallory").await;
    let mut drips = JoinSet::new();
    for number in 0..60 {
        let mut raw = RawClient::login(server.address(), &mallory.token).await;
        let test_file = TestFile::new(BLOCK, number);
        raw.upload(upload(&format!("{number}.bin"), &test_file)).await;
        drips.spawn(async move {
            let head = frame::chunk_head(ZERO, offset(0), u32::try_from(BLOCK).unwrap());
            raw.send_raw(&head).await;
            for byte in &test_file.bytes {
                if raw.try_send_raw(&[*byte]).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(60)).await;
            }
        });
    }
    let test_file = TestFile::new(32 * BLOCK, 99);
    let mut raw = server.client().await;
    raw.upload(upload("honest.bin", &test_file)).await;
    let began = Instant::now();
    raw.chunks(ZERO, &test_file, 0..test_file.size()).await;
    raw.complete(ZERO).await;
    let took = began.elapsed();
    println!("32 MiB through four buffers among sixty that drip: {took:?}");
    assert_all_drip(&mut drips, 60);
    assert!(took < Duration::from_secs(8), "{took:?}");
}

/// A hundred connections of one user each send 64 KiB and then chunks of one byte, 30 per second: 3
/// kB/s in all. They must not keep the buffers from an honest client.
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_that_drip_behind_a_good_beginning() {
    const DRIPS: usize = 100;
    let volume = Volume::memory(2 << 30);
    let site = volume.as_ref().map_or_else(Site::new, Site::on);
    let user = site.add_user("ada").await;
    let mallory = site.add_user("mallory").await;
    let server = ServerProcess::start(&site).await;
    let alone = fastest_alone(&site, &server, &user, 4).await;
    let since = Instant::now();
    let mut drips = JoinSet::new();
    for number in 0..DRIPS {
        let test_file = TestFile::new(BLOCK, number as u64);
        let mut raw = server.client(&mallory).await;
        raw.upload(upload(&format!("{number}.bin"), &test_file)).await;
        raw.chunk(ZERO, 0, &test_file.bytes[..64 << 10]).await;
        drips.spawn(async move {
            let mut clock = tokio::time::interval(Duration::from_millis(30));
            for at in 64 << 10..test_file.size() {
                clock.tick().await;
                let drip = chunk_frame(ZERO, at, &test_file.bytes[at..=at]);
                if raw.try_send_raw(&drip).await.is_err() {
                    return;
                }
            }
        });
    }
    let (mut all, mut among) = (Vec::new(), Duration::MAX);
    while all.len() < 4 || (among > 2 * alone && since.elapsed() < CROWD) {
        let name = format!("among {}.bin", all.len());
        all.push(honest(&site, &server, &user, &name).await);
        among = among.min(all[all.len() - 1]);
    }
    let ratio = alone.as_secs_f64() / among.as_secs_f64();
    println!("alone {alone:?}, among drips {all:?}: {:.0} % of its speed", ratio * 100.0);
    assert_all_drip(&mut drips, DRIPS);
    assert!(ratio >= 0.5, "{:.0} % of the speed it has alone", ratio * 100.0);
}

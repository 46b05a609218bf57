//! A peer that is gone and nobody was told: a cable that was pulled.

use std::sync::Arc;
use std::time::{Duration, Instant};
use towline_protocol::Code;
use towline_protocol::Reply;
use towline_tests::cable::Cable;
use towline_tests::corpus::{BLOCK, Corpus};
use towline_tests::server::TestServer;
use towline_tests::speaker::{Speaker, ZERO, position, resume, upload};

/// The idle limit of these servers.
const SILENCE: Duration = Duration::from_secs(2);

/// A server behind the cable with room for that many connections.
async fn behind(cable: &Arc<Cable>, connections: usize, silence: Duration) -> TestServer {
    let near = cable.near.clone();
    TestServer::start_on(
        move || near.listen(),
        move |config| {
            config.connections = connections;
            config.timings.silence = silence;
        },
    )
    .await
}

/// A connection from the server's own machine, which no cable can hurt.
async fn nearby(cable: &Cable, server: &TestServer) -> Result<Speaker, Code> {
    let stream = cable.near.connect(server.address()).await.unwrap();
    let mut speaker = Speaker::over(stream);
    speaker.hello(&server.person.token).await;
    match speaker.reply().await {
        Reply::Welcome(_) => Ok(speaker),
        Reply::Error(error) => Err(error.code),
        other => panic!("{other:?}"),
    }
}

async fn far_away(cable: &Cable, server: &TestServer) -> Speaker {
    let stream = cable.far.connect(server.address()).await.unwrap();
    Speaker::over(stream).welcomed(&server.person.token).await
}

#[tokio::test(flavor = "multi_thread")]
async fn its_upload_is_taken_over_at_once() {
    let Some(cable) = Cable::lay().map(Arc::new) else { return };
    let server = behind(&cable, 100, Duration::from_secs(300)).await;
    let corpus = Corpus::new(2 * BLOCK, 120);
    for unplugged in [false, true] {
        let name = format!("{unplugged}.bin");
        let mut older = far_away(&cable, &server).await;
        let document_id = older.upload(upload(&name, &corpus)).await.document_id;
        older.chunks(ZERO, &corpus, 0..300_000).await;
        older.has_received(document_id, 300_000).await;
        if unplugged {
            cable.unplug()
        } else {
            cable.pull()
        }
        // It goes on as if nothing had happened; nothing of it arrives.
        older.chunks(ZERO, &corpus, 300_000..400_000).await;

        let mut newer = nearby(&cable, &server).await.unwrap();
        let asked = Instant::now();
        let granted = newer.resume(resume(document_id)).await;
        let taken = asked.elapsed();
        println!("taken over from a half-open peer in {:.1} ms", taken.as_secs_f64() * 1e3);
        assert_eq!(position(granted.offset), 300_000);
        assert!(taken < Duration::from_secs(2), "nobody waits for the dead: {taken:?}");
        newer.chunks(ZERO, &corpus, 300_000..corpus.size()).await;
        assert_eq!(newer.complete(ZERO).await.blake3, corpus.hash());
        server.site.assert_published(&server.person, &name, &corpus);
        // The cable is back: what the older one sent arrives now, and is for nobody.
        cable.mend();
        older.error(Code::Superseded).await;
        older.ping().await;
        server.site.assert_published(&server.person, &name, &corpus);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn its_place_is_free_within_the_idle_limit() {
    let Some(cable) = Cable::lay().map(Arc::new) else { return };
    let server = behind(&cable, 1, SILENCE).await;
    let corpus = Corpus::new(BLOCK, 121);
    let mut older = far_away(&cable, &server).await;
    let document_id = older.upload(upload("a.bin", &corpus)).await.document_id;
    older.chunks(ZERO, &corpus, 0..300_000).await;
    older.has_received(document_id, 300_000).await;
    let last_word = Instant::now();
    cable.pull();
    // The one place is taken.
    assert_eq!(nearby(&cable, &server).await.err(), Some(Code::TooMany));
    let (mut newer, turned_away) = place(&cable, &server).await;
    let freed = last_word.elapsed();
    println!("the place was free after {freed:?}; {turned_away} were turned away before");
    // Its last words take two seconds more where nobody hears them.
    assert!(freed < SILENCE + Duration::from_secs(6), "{freed:?}");
    let from = position(newer.resume(resume(document_id)).await.offset);
    assert_eq!(from, 300_000, "paused, not lost");
    newer.chunks(ZERO, &corpus, from..corpus.size()).await;
    assert_eq!(newer.complete(ZERO).await.blake3, corpus.hash());
}

/// With the limits that everybody has: the system itself notices within a minute.
#[tokio::test(flavor = "multi_thread")]
async fn its_place_is_free_within_a_minute_by_default() {
    if !towline_tests::is_long() {
        return;
    }
    let Some(cable) = Cable::lay().map(Arc::new) else { return };
    let server = behind(&cable, 1, Duration::from_secs(300)).await;
    let mut older = far_away(&cable, &server).await;
    older.ping().await;
    let last_word = Instant::now();
    cable.pull();
    let (_newer, _) = place(&cable, &server).await;
    let freed = last_word.elapsed();
    println!("the place was free after {freed:?}");
    assert!(freed < Duration::from_secs(75), "{freed:?}");
}

/// A place as soon as there is one, and how many asked in vain before.
async fn place(cable: &Cable, server: &TestServer) -> (Speaker, u32) {
    let mut turned_away = 0;
    loop {
        match nearby(cable, server).await {
            Ok(speaker) => return (speaker, turned_away),
            Err(_) => {
                turned_away += 1;
                assert!(turned_away < 10_000, "there never is a place");
                // Nobody announces a place: it has to be asked for.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

//! `put --receipts` and `receipt verify`: proof of deposit, which needs no server later.

use rustix::process::Signal;
use serde_json::{Value, json};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};
use tokio::process::Command;
use towline_protocol::frame;
use towline_tests::cli_fixture::{CliFixture, Outcome, run};
use towline_tests::process::{Launch, ServerProcess, output, towline};
use towline_tests::proxy::{FaultProxy, Faults};
use towline_tests::server::TestServer;
use towline_tests::site::Site;
use towline_tests::test_file::{BLOCK, TestFile};

/// The key that the server prints at its start.
async fn key(server: &ServerProcess) -> String {
    let line = server.says_in_one_line(&["key SHA256:"]).await;
    line.strip_prefix("key ").unwrap().to_owned()
}

/// A command with the keys that this person knows.
fn knowing(cli: &CliFixture, mut command: Command, more: &[&str]) -> Command {
    command.env("XDG_CONFIG_HOME", cli.path("config")).args(more).current_dir(cli.path("."));
    command
}

/// `towline put NAME --receipts deposit`.
async fn put(cli: &CliFixture, name: &str, more: &[&str]) -> Outcome {
    let put = cli.put(Path::new(name));
    run(knowing(cli, put, &[&["--receipts", "deposit"], more].concat())).await
}

async fn verify(cli: &CliFixture, more: &[&str]) -> Outcome {
    verify_file(cli, "deposit", more).await
}

async fn verify_file(cli: &CliFixture, file: &str, more: &[&str]) -> Outcome {
    let arguments = [&["receipt", "verify", file], more].concat();
    run(knowing(cli, towline(), &arguments)).await
}

/// The lines of the file of receipts.
fn lines(cli: &CliFixture) -> Vec<Value> {
    let text = fs::read_to_string(cli.path("deposit")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_of_a_folder_are_good_when_the_server_is_gone() {
    let site = Site::new();
    let user = site.add_user("ada").await;
    let server = ServerProcess::start(&site).await;
    let key = key(&server).await;
    let cli = CliFixture::new(&site, &user, server.address());
    cli.write("proj/big.bin", &TestFile::new(3 * BLOCK + 17, 1510));
    for number in 0..40 {
        cli.write(&format!("proj/small/{number}"), &TestFile::new(number * 10, 1511));
    }
    let outcome = put(&cli, "proj", &["--fingerprint", &key, "--folder", "backup"]).await;
    assert!(outcome.assert_done().err.contains("41 receipts added to deposit"), "{outcome:?}");
    assert!(outcome.err.contains(&key), "{outcome:?}");
    let mode = fs::metadata(cli.path("deposit")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    server.gone().await;

    let outcome = verify(&cli, &[]).await;
    assert!(outcome.assert_done().out.ends_with("41 of 41 receipts good\n"), "{outcome:?}");
    assert!(outcome.out.contains("backup/proj/big.bin: good; 3.0 MiB, received 2"), "{outcome:?}");
    assert_eq!(verify(&cli, &["--quiet"]).await.assert_done().out, "");
    let address = cli.to.to_string();
    verify(&cli, &["--to", &address]).await.assert_done();
    verify(&cli, &["--fingerprint", &key]).await.assert_done();
    for receipt in lines(&cli) {
        assert_eq!((&receipt["user"], &receipt["durable"]), (&json!("ada"), &json!(true)));
    }

    // Compared with the files.
    let here = ["--dir", ".", "--folder", "backup"];
    let outcome = verify(&cli, &here).await;
    assert!(outcome.assert_done().out.contains("the file here is the same"), "{outcome:?}");
    let mut bytes = fs::read(cli.path("proj/big.bin")).unwrap();
    bytes[BLOCK] ^= 1;
    fs::write(cli.path("proj/big.bin"), bytes).unwrap();
    fs::remove_file(cli.path("proj/small/7")).unwrap();
    let outcome = verify(&cli, &here).await;
    outcome.assert_code(1);
    for text in [
        "backup/proj/big.bin: the file here is another one",
        "backup/proj/small/7: the file is not here",
        "39 of 41 receipts good",
    ] {
        assert!(outcome.out.contains(text), "{text}: {outcome:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_of_any_field_is_noticed_and_other_lines_stay_good() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    cli.write("proj/a.bin", &TestFile::new(1000, 1512));
    cli.write("proj/b.bin", &TestFile::new(2000, 1513));
    let outcome = put(&cli, "proj", &["--json"]).await;
    let told = outcome.assert_done().event("receipts");
    assert_eq!((&told["kept"], &told["path"]), (&json!(2), &json!("deposit")));
    let key = told["key"].as_str().unwrap().to_owned();
    let by_key = ["--fingerprint", key.as_str(), "--json"];
    verify(&cli, &by_key).await.assert_done();
    let text = fs::read_to_string(cli.path("deposit")).unwrap();
    let (first, second) = text.split_once('\n').unwrap();
    let good: Value = serde_json::from_str(first).unwrap();
    let other: Value = serde_json::from_str(second).unwrap();
    for (field, value) in good.as_object().unwrap() {
        let mut edited = good.clone();
        edited[field] = match value {
            _ if field == "receipt" => json!(2),
            _ if *value != other[field] => other[field].clone(),
            Value::Bool(value) => json!(!value),
            Value::Number(number) => json!(number.as_u64().unwrap() + 1),
            _ if field == "folder" => json!(["proj", "x"]),
            _ if field == "server_id" => json!("5f1c0a9e7b3d42688e21c4f09d6ab735"),
            _ if field == "public_key" => {
                json!("MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=")
            }
            _ if field == "scheme" => json!("ecdsa_secp384r1_sha384"),
            _ => json!("eve"),
        };
        fs::write(cli.path("edited"), format!("{edited}\n{second}")).unwrap();
        let outcome = verify_file(&cli, "edited", &by_key).await;
        let (code, verdict) =
            if field == "receipt" { (1, "newer") } else { (4, "wrong_signature") };
        outcome.assert_code(code);
        let [told, good, sum] = &outcome.events()[..] else { panic!("{outcome:?}") };
        assert_eq!((&told["verdict"], &told["line"]), (&json!(verdict), &json!(1)), "{field}");
        assert_eq!((&good["verdict"], &good["line"]), (&json!("good"), &json!(2)), "{field}");
        assert_eq!(sum["good"], 1, "{field}");
    }
    let people = verify_file(&cli, "edited", &by_key[..2]).await;
    assert!(people.out.contains("THE SIGNATURE IS WRONG"), "{people:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_not_known_proves_nothing() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    cli.write("a.bin", &TestFile::new(1000, 1514));
    let outcome = put(&cli, "a.bin", &["--json"]).await;
    let key = outcome.assert_done().event("receipts")["key"].as_str().unwrap().to_owned();
    let other = "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    for more in [&[][..], &["--fingerprint", other]] {
        let outcome = verify(&cli, more).await;
        outcome.assert_code(1);
        for text in [&key, "anyone can make a key", "--fingerprint"] {
            assert!(outcome.err.contains(text), "{text}: {outcome:?}");
        }
        assert!(outcome.out.contains("the signature is good, and the key"), "{outcome:?}");
        assert!(outcome.out.contains("0 of 1 receipt good, 1 by an unknown key"), "{outcome:?}");
    }
    verify(&cli, &["--fingerprint", other, "--fingerprint", &key]).await.assert_done();
    let unknown = verify(&cli, &["--to", "nas.example"]).await;
    assert!(unknown.assert_code(1).err.contains("nas.example:8695 is not known"), "{unknown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_that_are_no_receipts_are_named() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    cli.write("a.bin", &TestFile::new(1000, 1515));
    let outcome = put(&cli, "a.bin", &["--json"]).await;
    let key = outcome.assert_done().event("receipts")["key"].as_str().unwrap().to_owned();
    let by_key = ["--fingerprint", key.as_str()];
    // A crash has torn the last line; what is added later is a line of its own.
    let text = fs::read_to_string(cli.path("deposit")).unwrap();
    fs::write(cli.path("deposit"), format!("{text}\n{}", &text[..100])).unwrap();
    let outcome = verify(&cli, &by_key).await;
    outcome.assert_code(1);
    assert!(outcome.out.contains("line 3: the file ends inside of it"), "{outcome:?}");
    assert!(outcome.out.contains("1 of 2 receipts good, 1 not readable"), "{outcome:?}");
    put(&cli, "a.bin", &[]).await.assert_done();
    let outcome = verify(&cli, &by_key).await;
    assert!(outcome.assert_code(1).out.contains("2 of 3 receipts good"), "{outcome:?}");

    let long = format!("{}\n{text}", "x".repeat(200_000));
    let file = |text: &str| fs::write(cli.path("other"), text).unwrap();
    for (content, says) in [
        ("not json\n", "line 1: it is no receipt"),
        ("{}\n", "line 1: it is no receipt"),
        ("{\"receipt\":9,\"x\":1}\n", "line 1: it has the format 9"),
        (&long, "line 1: it is longer than any receipt"),
    ] {
        file(content);
        let outcome = verify_file(&cli, "other", &by_key).await;
        assert!(outcome.assert_code(1).out.contains(says), "{says}: {outcome:?}");
    }
    assert!(verify_file(&cli, "other", &by_key).await.out.contains("1 of 2 receipts good"));
    file("\n\n");
    let outcome = verify_file(&cli, "other", &by_key).await;
    assert!(outcome.assert_code(1).err.contains("there is no receipt in it"), "{outcome:?}");
    let outcome = verify_file(&cli, "nothing", &by_key).await;
    assert!(outcome.assert_code(1).err.contains("nothing"), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_there_already_has_a_receipt_and_so_has_what_was_replaced() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    cli.write("a.bin", &TestFile::new(1000, 1516));
    put(&cli, "a.bin", &[]).await.assert_done();
    let outcome = put(&cli, "a.bin", &["--json"]).await;
    assert_eq!(outcome.assert_done().event("completed")["existing"], true);
    let key = outcome.event("receipts")["key"].as_str().unwrap().to_owned();
    cli.write("a.bin", &TestFile::new(2000, 1517));
    put(&cli, "a.bin", &["--on-conflict", "replace"]).await.assert_done();
    let sizes: Vec<_> = lines(&cli).iter().map(|line| line["filesize"].to_string()).collect();
    assert_eq!(sizes, ["1000", "1000", "2000"]);
    // The file here is compared with the newest receipt alone.
    let outcome = verify(&cli, &["--fingerprint", &key, "--dir", ".", "--json"]).await;
    let verdicts: Vec<_> =
        outcome.assert_done().events().iter().map(|line| line["verdict"].clone()).collect();
    assert_eq!(verdicts[..3], [json!("replaced"), json!("replaced"), json!("same")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_was_killed_or_interrupted_gets_its_receipt_when_it_ends() {
    let server = TestServer::start().await;
    let proxy = FaultProxy::start(server.address(), []).await;
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    for (signal, name, salt) in [(Signal::KILL, "one", 1518), (Signal::INT, "two", 1522)] {
        cli.write("big.bin", &TestFile::new(12 * BLOCK, salt));
        proxy.otherwise(Faults::slow(8 << 20));
        let command = cli.put(Path::new("big.bin"));
        let more = ["--receipts", "deposit", "--folder", name];
        let mut sending = cli.start(knowing(&cli, command, &more));
        sending.until(|event| event["event"] == "progress").await;
        sending.signal(signal);
        let outcome = sending.end().await;
        proxy.otherwise(Faults::none());
        if signal == Signal::INT {
            assert!(outcome.err.contains("--receipts deposit"), "{outcome:?}");
        }
        let mut resume = cli.command("resume");
        cli.reach(&mut resume);
        run(knowing(&cli, resume, &["--receipts", "deposit"])).await.assert_done();
        assert_eq!(lines(&cli).last().unwrap()["folder"], json!([name]));
    }
    assert_eq!(lines(&cli).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_through_a_pipe_has_a_receipt() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    let input = fs::File::open(cli.write("input", &TestFile::new(3 * BLOCK, 1519))).unwrap();
    let mut command = cli.put(Path::new("-"));
    command.stdin(input);
    let more = ["--name", "a.tar", "--receipts", "deposit"];
    run(knowing(&cli, command, &more)).await.assert_done();
    assert_eq!(lines(&cli)[0]["filename"], "a.tar");
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_that_cannot_be_kept_are_an_error_and_the_files_are_there() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    let test_file = TestFile::new(1000, 1520);
    cli.write("proj/a.bin", &test_file);
    cli.write("proj/b.bin", &test_file);
    let refused = |path: &'static str| {
        let command = cli.put(Path::new("proj"));
        run(knowing(&cli, command, &["--receipts", path]))
    };
    assert!(refused("no/where").await.assert_code(1).err.contains("nothing was sent"));
    assert!(refused("proj/deposit").await.assert_code(2).err.contains("outside of it"));
    assert!(!server.site.document(&server.user, "proj/a.bin").exists());
    let outcome = refused("/dev/full").await;
    outcome.assert_code(1);
    let told = "its receipt could not be written to /dev/full: the disk is full";
    assert_eq!(outcome.err.matches(told).count(), 1, "{outcome:?}");
    assert!(outcome.err.contains("run the same command again"), "{outcome:?}");
    for name in ["proj/a.bin", "proj/b.bin"] {
        assert!(server.site.document(&server.user, name).exists(), "{name}");
    }
}

/// A server of before receipts, which hears nothing but the login.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_signs_no_receipts_is_sent_nothing() {
    let site = Site::new();
    let user = site.add_user("ada").await;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let cli = CliFixture::new(&site, &user, listener.local_addr().unwrap());
    cli.write("a.bin", &TestFile::new(1000, 1523));
    cli.write("proj/b.bin", &TestFile::new(1000, 1524));
    let heard = Arc::new(Mutex::new(Vec::new()));
    let more = Arc::clone(&heard);
    // It ends with the test.
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut length = [0; 4];
            stream.read_exact(&mut length).unwrap();
            let mut hello = vec![0; u32::from_be_bytes(length) as usize];
            stream.read_exact(&mut hello).unwrap();
            let welcome = json!({"action": "welcome", "version": 1, "server": "x", "user_id": 1,
                "user": "ada", "max_filesize": 1_000_000, "chunk_size": 65_536,
                "max_chunk_size": 65_536, "block_size": 1_048_576, "max_channels": 16,
                "features": ["blocks", "new_only", "tree"],
                "server_id": "5f1c0a9e7b3d42688e21c4f09d6ab735"});
            stream.write_all(&frame::control(&welcome)).unwrap();
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).unwrap();
            more.lock().unwrap().push(rest);
        }
    });
    for name in ["a.bin", "proj"] {
        let refused = put(&cli, name, &[]).await;
        refused.assert_code(1);
        for text in ["signs no receipts; nothing was sent", "omit --receipts"] {
            assert_eq!(refused.err.matches(text).count(), 1, "{text}: {refused:?}");
        }
    }
    let heard = heard.lock().unwrap();
    assert!(heard.len() >= 2 && heard.iter().all(Vec::is_empty), "{heard:?}");
    assert!(cli.state().jobs.is_empty(), "{:?}", cli.state());
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_an_operator_sign_and_a_program_without_towline_agrees() {
    let has_python = output(Command::new("python3").args(["-c", "import cryptography"])).await;
    let has_python = has_python.status.success();
    if !has_python {
        eprintln!("skipped in part: python3 has no package cryptography");
    }
    for (name, scheme) in [
        ("rsa-2048", "rsa_pss_rsae_sha256"),
        ("p384", "ecdsa_secp384r1_sha384"),
        ("ed25519", "ed25519"),
    ] {
        let site = Site::new();
        let user = site.add_user("ada").await;
        let pem = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/certificates");
        let pem = fs::read(pem.join(format!("{name}.pem"))).unwrap();
        let own = site.outside().join("own.pem");
        fs::write(&own, pem).unwrap();
        fs::set_permissions(&own, fs::Permissions::from_mode(0o600)).unwrap();
        let own = own.display().to_string();
        let arguments = ["--tls-cert", own.as_str(), "--tls-key", own.as_str()];
        let server = Launch::over(&site).arguments(&arguments).start().await;
        let key = key(&server).await;
        let cli = CliFixture::new(&site, &user, server.address());
        cli.write("ä/b.bin", &TestFile::new(1000, 1521));
        put(&cli, "ä", &["--fingerprint", &key]).await.assert_done();
        assert_eq!(lines(&cli)[0]["scheme"], scheme);
        verify(&cli, &[]).await.assert_done();
        server.gone().await;
        if has_python {
            let script = Path::new(env!("CARGO_MANIFEST_DIR"));
            let script = script.join("../protocol/examples/receipt.py");
            let checked = |deposit: &str| {
                let mut command = Command::new("python3");
                command.arg(&script).arg(cli.path(deposit)).arg(&key);
                command
            };
            let good = output(&mut checked("deposit")).await;
            assert!(good.status.success(), "{good:?}");
            let text = fs::read_to_string(cli.path("deposit")).unwrap();
            fs::write(cli.path("edited"), text.replace("\"user\":\"ada\"", "\"user\":\"eve\""))
                .unwrap();
            let bad = output(&mut checked("edited")).await;
            assert_eq!(bad.status.code(), Some(1), "{bad:?}");
        }
    }
}

//! A server behind a real nginx and a real Caddy, with the settings of `docs/`: nothing is kept
//! back on the way in or out.

use super::kit::server_with;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;
use towline_server::{AddressRange, Config};
use towline_tests::PATIENCE;
use towline_tests::http_client::HttpClient;
use towline_tests::server::TestServer;
use towline_tests::volume::skipped;

/// A proxy that runs in front of a server. It is ended with this.
struct Proxy {
    address: SocketAddr,
    child: Child,
    folder: TempDir,
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// Whether the program is here.
fn is_here(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let is_here = std::env::split_paths(&paths)
        .chain([Path::new("/usr/sbin").to_owned()])
        .any(|folder| folder.join(program).is_file());
    if !is_here {
        skipped(&format!("needs {program}"));
    }
    is_here
}

impl Proxy {
    /// nginx with the location of `docs/nginx.conf`.
    async fn nginx(server: SocketAddr) -> Option<Self> {
        if !is_here("nginx") {
            return None;
        }
        let shipped = include_str!("../../../docs/nginx.conf");
        let (_, location) = shipped.split_once("    location / {").unwrap();
        let location = location.replace("127.0.0.1:8695", &server.to_string());
        let folder = tempfile::tempdir().unwrap();
        let (port, here) = (free_port(), folder.path().display());
        let settings = format!(
            "daemon off; master_process off; pid {here}/pid; error_log {here}/error warn;
             events {{}}
             http {{
                 access_log off; client_body_temp_path {here}/body; proxy_temp_path {here}/proxy;
                 fastcgi_temp_path {here}/fastcgi; uwsgi_temp_path {here}/uwsgi;
                 scgi_temp_path {here}/scgi;
                 server {{ listen 127.0.0.1:{port}; location / {{ {location}
             }}"
        );
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, settings).unwrap();
        let mut command = Command::new("nginx");
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.arg("-c").arg(&file).arg("-p").arg(folder.path());
        Some(Self::start(command, port, folder).await)
    }

    /// Caddy with the site of `docs/Caddyfile`.
    async fn caddy(server: SocketAddr) -> Option<Self> {
        if !is_here("caddy") {
            return None;
        }
        let shipped = include_str!("../../../docs/Caddyfile");
        let port = free_port();
        let site = shipped
            .replace("files.example.com {", &format!("http://127.0.0.1:{port} {{"))
            .replace("127.0.0.1:8695", &server.to_string());
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("Caddyfile");
        std::fs::write(&file, format!("{{\n\tadmin off\n\tauto_https off\n}}\n{site}")).unwrap();
        let mut command = Command::new("caddy");
        command.args(["run", "--adapter", "caddyfile", "--config"]).arg(&file);
        command.env("HOME", folder.path()).env("XDG_DATA_HOME", folder.path());
        Some(Self::start(command, port, folder).await)
    }

    async fn start(mut command: Command, port: u16, folder: TempDir) -> Self {
        command.stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let child = command.spawn().unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let listens = async {
            while TcpStream::connect(address).await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, listens).await.expect("the proxy listens");
        Self { address, child, folder }
    }

    /// How many bytes of requests and answers the proxy has put into files.
    fn kept_bytes(&self) -> u64 {
        fn below(folder: &Path) -> u64 {
            let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
            let length = |entry: std::fs::DirEntry| match entry.metadata() {
                Ok(about) if about.is_dir() => below(&entry.path()),
                Ok(about) => about.len(),
                Err(_) => 0,
            };
            entries.flatten().map(length).sum()
        }
        ["body", "proxy"].iter().map(|name| below(&self.folder.path().join(name))).sum()
    }

    /// The largest memory of the proxy up to now, in KiB.
    fn memory_kib(&self) -> u64 {
        let id = self.child.id().expect("it runs");
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

fn trust_this_machine(config: &mut Config) {
    let range: AddressRange = "127.0.0.1".parse().unwrap();
    config.http.proxies = std::iter::once(range).collect();
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_keeps_nothing_back() {
    let (server, client) = server_with(trust_this_machine).await;
    let Some(proxy) = Proxy::nginx(server.address()).await else { return };
    keeps_nothing_back(&server, &client, &proxy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn caddy_keeps_nothing_back() {
    let (server, client) = server_with(trust_this_machine).await;
    let Some(proxy) = Proxy::caddy(server.address()).await else { return };
    keeps_nothing_back(&server, &client, &proxy).await;
}

async fn keeps_nothing_back(server: &TestServer, client: &HttpClient, proxy: &Proxy) {
    let token = &server.user.token;
    let through = HttpClient::new(proxy.address, token);
    let bytes: Vec<u8> = (0..24 << 20).map(|at: u32| at.to_le_bytes()[1] ^ 0x5a).collect();
    let upload = through.begin("a", bytes.len()).await;

    // Half of a body arrives while the other half was not sent.
    let half = bytes.len() / 2;
    let mut stream = TcpStream::connect(proxy.address).await.unwrap();
    let head = format!(
        "PATCH {} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\n\
         Content-Range: bytes 0-{}/{}\r\nContent-Length: {}\r\n\r\n",
        upload.path,
        proxy.address,
        bytes.len() - 1,
        bytes.len(),
        bytes.len(),
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&bytes[..half]).await.unwrap();
    let arrived = async {
        while received(client, &upload.path).await < half as u64 - (1 << 20) {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, arrived).await.expect("half of the body arrives before the rest is sent");
    assert_eq!(proxy.kept_bytes(), 0, "the proxy keeps nothing of a request under way");
    // The connection is cut; what came stays, and the rest goes on from there.
    drop(stream);
    let settled = async {
        while client.get(&upload.path).await.json()["status"] == "UPLOADING" {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, settled).await.expect("the request ends with its connection");
    let offset = client.get(&upload.path).await.json()["nextOffset"].as_u64().unwrap();
    let offset = usize::try_from(offset).unwrap();
    assert!(offset >= half - (1 << 20), "{offset} of {half}");
    through.patch(&upload, offset, &bytes[offset..]).await.is(204);
    let path = format!("/documents/{}/content", upload.id);
    let answer = through.get(&path).await.is(200);
    assert!(answer.body == bytes, "the same bytes come back");
    let part = through.send("GET", &path, &[("range", "bytes=5-9")], "").await.is(206);
    assert_eq!(part.body, bytes[5..10]);
    let refused = through.send("PATCH", &upload.path, &[("content-range", "x")], "abc").await;
    assert_eq!(refused.status, 400, "{refused:?}");

    // An event comes at once.
    let mut stream = TcpStream::connect(proxy.address).await.unwrap();
    let head = format!(
        "GET /delta/stream HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\n\r\n",
        proxy.address
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut said = Vec::new();
    let first = async {
        while !String::from_utf8_lossy(&said).contains("event: change") {
            assert_ne!(stream.read_buf(&mut said).await.unwrap(), 0, "the stream goes on");
        }
    };
    let came = timeout(Duration::from_secs(5), first).await;
    assert!(came.is_ok(), "the first event comes at once: {}", String::from_utf8_lossy(&said));
    assert!(proxy.memory_kib() < 96 << 10, "{} KiB", proxy.memory_kib());
}

async fn received(client: &HttpClient, path: &str) -> u64 {
    let answer = client.send("HEAD", path, &[], "").await.is(200);
    let number = |name| answer.header(name).and_then(|text: &str| text.parse().ok());
    number("towline-received").or_else(|| number("upload-offset")).unwrap_or(0)
}

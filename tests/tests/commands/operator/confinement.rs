//! The kernel keeps the serving process in its folders: files outside of them cannot be opened,
//! whoever has chosen their paths. A file that the server reads again at SIGHUP shows it: a symbolic
//! link in its place leads the server elsewhere.

use landlock::{AccessFs, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _};
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use towline_tests::cli_fixture::{CliFixture, run};
use towline_tests::process::{Launch, ServerProcess, towline};
use towline_tests::site::Site;
use towline_tests::strace::Strace;
use towline_tests::test_file::{BLOCK, TestFile};
use towline_tests::volume::{self, skipped};

/// Whether the kernel can confine a process as the server needs it. Where it cannot, the test says
/// that it is skipped.
fn kernel_has_landlock() -> bool {
    let rules = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    let asked = rules.handle_access(AccessFs::Refer).and_then(Ruleset::create);
    asked.inspect_err(|error| skipped(&format!("this kernel has no Landlock: {error}"))).is_ok()
}

/// Folders of the operator's with a certificate in each, and an audit log in the first.
struct Operator {
    site: Site,
    inside: PathBuf,
    outside: PathBuf,
}

impl Operator {
    async fn new() -> Self {
        let site = Site::new();
        let [inside, outside] = ["inside", "outside"].map(|name| site.outside().join(name));
        for folder in [&inside, &outside] {
            // A server of its own makes the certificate.
            let other = Site::new();
            ServerProcess::start(&other).await.gone().await;
            fs::create_dir(folder).unwrap();
            fs::copy(other.path().join("keys/tls.pem"), folder.join("own.pem")).unwrap();
        }
        Self { site, inside, outside }
    }

    async fn server(&self, more: &[&str]) -> ServerProcess {
        let file = |name| self.inside.join(name).display().to_string();
        let (own, audit) = (file("own.pem"), file("audit.log"));
        let arguments = ["--tls-cert", &own, "--tls-key", &own, "--audit-log", &audit];
        Launch::over(&self.site).arguments(&arguments).arguments(more).start().await
    }

    /// The certificate and the audit log are links now that lead out of the folder.
    fn lead_out(&self) {
        for name in ["own.pem", "audit.log"] {
            replace(&self.inside.join(name), &self.outside.join(name));
        }
    }
}

fn replace(path: &Path, target: &Path) {
    fs::remove_file(path).unwrap();
    symlink(target, path).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_outside_of_its_folders_is_neither_read_nor_made() {
    if !kernel_has_landlock() {
        return;
    }
    let operator = Operator::new().await;
    let server = operator.server(&[]).await;
    server.says_in_one_line(&["serving", "landlock=true"]).await;
    operator.lead_out();
    server.signal(Signal::HUP);
    let denied = "Permission denied";
    server.says_in_one_line(&["the certificate was not read again", denied]).await;
    server.says_in_one_line(&["the audit log was not opened again", denied]).await;
    server.says("only beneath the folders that they were in at the start (landlock)").await;
    assert!(!operator.outside.join("audit.log").exists());

    // A file that was renewed in its folder is read, whatever has become of the one before.
    let renewed = operator.inside.join("renewed.pem");
    fs::copy(operator.outside.join("own.pem"), &renewed).unwrap();
    fs::rename(&renewed, operator.inside.join("own.pem")).unwrap();
    fs::remove_file(operator.inside.join("audit.log")).unwrap();
    server.signal(Signal::HUP);
    server.says("the certificate was read again").await;
    server.says("the audit log was opened again").await;
    server.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_it_the_server_opens_what_its_user_can_open() {
    for (more, settings) in [(&["--no-landlock"][..], ""), (&[], "landlock = false")] {
        let operator = Operator::new().await;
        let settings = operator.site.settings(settings).display().to_string();
        let server = operator.server(&[more, &["--config", &settings]].concat()).await;
        server.says_in_one_line(&["serving", "landlock=false"]).await;
        operator.lead_out();
        server.signal(Signal::HUP);
        server.says("the certificate was read again").await;
        server.says("the audit log was opened again").await;
        assert!(operator.outside.join("audit.log").exists());
        server.gone().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_start_that_makes_the_data_folder_says_that_it_is_not_confined() {
    if !kernel_has_landlock() {
        return;
    }
    let site = Site::new();
    let data_dir = site.outside().join("new/storage");
    let launch = Launch::over_path(&data_dir).variable("TOWLINE_LOG", "debug");
    let server = launch.start().await;
    server.says("the data folder is made by this start; the next one is confined").await;
    server.gone().await;
    let server = launch.start().await;
    server.says_in_one_line(&["serving", "landlock=true"]).await;
    server.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_log_is_made_where_a_link_leads() {
    let operator = Operator::new().await;
    for (name, text) in [("audit.log", "second"), ("second", "../outside/audit.log")] {
        symlink(text, operator.inside.join(name)).unwrap();
    }
    let server = operator.server(&[]).await;
    server.says("serving").await;
    assert!(operator.outside.join("audit.log").exists());
    // What the operator has led elsewhere is opened again there.
    fs::rename(operator.outside.join("audit.log"), operator.outside.join("older")).unwrap();
    server.signal(Signal::HUP);
    server.says("the audit log was opened again").await;
    assert!(operator.outside.join("audit.log").exists());
    server.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_of_system_calls_is_not_taken_for_an_old_kernel() {
    if !kernel_has_landlock() || !volume::has("strace") {
        return;
    }
    let site = Site::new();
    let log = site.outside().join("strace.log");
    let filter = Strace::inject(&log, "landlock_create_ruleset", "error=EPERM");
    let server = Launch::over(&site).under(&filter.words()).start().await;
    server.says_in_one_line(&["the kernel did not take the rules (landlock)", "(seccomp)"]).await;
    server.says_in_one_line(&["serving", "landlock=false"]).await;
    assert!(filter.has_fired());
    server.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_confined_server_does_all_that_files_need() {
    if !kernel_has_landlock() {
        return;
    }
    let site = Site::new();
    let user = site.add_user("ada").await;
    let server = ServerProcess::start(&site).await;
    server.says_in_one_line(&["serving", "landlock=true"]).await;
    let cli = CliFixture::new(&site, &user, server.address());
    let ask = async |name: &str, arguments: &[&str]| {
        let mut command = if name == "put" { cli.command(name) } else { towline() };
        if name != "put" {
            command.arg(name);
        }
        command.args(arguments).current_dir(cli.path("."));
        cli.reach(&mut command);
        run(command).await.assert_done().out.clone()
    };
    let (first, second) = (TestFile::new(3 * BLOCK, 996), TestFile::new(5 * BLOCK, 997));
    cli.write("a/big.bin", &first);
    cli.write("a/small.bin", &TestFile::new(100, 998));
    ask("put", &["a"]).await;
    cli.write("a/big.bin", &second);
    ask("put", &["a", "--on-conflict", "replace"]).await;
    ask("mkdir", &["b"]).await;
    ask("mv", &["a/big.bin", "b/moved.bin"]).await;
    let versions = ask("versions", &["b/moved.bin", "--json"]).await;
    let versions = versions.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let oldest = versions.filter_map(|event| event["version"].as_u64()).min().unwrap();
    ask("restore", &["b/moved.bin", "--version", &oldest.to_string()]).await;
    ask("rm", &["a/small.bin", "--yes"]).await;
    ask("restore", &["a/small.bin"]).await;
    ask("get", &["b/moved.bin", "-o", "back.bin"]).await;
    assert!(fs::read(cli.path("back.bin")).unwrap() == first.bytes);
    let mode = fs::metadata(site.document(&user, "b/moved.bin")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    server.gone().await;
}

//! An HTTP PUT by curl to nginx with its dav module.

use super::{Arrival, Class, Contender, Go};
use crate::measure;
use crate::program;
use crate::sample::Sample;
use crate::server::{Server, Sign, free_port};
use crate::workspace::RunDir;
use anyhow::Result;
use std::path::Path;
use std::process::Command;

#[derive(Debug)]
pub(crate) struct Nginx;

impl Contender for Nginx {
    fn name(&self) -> &'static str {
        "nginx PUT"
    }

    fn class(&self) -> Class {
        Class::Memory
    }

    fn manner(&self) -> &'static str {
        "`curl -T` to nginx with `dav_methods PUT`"
    }

    fn version(&self) -> Option<String> {
        let nginx = program::version("nginx", "-v")?;
        Some(format!("{nginx}; {}", program::version("curl", "--version")?))
    }

    fn available(&self) -> Result<(), String> {
        let nginx = program::find("nginx")?;
        program::find("curl")?;
        let built = program::says(&nginx, "-V").unwrap_or_default();
        if built.contains("http_dav_module") {
            Ok(())
        } else {
            Err("this nginx has no dav module".to_owned())
        }
    }

    fn ready<'a>(&'a self, run_dir: &'a RunDir) -> Result<Go<'a>> {
        let into = run_dir.folder("received")?;
        let root = into.parent().unwrap_or(&into);
        let (server, url) = serve(run_dir, root, "dav_methods PUT;")?;
        let mut curl = Command::new("curl");
        // Without a question first: some servers leave it waiting for a second.
        curl.args(["-q", "-sSf", "--noproxy", "*", "-H", "Expect:", "-T"])
            .arg(run_dir.workload.path());
        curl.arg(format!("{url}received/"));
        Ok(Box::new(move || {
            let (wall, client) = measure::run(curl, &run_dir.at("client.log"), run_dir.limit)?;
            let server = Some(server.stop()?);
            let path = into.join(run_dir.load_name());
            Ok(Arrival { sample: Sample { wall, client, server }, path })
        }))
    }
}

/// An nginx over that folder, with those words for each of its places, and its address.
pub(super) fn serve(run_dir: &RunDir, root: &Path, words: &str) -> Result<(Server, String)> {
    let port = free_port()?;
    let config = run_dir.file("nginx.conf", &config(run_dir, root, words, port))?;
    let mut nginx = Command::new(program::find("nginx").map_err(anyhow::Error::msg)?);
    nginx.arg("-p").arg(run_dir.path()).arg("-c").arg(config);
    // What is said before the configuration is read goes there too.
    nginx.args(["-e", "stderr"]);
    let server = Server::start(nginx, &run_dir.at("server.log"), Sign::Opens(port))?;
    Ok((server, format!("http://127.0.0.1:{port}/")))
}

fn config(run_dir: &RunDir, root: &Path, words: &str, port: u16) -> String {
    let run_dir = run_dir.path().display();
    let root = root.display();
    // As root its workers would become nobody, who may not write here.
    let user = if rustix::process::getuid().is_root() { "user root;\n" } else { "" };
    format!(
        r#"{user}daemon off;
worker_processes 1;
pid "{run_dir}/nginx.pid";
error_log stderr warn;
events {{ worker_connections 64; }}
http {{
    access_log "{run_dir}/access.log";
    client_max_body_size 0;
    client_body_temp_path "{run_dir}/body";
    proxy_temp_path "{run_dir}/proxy";
    fastcgi_temp_path "{run_dir}/fastcgi";
    uwsgi_temp_path "{run_dir}/uwsgi";
    scgi_temp_path "{run_dir}/scgi";
    server {{
        listen 127.0.0.1:{port};
        root "{root}";
        location / {{ {words} }}
    }}
}}
"#
    )
}

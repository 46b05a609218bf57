//! An HTTP PUT by curl to nginx with its dav module.

use super::{Arrival, Class, Contender, Go};
use crate::ground::Room;
use crate::measure;
use crate::program;
use crate::sample::Sample;
use crate::server::{Server, Sign, free_port};
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

    fn ready<'a>(&'a self, room: &'a Room) -> Result<Go<'a>> {
        let into = room.folder("received")?;
        let port = free_port()?;
        let config = room.file("nginx.conf", &config(room, &into, port))?;
        let mut nginx = Command::new(program::find("nginx").map_err(anyhow::Error::msg)?);
        nginx.arg("-p").arg(room.path()).arg("-c").arg(config);
        // What is said before the configuration is read goes there too.
        nginx.args(["-e", "stderr"]);
        let server = Server::start(nginx, &room.at("server.log"), Sign::Opens(port))?;
        let mut curl = Command::new("curl");
        // Without a question first: some servers leave it waiting for a second.
        curl.args(["-q", "-sSf", "--noproxy", "*", "-H", "Expect:", "-T"]).arg(room.load.path());
        curl.arg(format!("http://127.0.0.1:{port}/received/"));
        Ok(Box::new(move || {
            let (wall, client) = measure::run(curl, &room.at("client.log"), room.limit)?;
            let server = Some(server.stop()?);
            let path = into.join(room.load_name());
            Ok(Arrival { sample: Sample { wall, client, server }, path })
        }))
    }
}

fn config(room: &Room, into: &Path, port: u16) -> String {
    let room = room.path().display();
    let root = into.parent().unwrap_or(into).display();
    // As root its workers would become nobody, who may not write here.
    let user = if rustix::process::getuid().is_root() { "user root;\n" } else { "" };
    format!(
        r#"{user}daemon off;
worker_processes 1;
pid "{room}/nginx.pid";
error_log stderr warn;
events {{ worker_connections 64; }}
http {{
    access_log "{room}/access.log";
    client_max_body_size 0;
    client_body_temp_path "{room}/body";
    proxy_temp_path "{room}/proxy";
    fastcgi_temp_path "{room}/fastcgi";
    uwsgi_temp_path "{room}/uwsgi";
    scgi_temp_path "{room}/scgi";
    server {{
        listen 127.0.0.1:{port};
        root "{root}";
        location / {{ dav_methods PUT; }}
    }}
}}
"#
    )
}

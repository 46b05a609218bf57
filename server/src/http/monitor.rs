//! What programs that watch over a server ask it, on a port of its own that needs no token:
//! `GET /healthz` (the process answers), `GET /readyz` (it takes uploads) and `GET /metrics` (all
//! figures, in the text format of Prometheus, version 0.0.4:
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>).

use crate::door::{Monitor, Serving};
use crate::shared::Shared;
use crate::status::{Answer, AnswerMaker, Figure, Said};
use axum::http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, Semaphore};
use tokio::time::{sleep, timeout};
use towline_engine::Unready;

/// How many connections the port takes at the same time; others wait to be accepted.
const CONNECTIONS_MAX: usize = 32;

/// How long the head of a request may take.
const HEAD_MAX: Duration = Duration::from_secs(2);

/// How long a connection may be open: the figures may take 5 s.
const CONNECTION_MAX: Duration = Duration::from_secs(10);

/// How long the catalog may take to answer, before the server is called not ready.
const READY_WITHIN: Duration = Duration::from_secs(2);

/// How long the port rests after a connection that could not be taken.
const REST: Duration = Duration::from_millis(250);

/// See the module's description.
pub(crate) struct HttpMonitor;

impl Monitor for HttpMonitor {
    fn run(self: Box<Self>, listener: TcpListener, shared: Arc<Shared>) -> Serving {
        Box::pin(run(listener, shared))
    }
}

/// What every answer needs.
struct Watched {
    shared: Arc<Shared>,
    figures: Mutex<AnswerMaker>,
}

async fn run(listener: TcpListener, shared: Arc<Shared>) {
    let stopping = shared.stopping.clone();
    let figures = Mutex::new(AnswerMaker::new(Arc::clone(&shared)));
    let watched = Arc::new(Watched { shared, figures });
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        // It fails only where the semaphore is closed, which nobody does.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let accepted = tokio::select! {
            () = stopping.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let watched = Arc::clone(&watched);
                tokio::spawn(async move {
                    serve(stream, watched).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "a connection to the monitor's port could not be taken");
                sleep(REST).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, watched: Arc<Watched>) {
    let service = service_fn(|request: Request<Incoming>| {
        let watched = Arc::clone(&watched);
        async move { Ok::<_, Infallible>(answer(&request, &watched).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_MAX)
        // A connection that is silent has no place for long.
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        _ = timeout(CONNECTION_MAX, connection) => {}
        () = watched.shared.stopping.cancelled() => {}
    }
}

async fn answer(request: &Request<Incoming>, watched: &Watched) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET is possible here\n");
    }
    match request.uri().path() {
        "/healthz" => text(StatusCode::OK, "ok\n"),
        "/readyz" => match timeout(READY_WITHIN, watched.shared.engine.ready()).await {
            Ok(Ok(())) => text(StatusCode::OK, "ready\n"),
            Ok(Err(why)) => text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")),
            Err(_) => {
                let why = Unready::Catalog;
                text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n"))
            }
        },
        "/metrics" => match watched.figures.lock().await.make().await {
            Some(Said::Answer(answer)) => {
                let mut response = text(StatusCode::OK, prometheus(&answer));
                let format = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
                response.headers_mut().insert(header::CONTENT_TYPE, format);
                response
            }
            Some(Said::Waits { waits_seconds }) => {
                let why = format!("an upload's disk has not answered for {waits_seconds} s\n");
                text(StatusCode::SERVICE_UNAVAILABLE, why)
            }
            None => text(StatusCode::INTERNAL_SERVER_ERROR, "the figures could not be made\n"),
        },
        _ => text(StatusCode::NOT_FOUND, "there are /healthz, /readyz and /metrics here\n"),
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The figures in the text format. Figures of one name stand together, as the format asks for.
fn prometheus(answer: &Answer) -> String {
    let mut text = String::new();
    let mut named: Vec<&str> = Vec::new();
    let figures = &answer.figures;
    for figure in figures {
        if named.contains(&figure.name.as_str()) {
            continue;
        }
        named.push(&figure.name);
        let Figure { name, kind, help, .. } = figure;
        let _ = writeln!(text, "# HELP {name} {}", escaped(help, false));
        let _ = writeln!(text, "# TYPE {name} {kind}");
        for one in figures.iter().filter(|one| one.name == *name) {
            let _ = match &one.label {
                Some((label, value)) => {
                    writeln!(text, "{name}{{{label}=\"{}\"}} {}", escaped(value, true), one.value)
                }
                None => writeln!(text, "{name} {}", one.value),
            };
        }
    }
    let _ = write!(
        text,
        "# HELP towline_uptime_seconds How long the server has run.\n\
         # TYPE towline_uptime_seconds gauge\n\
         towline_uptime_seconds {}\n\
         # HELP towline_build_info The version of the server.\n\
         # TYPE towline_build_info gauge\n\
         towline_build_info{{version=\"{}\"}} 1\n",
        answer.uptime_seconds,
        escaped(&answer.version, true),
    );
    text
}

/// A text as the format wants it: within quotes, or to the end of a line.
fn escaped(text: &str, is_quoted: bool) -> String {
    let text = text.replace('\\', "\\\\").replace('\n', "\\n");
    if is_quoted { text.replace('"', "\\\"") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(name: &str, label: Option<(&str, &str)>, value: f64) -> Figure {
        Figure {
            name: name.to_owned(),
            kind: "counter".to_owned(),
            unit: None,
            help: "What it\nis \\ not.".to_owned(),
            label: label.map(|(name, value)| (name.to_owned(), value.to_owned())),
            value,
        }
    }

    #[test]
    fn figures_of_one_name_stand_together_under_one_head() {
        let figures = vec![
            figure("towline_a_total", Some(("code", "one")), 3.0),
            figure("towline_b_total", None, 0.5),
            figure("towline_a_total", Some(("code", "tw\"o\\")), 4.0),
        ];
        let answer =
            Answer { version: "1".to_owned(), uptime_seconds: 7, figures, users: Vec::new() };
        let text = prometheus(&answer);
        let expected = "# HELP towline_a_total What it\\nis \\\\ not.\n\
                        # TYPE towline_a_total counter\n\
                        towline_a_total{code=\"one\"} 3\n\
                        towline_a_total{code=\"tw\\\"o\\\\\"} 4\n\
                        # HELP towline_b_total What it\\nis \\\\ not.\n\
                        # TYPE towline_b_total counter\n\
                        towline_b_total 0.5\n";
        assert!(text.starts_with(expected), "{text}");
        assert!(text.ends_with("towline_build_info{version=\"1\"} 1\n"), "{text}");
    }
}

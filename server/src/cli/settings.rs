//! What was typed or stands in the configuration file, and what it means.

use super::group_access::GroupAccess;
use super::http_args::{HttpArgs, HttpFile, HttpPorts};
use super::keep::{KeepArgs, KeepTime, KeepVersions};
use super::listen::ListenAddress;
use super::run_as::RunAs;
use super::scan::{ScanArgs, ScanClamd, UnscannablePolicy};
use super::size::{MaxFileSize, Size};
use super::span::Span;
use super::usage_error::UsageError;
use crate::log::LogFormat;
use crate::{AddressRange, AuditFile, Config, HttpUrl, OriginArgument, TlsFiles, TrustedProvider};
use clap::Args;
use serde::{Deserialize, Deserializer, de};
use std::fmt;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use towline_engine::{Durability as Meaning, Keep};
use towline_state::catalog::Quota;

/// The data folder where neither an option, a variable nor the configuration file names one.
const DATA_DIR: &str = "./storage";

/// What can be said to a server on the command line.
#[derive(Debug, Clone, Default, Args)]
pub struct ServeArgs {
    /// The folder for documents, catalog and keys [default: ./storage]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Where to listen: HOST:PORT, HOST, :PORT (every address of this machine) or PORT;
    /// port 0 takes a free one [default: 127.0.0.1:8695]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<ListenAddress>,
    /// The largest file that is taken, such as 500MB or 2GiB [default: unlimited]
    #[arg(long, value_name = "SIZE")]
    pub max_file_size: Option<MaxFileSize>,
    /// What SUCCESS means: that the file survives a power cut, or only that it is in
    /// its place and will be durable within seconds [default: durable]
    #[arg(long, value_name = "MODE")]
    pub durability: Option<Durability>,
    /// A TOML file with these settings: data_dir, listen, max_file_size, durability,
    /// require_store, log_format, user, allow_root, strict_modes, group_access, landlock, allow_plaintext,
    /// tls_cert, tls_key, token_keys, token_issuer, token_audience, audit_log, audit_log_max, keep_trash, keep_versions, keep_changes, scan_clamd,
    /// scan_command, scan_unscannable, scan_timeout, and reserve,
    /// expire_after, max_connections, max_connections_per_user, max_logins_per_address,
    /// max_unfinished_per_user, quota, quota_files. Options on the command line
    /// override it
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Start although a part of the store is lost, or its folders belong to no catalog, and
    /// take the folders as they are from now on. To be said once
    #[arg(long)]
    pub adopt_folders: bool,
    /// Start only if there is a store in the data folder, and never make a new one: the disk
    /// with the store may not be mounted
    #[arg(long)]
    pub require_store: bool,
    /// Lines for people, or one JSON object a line with the same fields [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// Where root starts the server: the user that it runs as once it has the port
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// Let the server run as root where other machines can reach it, as in a container that has no
    /// other user
    #[arg(long)]
    pub allow_root: bool,
    /// Let the server open every file that its user can open, and not only those beneath its folders
    #[arg(long)]
    pub no_landlock: bool,
    /// Also take connections without TLS from other machines: whoever can read along on the network
    /// then has the tokens and the files
    #[arg(long)]
    pub allow_plaintext: bool,
    /// A certificate of your own for TLS, in PEM, with those up to its authority [default: one that
    /// the server makes]
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// The private key of --tls-cert, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Also take the tokens of an identity provider, whose keys are in this file: a JSON web key set
    #[arg(long, value_name = "FILE")]
    pub token_keys: Option<PathBuf>,
    /// Take only tokens of the provider that name this issuer (iss)
    #[arg(long, value_name = "ISSUER")]
    pub token_issuer: Option<String>,
    /// Take only tokens of the provider that are for this audience (aud)
    #[arg(long, value_name = "AUDIENCE")]
    pub token_audience: Option<String>,
    /// Record in this file who does what, one JSON object a line; the file lies outside of the data
    /// folder
    #[arg(long, value_name = "FILE")]
    pub audit_log: Option<PathBuf>,
    /// The HTTP door.
    #[command(flatten)]
    pub http: HttpArgs,
    /// How long that is kept which its user does not see any more.
    #[command(flatten)]
    pub keep: KeepArgs,
    /// How documents are scanned before they are given out.
    #[command(flatten)]
    pub scan: ScanArgs,
}

/// What may stand in the configuration file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    data_dir: Option<PathBuf>,
    #[serde(default, deserialize_with = "text_or_integer")]
    listen: Option<ListenAddress>,
    #[serde(default, deserialize_with = "text_or_integer")]
    max_file_size: Option<MaxFileSize>,
    durability: Option<Durability>,
    #[serde(default)]
    require_store: bool,
    log_format: Option<LogFormat>,
    user: Option<String>,
    #[serde(default)]
    allow_root: bool,
    /// Whether a store that other users of the machine may change is refused.
    strict_modes: Option<bool>,
    group_access: Option<GroupAccess>,
    /// Whether the kernel keeps the server in its folders.
    landlock: Option<bool>,
    #[serde(default)]
    allow_plaintext: bool,
    tls_cert: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    token_keys: Option<PathBuf>,
    token_issuer: Option<String>,
    token_audience: Option<String>,
    audit_log: Option<PathBuf>,
    /// Whether HTTP is served.
    http: Option<bool>,
    #[serde(default, deserialize_with = "text_or_integer")]
    http_listen: Option<ListenAddress>,
    #[serde(default, deserialize_with = "texts")]
    http_origins: Vec<OriginArgument>,
    #[serde(default, deserialize_with = "texts")]
    trusted_proxies: Vec<AddressRange>,
    #[serde(default, deserialize_with = "text_or_integer")]
    http_url: Option<HttpUrl>,
    #[serde(default, deserialize_with = "text_or_integer")]
    monitor_listen: Option<ListenAddress>,
    /// The length from which on another file of the audit log begins.
    #[serde(default, deserialize_with = "text_or_integer")]
    audit_log_max: Option<Size>,
    /// Disk space that uploads never claim.
    #[serde(default, deserialize_with = "text_or_integer")]
    reserve: Option<Size>,
    /// How long an upload waits for its next byte, "7d".
    #[serde(default, deserialize_with = "text_or_integer")]
    expire_after: Option<Span>,
    #[serde(default, deserialize_with = "text_or_integer")]
    keep_trash: Option<KeepTime>,
    #[serde(default, deserialize_with = "text_or_integer")]
    keep_versions: Option<KeepVersions>,
    #[serde(default, deserialize_with = "text_or_integer")]
    keep_changes: Option<KeepTime>,
    #[serde(default, deserialize_with = "text_or_integer")]
    scan_clamd: Option<ScanClamd>,
    scan_command: Option<String>,
    scan_unscannable: Option<UnscannablePolicy>,
    #[serde(default, deserialize_with = "text_or_integer")]
    scan_timeout: Option<Span>,
    max_connections: Option<usize>,
    max_connections_per_user: Option<usize>,
    max_logins_per_address: Option<usize>,
    max_unfinished_per_user: Option<u32>,
    /// How much a user may have who has no quota of the own.
    #[serde(default, deserialize_with = "text_or_integer")]
    quota: Option<Size>,
    quota_files: Option<u64>,
}

impl File {
    /// The operator's certificate and its key. The file has both settings or neither.
    fn tls(&self) -> Result<Option<TlsFiles>, UsageError> {
        match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) => {
                Ok(Some(TlsFiles { certificate: certificate.clone(), key: key.clone() }))
            }
            (None, None) => Ok(None),
            _ => Err(UsageError("tls_cert and tls_key belong together".to_owned())),
        }
    }

    /// What it says of the HTTP door.
    fn take_http(&mut self) -> HttpFile {
        HttpFile {
            http: self.http,
            http_listen: self.http_listen.take(),
            http_origins: std::mem::take(&mut self.http_origins),
            trusted_proxies: std::mem::take(&mut self.trusted_proxies),
            http_url: self.http_url.take(),
            monitor_listen: self.monitor_listen.take(),
        }
    }

    fn scan(&self) -> ScanArgs {
        ScanArgs {
            scan_clamd: self.scan_clamd.clone(),
            scan_command: self.scan_command.clone(),
            scan_unscannable: self.scan_unscannable,
            scan_timeout: self.scan_timeout,
        }
    }

    fn keep(&self) -> KeepArgs {
        let Self { keep_trash, keep_versions, keep_changes, .. } = *self;
        KeepArgs { keep_trash, keep_versions, keep_changes }
    }
}

/// What `SUCCESS` means, as it is typed.
#[derive(Debug, Clone, Copy, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// The document survives a power cut.
    Durable,
    /// The document has its name; a power cut within the next seconds may take it.
    Relaxed,
}

impl From<Durability> for Meaning {
    fn from(typed: Durability) -> Self {
        match typed {
            Durability::Durable => Self::Durable,
            Durability::Relaxed => Self::Relaxed,
        }
    }
}

/// What it all means.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) listen: ListenAddress,
    pub(super) config: Config,
    pub(super) http_ports: HttpPorts,
    pub(super) log_format: LogFormat,
    pub(super) group_access: GroupAccess,
    pub(super) run_as: RunAs,
    /// Whether the kernel is to keep the server in its folders.
    pub(super) confines: bool,
}

impl ServeArgs {
    /// What was typed and what the configuration file says.
    ///
    /// # Errors
    /// The first mistake in them.
    pub(super) fn settings(&self) -> anyhow::Result<Settings> {
        let file = self.config.as_deref().map(read).transpose()?.unwrap_or_default();
        let mut mistakes = Vec::new();
        let settings = self.settings_with(file, &mut mistakes);
        mistakes.into_iter().next().map_or(Ok(settings), |mistake| Err(mistake.into()))
    }

    /// The same with all mistakes and not only the first. What is wrong is left out of the settings.
    pub(super) fn settings_and_mistakes(&self) -> (Settings, Vec<UsageError>) {
        let read = self.config.as_deref().map(read_past_mistakes);
        let (file, mut mistakes) = read.unwrap_or_default();
        (self.settings_with(file, &mut mistakes), mistakes)
    }

    fn settings_with(&self, mut file: File, mistakes: &mut Vec<UsageError>) -> Settings {
        let mut config = Config::new(data_dir_of(self.data_dir.as_deref(), &file));
        config.engine.adopt_folders = self.adopt_folders;
        config.engine.require_store = self.require_store || file.require_store;
        config.engine.strict_modes = file.strict_modes.unwrap_or(true);
        if let Some(max) = self.max_file_size.or(file.max_file_size) {
            config.engine.max_filesize = max.filesize();
        }
        config.engine.reserve_bytes = file.reserve.map_or(config.engine.reserve_bytes, Size::bytes);
        config.engine.durability =
            self.durability.or(file.durability).map_or_else(Meaning::default, Meaning::from);
        config.engine.expire_after =
            file.expire_after.map_or(config.engine.expire_after, Span::duration);
        config.engine.keep = self.keep.or(file.keep());
        config.runs_commands = self.scan.is_command(&file.scan());
        config.engine.scanning = self.scan.or(file.scan()).unwrap_or_else(|mistake| {
            mistakes.push(mistake);
            None
        });
        config.allow_plaintext = self.allow_plaintext || file.allow_plaintext;
        config.tls = match self.tls_cert.clone().zip(self.tls_key.clone()) {
            Some((certificate, key)) => Some(TlsFiles { certificate, key }),
            None => file.tls().unwrap_or_else(|mistake| {
                mistakes.push(mistake);
                None
            }),
        };
        config.provider = self.provider(&file).unwrap_or_else(|mistake| {
            mistakes.push(mistake);
            None
        });
        config.audit = self.audit_file(&file).unwrap_or_else(|mistake| {
            mistakes.push(mistake);
            None
        });
        let http_ports;
        (config.http, http_ports) = self.http.settings(file.take_http(), mistakes);
        let places = &mut config.places;
        places.all = file.max_connections.unwrap_or(places.all);
        places.per_user = file.max_connections_per_user.unwrap_or(places.per_user);
        places.strangers_per_address =
            file.max_logins_per_address.unwrap_or(places.strangers_per_address);
        if let Some(unfinished) = file.max_unfinished_per_user {
            config.engine.limits.unfinished_per_user = unfinished;
        }
        config.engine.limits.quota =
            Quota { bytes: file.quota.map(Size::bytes), files: file.quota_files };
        let listen = self.listen.clone().or(file.listen).unwrap_or_default();
        let log_format = self.log_format.or(file.log_format).unwrap_or_default();
        let group_access = file.group_access.unwrap_or_default();
        let run_as = RunAs {
            user: self.user.clone().or(file.user),
            allow_root: self.allow_root || file.allow_root,
        };
        let confines = !self.no_landlock && file.landlock.unwrap_or(true);
        Settings { listen, config, http_ports, log_format, group_access, run_as, confines }
    }
}

impl ServeArgs {
    /// The identity provider. Issuer and audience of its tokens mean nothing without its keys.
    fn provider(&self, file: &File) -> Result<Option<TrustedProvider>, UsageError> {
        let issuer = self.token_issuer.clone().or_else(|| file.token_issuer.clone());
        let audience = self.token_audience.clone().or_else(|| file.token_audience.clone());
        match self.token_keys.clone().or_else(|| file.token_keys.clone()) {
            Some(keys) => Ok(Some(TrustedProvider { keys, issuer, audience })),
            None if issuer.is_none() && audience.is_none() => Ok(None),
            None => {
                let message = "token_issuer and token_audience belong to token_keys: name the file \
                               with the keys of the identity provider";
                Err(UsageError(message.to_owned()))
            }
        }
    }
}

impl ServeArgs {
    /// The audit log. Its length means nothing without a file.
    fn audit_file(&self, file: &File) -> Result<Option<AuditFile>, UsageError> {
        let max_bytes = file.audit_log_max.map(Size::bytes);
        if let Some(max_bytes) = max_bytes.filter(|max| *max < AUDIT_LOG_MIN_BYTES) {
            return Err(UsageError(format!(
                "audit_log_max: {max_bytes} bytes are too few; write 64KiB or more"
            )));
        }
        match self.audit_log.clone().or_else(|| file.audit_log.clone()) {
            Some(path) => Ok(Some(AuditFile { path, max_bytes })),
            None if max_bytes.is_none() => Ok(None),
            None => {
                let message = "audit_log_max belongs to audit_log: name the file of the audit log";
                Err(UsageError(message.to_owned()))
            }
        }
    }
}

/// The least length of a file of the audit log, in bytes: several of the longest lines.
const AUDIT_LOG_MIN_BYTES: u64 = 64 << 10;

/// The variable that names the data folder where no option does.
const DATA_DIR_VARIABLE: &str = "TOWLINE_DATA_DIR";

/// The data folder: as typed, else from the environment, else from the configuration file,
/// else the default.
fn data_dir_of(typed: Option<&Path>, file: &File) -> PathBuf {
    let variable = std::env::var_os(DATA_DIR_VARIABLE).filter(|value| !value.is_empty());
    typed
        .map(Path::to_owned)
        .or_else(|| variable.map(PathBuf::from))
        .or_else(|| file.data_dir.clone())
        .unwrap_or_else(|| DATA_DIR.into())
}

/// The data folder of a command that works beside the server, from the same options.
pub(super) fn data_dir(typed: Option<&Path>, config: Option<&Path>) -> anyhow::Result<PathBuf> {
    let file = config.map(read).transpose()?.unwrap_or_default();
    Ok(data_dir_of(typed, &file))
}

/// Where the server listens and which certificate it has, as the configuration file says, for a
/// command that works beside the server.
pub(super) fn address_and_tls(
    config: Option<&Path>,
) -> anyhow::Result<(ListenAddress, Option<TlsFiles>)> {
    let file = config.map(read).transpose()?.unwrap_or_default();
    let tls = file.tls()?;
    Ok((file.listen.unwrap_or_default(), tls))
}

/// For how long things are kept, for a command that works beside the server: the times that were
/// typed for the command, else those of the configuration file.
pub(super) fn keep(typed: KeepArgs, config: Option<&Path>) -> anyhow::Result<Keep> {
    let file = config.map(read).transpose()?.unwrap_or_default();
    Ok(typed.or(file.keep()))
}

fn read(path: &Path) -> anyhow::Result<File> {
    let usage = |error: &dyn fmt::Display| {
        UsageError(format!("the configuration file {}: {error}", path.display()))
    };
    let text = std::fs::read_to_string(path).map_err(|error| usage(&error))?;
    // The parser's sentence shows the line and points at the place in it.
    toml::from_str(&text).map_err(|error| usage(&error).into())
}

/// As many mistakes of a file as are said. There may be one in each line.
const MISTAKES_MAX: usize = 100;

/// Reads the file as far as it can be understood, and returns what is wrong with it as well: each
/// line with a mistake is taken out, and the rest is read again.
fn read_past_mistakes(path: &Path) -> (File, Vec<UsageError>) {
    let mut mistakes = Vec::new();
    let mut mistake = |error: &dyn fmt::Display| {
        mistakes.push(UsageError(format!("the configuration file {}: {error}", path.display())));
        mistakes.len() < MISTAKES_MAX
    };
    let mut text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            mistake(&error);
            return (File::default(), mistakes);
        }
    };
    loop {
        match toml::from_str(&text) {
            Ok(file) => return (file, mistakes),
            Err(error) => {
                let goes_on = mistake(&error);
                let place = error.span().map(|span| span.start);
                if !goes_on || !place.is_some_and(|place| take_line_out(&mut text, place)) {
                    return (File::default(), mistakes);
                }
            }
        }
    }
}

/// Writes blanks over the line with that byte, so that the other lines keep their numbers. Returns
/// whether anything but blanks was there.
fn take_line_out(text: &mut String, place: usize) -> bool {
    let (before, after) = text.split_at(text.floor_char_boundary(place));
    let start = before.rfind('\n').map_or(0, |end| end + 1);
    let end = after.find('\n').map_or(text.len(), |end| before.len() + end);
    let has_content = !text[start..end].trim().is_empty();
    let blanks = " ".repeat(end - start);
    text.replace_range(start..end, &blanks);
    has_content
}

/// A value of the configuration file that has a form of its own: written as a text, or,
/// where it is a plain number, without quotes.
fn text_or_integer<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: FromStr<Err: fmt::Display>,
    D: Deserializer<'de>,
{
    struct Visitor<T>(PhantomData<T>);
    impl<T: FromStr<Err: fmt::Display>> de::Visitor<'_> for Visitor<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a text in quotes, or a number")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            text.parse().map_err(E::custom)
        }

        fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
            number.to_string().parse().map_err(E::custom)
        }
    }
    deserializer.deserialize_any(Visitor(PhantomData)).map(Some)
}

/// A list of values that have a form of their own.
fn texts<'de, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    T: FromStr<Err: fmt::Display>,
    D: Deserializer<'de>,
{
    struct Text<T>(T);
    impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for Text<T> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let text = String::deserialize(deserializer)?;
            text.parse().map(Self).map_err(de::Error::custom)
        }
    }
    let texts: Vec<Text<T>> = Vec::deserialize(deserializer)?;
    Ok(texts.into_iter().map(|Text(value)| value).collect())
}

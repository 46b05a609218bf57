//! `towlined user quota`: how much a user may have.

use super::operator_log::OperatorLog;
use super::output::NOT_WRITTEN;
use super::size::{BadSize, Size};
use anyhow::Context as _;
use clap::Args;
use serde_json::json;
use std::io::Write as _;
use std::str::FromStr;
use towline_engine::units;
use towline_state::catalog::{Catalog, OwnLimit, OwnQuota, User, UserShare};

/// What can be said of a user's quota.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct QuotaArgs {
    /// The bytes that the user may have, older versions, the trash and unfinished uploads included:
    /// a size such as 50GB, `unlimited`, or `default` for that of the configuration file
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    bytes: Option<OwnLimit>,
    /// The same for the number of files: a number, `unlimited` or `default`
    #[arg(long, value_name = "NUMBER", value_parser = files)]
    files: Option<OwnLimit>,
}

fn bytes(typed: &str) -> Result<OwnLimit, BadSize> {
    limit(typed, |typed| typed.parse().map(Size::bytes))
}

fn files(typed: &str) -> Result<OwnLimit, String> {
    let number = |typed: &str| u64::from_str(typed.trim());
    limit(typed, number).map_err(|_| {
        format!("{typed:?} is not a number of files; write 100000, unlimited or default")
    })
}

fn limit<E>(typed: &str, number: impl FnOnce(&str) -> Result<u64, E>) -> Result<OwnLimit, E> {
    match typed.trim() {
        "unlimited" => Ok(OwnLimit::Unlimited),
        "default" => Ok(OwnLimit::OfServer),
        typed => number(typed).map(OwnLimit::Limit),
    }
}

/// Sets what was said, and prints what the user has and may have.
pub(super) fn run(
    catalog: &Catalog,
    user: &User,
    said: QuotaArgs,
    log: &OperatorLog,
) -> anyhow::Result<()> {
    let QuotaArgs { bytes, files } = said;
    let before = catalog.user_share(user.user_id).wait()?;
    let own = OwnQuota {
        bytes: bytes.unwrap_or(before.own.bytes),
        files: files.unwrap_or(before.own.files),
    };
    if own != before.own {
        catalog.set_quota(user.user_id, own).wait()?;
        let word = |limit| match limit {
            OwnLimit::OfServer => "default".to_owned(),
            OwnLimit::Unlimited => "unlimited".to_owned(),
            OwnLimit::Limit(limit) => limit.to_string(),
        };
        let fields = json!({ "quota_bytes": word(own.bytes), "quota_files": word(own.files) });
        log.record_of("user_quota", user, fields);
    }
    let UserShare { used_bytes, used_files, .. } = before;
    writeln!(
        std::io::stdout(),
        "{}: {} (limit: {}), {used_files} files (limit: {})",
        user.name,
        units::Size(used_bytes),
        shown(own.bytes, |bytes| units::Size(bytes).to_string()),
        shown(own.files, |files| files.to_string()),
    )
    .context(NOT_WRITTEN)
}

fn shown(limit: OwnLimit, number: impl FnOnce(u64) -> String) -> String {
    match limit {
        OwnLimit::OfServer => "that of the server".to_owned(),
        OwnLimit::Unlimited => "none".to_owned(),
        OwnLimit::Limit(limit) => number(limit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_people_write_them() {
        assert_eq!(bytes("50GB").unwrap(), OwnLimit::Limit(50_000_000_000));
        assert_eq!(bytes("unlimited").unwrap(), OwnLimit::Unlimited);
        assert_eq!(bytes(" default ").unwrap(), OwnLimit::OfServer);
        assert_eq!(files("1000").unwrap(), OwnLimit::Limit(1000));
        assert!(bytes("much").is_err() && files("1GB").is_err() && files("-1").is_err());
    }
}

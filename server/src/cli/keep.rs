//! How long the server keeps what its user no longer sees (the trash, older versions, the log of
//! changes): as typed on the command line, or as the configuration file says.

use clap::Args;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;
use towline_engine::Keep;
use towline_state::catalog::Retention;

/// What can be said about it, on the command line and in the configuration file.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct KeepArgs {
    /// How long removed files and folders can be restored: a time such as 30d, `forever` or
    /// `none` [default: 30d]
    #[arg(long, value_name = "TIME")]
    pub keep_trash: Option<KeepTime>,
    /// How long the versions of replaced files are kept: a time such as 30d, `forever` or `none`.
    /// Of versions older than a day only the last one of each hour is kept, of those older than a
    /// week the last one of each day. Three times set these limits too: 1d,7d,30d
    /// [default: 30d]
    #[arg(long, value_name = "TIME")]
    pub keep_versions: Option<KeepVersions>,
    /// How far the log of changes reaches back: a time such as 90d, `forever` or `none`. A client
    /// that was away for longer lists everything anew [default: 90d]
    #[arg(long, value_name = "TIME")]
    pub keep_changes: Option<KeepTime>,
}

impl KeepArgs {
    /// What was typed, else what the configuration file says, else the default.
    pub(super) fn or(self, file: Self) -> Keep {
        let default = Keep::default();
        let time = |typed: Option<KeepTime>, file: Option<KeepTime>, default| {
            typed.or(file).map_or(default, |KeepTime(time)| time)
        };
        let versions = self.keep_versions.or(file.keep_versions);
        Keep {
            trash: time(self.keep_trash, file.keep_trash, default.trash),
            versions: versions.map_or(default.versions, |KeepVersions(times)| times),
            changes: time(self.keep_changes, file.keep_changes, default.changes),
        }
    }
}

/// How long something is kept: a length of time, for ever, or not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepTime(Duration);

/// How long versions are kept: one [`KeepTime`], or three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepVersions(Retention);

/// Why a text does not say how long something is kept.
#[derive(Debug, thiserror::Error)]
pub enum BadKeep {
    /// The text is not a length of time.
    #[error("{0:?} is not a length of time; write 30d, 12h, forever or none")]
    Unreadable(String),
    /// The text has neither one time nor three.
    #[error("{0:?} is neither one time nor three; write 30d, or 1d,7d,30d")]
    NotThree(String),
    /// A time is shorter than the one before it.
    #[error(
        "{0:?}: each time has to be as long as the one before it or longer, for all are counted \
         from when a version was replaced"
    )]
    Shrinking(String),
}

impl FromStr for KeepTime {
    type Err = BadKeep;

    fn from_str(text: &str) -> Result<Self, BadKeep> {
        match text.trim() {
            "forever" => Ok(Self(Duration::MAX)),
            "none" => Ok(Self(Duration::ZERO)),
            time => match humantime::parse_duration(time) {
                Ok(time) => Ok(Self(time)),
                Err(_) => Err(BadKeep::Unreadable(text.to_owned())),
            },
        }
    }
}

impl FromStr for KeepVersions {
    type Err = BadKeep;

    fn from_str(text: &str) -> Result<Self, BadKeep> {
        let times: Vec<Duration> = text
            .split(',')
            .map(|time| time.parse().map(|KeepTime(time)| time))
            .collect::<Result<_, _>>()?;
        let default = Retention::default();
        match times[..] {
            // Where every version is kept for ever, none is thinned out either.
            [Duration::MAX] => Ok(Self(Retention {
                all: Duration::MAX,
                hourly: Duration::MAX,
                daily: Duration::MAX,
            })),
            [daily] => Ok(Self(Retention {
                all: default.all.min(daily),
                hourly: default.hourly.min(daily),
                daily,
            })),
            [all, hourly, daily] if all <= hourly && hourly <= daily => {
                Ok(Self(Retention { all, hourly, daily }))
            }
            [_, _, _] => Err(BadKeep::Shrinking(text.to_owned())),
            _ => Err(BadKeep::NotThree(text.to_owned())),
        }
    }
}

/// Says in words for people how long something is kept.
pub(super) struct Told(pub(super) Duration);

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DAY: u64 = 86_400;
        match self.0 {
            Duration::MAX => f.write_str("for ever"),
            Duration::ZERO => f.write_str("not at all"),
            // Whole days are printed as days: the formatter would print months and years, which are
            // harder to compare.
            time if time.subsec_nanos() == 0 && time.as_secs() % DAY == 0 => {
                let days = time.as_secs() / DAY;
                write!(f, "for {days} {}", if days == 1 { "day" } else { "days" })
            }
            time => write!(f, "for {}", humantime::format_duration(time)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, time, told) in [
            ("30d", 30 * DAY, "for 30 days"),
            ("1day", DAY, "for 1 day"),
            ("12h 30m", DAY / 2 + Duration::from_secs(1800), "for 12h 30m"),
            ("forever", Duration::MAX, "for ever"),
            ("none", Duration::ZERO, "not at all"),
            ("0", Duration::ZERO, "not at all"),
        ] {
            assert_eq!(text.parse::<KeepTime>().unwrap(), KeepTime(time), "{text}");
            assert_eq!(Told(time).to_string(), told);
        }
        for text in ["", "30", "-1d", "soon", "1d,2d", "Forever "] {
            assert!(text.parse::<KeepTime>().is_err(), "{text}");
        }
    }

    #[test]
    fn one_time_for_versions_keeps_the_steps_below_it() {
        let retention = |all, hourly, daily| KeepVersions(Retention { all, hourly, daily });
        let (hour, max) = (DAY / 24, Duration::MAX);
        for (text, expected) in [
            ("30d", KeepVersions(Retention::default())),
            ("400d", retention(DAY, 7 * DAY, 400 * DAY)),
            ("2d", retention(DAY, 2 * DAY, 2 * DAY)),
            ("1h", retention(hour, hour, hour)),
            ("none", retention(Duration::ZERO, Duration::ZERO, Duration::ZERO)),
            ("forever", retention(max, max, max)),
            ("1h,2d,90d", retention(hour, 2 * DAY, 90 * DAY)),
            ("none, 1d, forever", retention(Duration::ZERO, DAY, max)),
        ] {
            assert_eq!(text.parse::<KeepVersions>().unwrap(), expected, "{text}");
        }
        for (text, why) in [
            ("1d,7d", "neither one time nor three"),
            ("1d,7d,30d,90d", "neither one time nor three"),
            ("7d,1d,30d", "as long as the one before it"),
            ("1d,,30d", "is not a length of time"),
            ("often", "is not a length of time"),
        ] {
            let said = text.parse::<KeepVersions>().unwrap_err().to_string();
            assert!(said.contains(why), "{said}");
        }
    }
}

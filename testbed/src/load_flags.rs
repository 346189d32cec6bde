//! The flags of `focus-server recordings load`.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::clock::Clock;
use crate::flags::duration;
use crate::http::view_of;
use crate::profile::{Config, DATABASE, DATABASE_VARIABLE, MONGODB_VARIABLE, STORAGE_PATH};
use crate::recordings::{FIXED_END, FIXED_START};
use crate::server_uri::ServerUri;
use crate::store::{Before, Load};

/// What to load. Loading the same again changes nothing.
#[derive(Debug, Clone, clap::Args)]
pub struct LoadFlags {
    /// The MongoDB to load into
    #[arg(long, value_name = "URI", env = MONGODB_VARIABLE, hide_env_values = true)]
    mongodb: ServerUri,
    /// Its database
    #[arg(long, value_name = "NAME", default_value = DATABASE, env = DATABASE_VARIABLE)]
    mongodb_database: String,
    /// The base path whose recordings they are
    #[arg(long, value_name = "PATH", default_value = STORAGE_PATH)]
    storage_path: String,
    /// The collection of a base path that is not there yet
    #[arg(
        long,
        value_name = "GUID",
        default_value = "5b1f6c1e-0d0a-4f57-9c55-5d9f3f1f0003"
    )]
    guid: String,
    /// First second of the recordings, since the epoch
    #[arg(long, value_name = "SECONDS", default_value_t = FIXED_START)]
    from: u64,
    /// First second after them
    #[arg(long, value_name = "SECONDS", default_value_t = FIXED_END)]
    to: u64,
    /// Length of one recording
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    length: Duration,
    /// Folders in which no recording was recognized
    #[arg(long, value_name = "N", default_value_t = 0)]
    unrecognized: u64,
    /// Remove everything of the base path before
    #[arg(long)]
    drop: bool,
    /// List the rows of this view, by this name; without it, no rows
    #[arg(long, value_name = "NAME")]
    view: Option<String>,
    /// Kind of the view: 0 many channels, 1 one, 2 a waterfall
    #[arg(long, value_name = "N", default_value_t = 0)]
    view_type: u8,
    /// Its channels, FIRST-LAST
    #[arg(long, value_name = "A-B", default_value = "1-50", value_parser = range)]
    channels: (u32, u32),
    /// Its frequencies in Hz, LEAST-GREATEST
    #[arg(long, value_name = "A-B", default_value = "0-500", value_parser = range)]
    frequencies: (u32, u32),
    /// Its nfftSelection
    #[arg(long, value_name = "N", default_value_t = 1_024)]
    nfft: u32,
    /// Its displayTimeAxisDuration in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    duration: u32,
    /// Its displayInfo.height
    #[arg(long, value_name = "LINES", default_value_t = 400)]
    height: u32,
    /// Its start_time; that of the recordings unless given
    #[arg(long, value_name = "SECONDS")]
    rows_from: Option<u64>,
    /// Its end_time; that of the recordings unless given
    #[arg(long, value_name = "SECONDS")]
    rows_to: Option<u64>,
}

impl LoadFlags {
    /// What the flags ask for.
    ///
    /// # Errors
    ///
    /// A range is reversed, or the server would refuse the view.
    pub fn load(self) -> anyhow::Result<Load> {
        ensure!(self.to > self.from, "--to must be after --from");
        let length = self.length.as_secs();
        ensure!(
            length > 0 && self.length.subsec_nanos() == 0,
            "--length must be whole seconds"
        );
        let view = match &self.view {
            Some(name) => Some((name.clone(), self.view_of_rows()?)),
            None => None,
        };
        Ok(Load {
            mongodb: self.mongodb,
            database: self.mongodb_database,
            storage_path: self.storage_path,
            guid: self.guid,
            range: self.from..self.to,
            length,
            unrecognized: self.unrecognized,
            before: if self.drop {
                Before::Drop
            } else {
                Before::Keep
            },
            view,
        })
    }

    /// The view as a server of the profile `quick` would show it.
    fn view_of_rows(&self) -> anyhow::Result<crate::view::View> {
        let from = self.rows_from.unwrap_or(self.from);
        let to = self.rows_to.unwrap_or(self.to);
        ensure!(
            from >= self.from && to <= self.to,
            "--rows-from and --rows-to must lie within the recordings, {} to {}",
            self.from,
            self.to
        );
        let mut body = json!({
            "view_type": self.view_type,
            "displayInfo": { "height": self.height },
            "channels": { "min": self.channels.0, "max": self.channels.1 },
            "nfftSelection": self.nfft,
            "start_time": from,
            "end_time": to,
        });
        if self.view_type != 2 {
            body["displayTimeAxisDuration"] = json!(self.duration);
            body["frequencyRange"] =
                json!({ "min": self.frequencies.0, "max": self.frequencies.1 });
        } else {
            body["nfftSelection"] = Value::from(1);
        }
        let now = Clock::start().now_s();
        view_of(&body, &Config::quick(), now)
            .map_err(anyhow::Error::msg)
            .context(
                "the server would refuse the view: use --rows-from, --rows-to and its other flags",
            )
    }
}

fn range(text: &str) -> Result<(u32, u32), String> {
    let ends = text
        .split_once('-')
        .and_then(|(low, high)| low.parse().ok().zip(high.parse().ok()));
    ends.filter(|(low, high)| low <= high)
        .ok_or_else(|| format!("`{text}` is not a range: give for instance 1-50"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        flags: LoadFlags,
    }

    fn load(args: &[&str]) -> anyhow::Result<Load> {
        let args = ["load", "--mongodb", "mongodb://127.0.0.1"]
            .iter()
            .chain(args);
        Cli::try_parse_from(args)?.flags.load()
    }

    #[test]
    fn the_default_is_the_fixed_day_without_rows() {
        let load = load(&[]).unwrap();
        assert_eq!((load.range, load.length), (FIXED_START..FIXED_END, 10));
        assert_eq!((load.unrecognized, load.before), (0, Before::Keep));
        assert!(load.view.is_none());
    }

    #[test]
    fn a_view_is_one_that_the_server_would_accept() {
        let rows = ["--view", "a", "--to", "1700000120"];
        let (name, view) = load(&rows).unwrap().view.unwrap();
        assert_eq!((name.as_str(), view.streams.len()), ("a", 3));
        let error = |args: &[&str]| format!("{:#}", load(args).unwrap_err());
        assert!(error(&["--view", "a"]).contains("30 windows"));
        assert!(error(&["--to", "5"]).contains("--to must be after"));
        assert!(error(&["--length", "1500ms"]).contains("whole seconds"));
        let beyond = [
            "--view",
            "a",
            "--to",
            "1700000120",
            "--rows-to",
            "1700000121",
        ];
        assert!(error(&beyond).contains("within the recordings"));
        assert!(error(&["--channels", "9-3"]).contains("not a range"));
    }
}

//! What a command does to a job: from its next row on, nothing before it.

use super::command::Command;
use super::region::{RegionError, check_change, size};
use crate::behavior::Kind;
use crate::http::fibre;
use crate::jobs::Job;
use crate::limits::MAX_ROW_BYTES;
use crate::server::Server;
use crate::view::{Request, View};

/// Applies a command.
///
/// # Errors
///
/// A reason, if the job cannot follow it: nothing has changed.
pub(super) fn apply(server: &Server, job: &Job, command: &Command) -> Result<(), String> {
    match *command {
        Command::Keepalive => job.calls.keep(),
        // Nothing that a row contains depends on these.
        Command::InputChanged | Command::MonitorQueues => {}
        Command::Colormap(colormap) => job.display.paint(colormap),
        Command::Caxis { min, max } => job.display.set_axis(min, max),
        Command::Region { start, end } => {
            return region(server, job, (start, end)).map_err(|error| error.to_string());
        }
    }
    Ok(())
}

/// Shows other channels in the same streams. They need not be among those that the job was configured with: a region may
/// grow.
fn region(server: &Server, job: &Job, to: (u32, u32)) -> Result<(), RegionError> {
    let config = &server.config;
    let shown = job.display.shown();
    let present = &shown.view.request;
    let highest = config.highest_channel;
    if to.0 < 1 || to.1 > highest {
        let (start, end) = to;
        return Err(RegionError::Beyond {
            start,
            end,
            highest,
        });
    }
    if server.struck(Kind::UnsafeRoi).is_none() {
        check_change(present.channels, to)?;
    }
    let (channels, streams) = (size(to), shown.view.streams.len());
    let enough = usize::try_from(channels).is_ok_and(|channels| channels >= streams);
    if !enough || channels > config.max_channels {
        return Err(RegionError::Size {
            channels,
            streams,
            most: config.max_channels,
        });
    }
    let fibre = fibre(config, present.source);
    let request = Request {
        channels: to,
        mapped: to,
        ..present.clone()
    };
    let bytes = View::row_bytes(&request, fibre);
    if bytes > MAX_ROW_BYTES {
        return Err(RegionError::Rows {
            bytes,
            most: MAX_ROW_BYTES,
        });
    }
    if server.struck(Kind::IgnoreRoi).is_none() {
        job.display.show(View::new(request, fibre));
    }
    Ok(())
}

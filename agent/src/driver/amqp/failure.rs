//! What an error of lapin means for a stage.

use lapin::protocol::{AMQPError, AMQPErrorKind};
use lapin::{Error, ErrorKind as Lapin};
use testmesh_shared::plan::ErrorKind;

use crate::driver::contract::StageError;
use crate::driver::tries::Failure;

/// The broker closes connections with this code when it stops, or when an operator tells it to.
const CONNECTION_FORCED: u16 = 320;

/// Tells what went wrong while `doing`.
pub(super) fn failure(doing: &str, error: &Error) -> Failure {
    let failed =
        |kind, reason: &str| Failure::Failed(StageError::new(kind, format!("{doing}: {reason}")));
    let with_code = |kind, code, reason: &str| {
        Failure::Failed(StageError::new(kind, format!("{doing}: {reason}")).with_code(code))
    };
    match error.kind() {
        Lapin::IOError(io) => Failure::Failed(StageError::io(doing, io)),
        Lapin::ProtocolError(said) => refusal(doing, said),
        Lapin::InvalidConnectionState(_)
        | Lapin::InvalidChannelState(..)
        | Lapin::InvalidChannel(_) => failed(ErrorKind::Reset, "the connection is gone"),
        Lapin::MissingHeartbeatError => {
            let reason = "the broker has been silent for two heartbeats";
            with_code(ErrorKind::Reset, "no_heartbeat", reason)
        }
        Lapin::ParsingError(reason) => failed(ErrorKind::Protocol, &reason.to_string()),
        Lapin::InvalidProtocolVersion(version) => {
            let reason = format!("the peer speaks {version}, not AMQP 0-9-1");
            failed(ErrorKind::Protocol, &reason)
        }
        Lapin::ChannelsLimitReached => {
            let reason = "all channels of the connection are in use: let more connections be shared (`connections`)";
            with_code(ErrorKind::Internal, "channels_exhausted", reason)
        }
        _ => failed(ErrorKind::Internal, &error.to_string()),
    }
}

fn refusal(doing: &str, said: &AMQPError) -> Failure {
    let code = said.get_id();
    let error = |kind| {
        let message = format!("{doing}: AMQP {code} {}", said.get_message());
        StageError::new(kind, message).with_status(i64::from(code))
    };
    match said.kind() {
        AMQPErrorKind::Soft(_) => Failure::Refused(error(ErrorKind::Status)),
        AMQPErrorKind::Hard(_) if code == CONNECTION_FORCED => {
            Failure::Failed(error(ErrorKind::Unavailable))
        }
        AMQPErrorKind::Hard(_) => Failure::Failed(error(ErrorKind::Status)),
    }
}

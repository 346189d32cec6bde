//! Calls that are answered with one message, whether they send one or many.

use bytes::Bytes;
use testmesh_shared::plan::ErrorKind;

use super::beside::{Beside, Came};
use super::connection::Connection;
use super::form::GrpcStage;
use super::stage::Schema;
use super::told::Told;
use crate::driver::contract::{Attempt, Body, Results, StageError};
use crate::driver::http::shown;
use crate::driver::message::Encoded;

impl GrpcStage {
    pub(super) async fn unary(
        &self,
        attempt: &Attempt<'_>,
        connection: &Connection,
        schema: &Schema,
    ) -> Result<Results, StageError> {
        let mut beside = Beside::unary(Told::of(attempt, &schema.method));
        let mut reply = self.call(attempt, connection, schema, &mut beside).await?;
        attempt.meter.first_byte(reply.first_byte);
        let mut answer: Option<Bytes> = None;
        let status = loop {
            while let Some(message) = reply.message()? {
                if answer.is_some() {
                    let message = format!("{} answered more than one message", schema.method.path);
                    return Err(
                        StageError::new(ErrorKind::Protocol, message).with_code("many_messages")
                    );
                }
                if let Some(told) = beside.told() {
                    told.received(message);
                }
                answer = Some(Bytes::copy_from_slice(message));
            }
            if let Came::Status(status) = beside.more(&mut reply).await? {
                break status;
            }
        };
        attempt.meter.status(i64::from(status.code));
        if let Some(told) = beside.told() {
            told.ended(Some(&status));
        }
        let failure = status.failure();
        let body = match (answer, &failure) {
            (None, None) => {
                let message = format!("{} answered OK without a message", schema.method.path);
                return Err(StageError::new(ErrorKind::Protocol, message).with_code("no_message"));
            }
            (None, Some(_)) => Body::None,
            (Some(bytes), _) => Body::Message(self.checked(schema, bytes)?),
        };
        let headers = shown(&reply.headers);
        Ok(Results {
            status: Some(i64::from(status.code)),
            headers,
            body,
            failure,
            ..Results::default()
        })
    }

    /// A message that decodes: what does not is no answer, whoever reads it.
    fn checked(&self, schema: &Schema, bytes: Bytes) -> Result<Encoded, StageError> {
        let message = Encoded::new(schema.method.output.clone(), bytes);
        match message.to_value() {
            Ok(_) => Ok(message),
            Err(error) => {
                let message = format!(
                    "{} answered bytes that are no {}: {error}",
                    schema.method.path,
                    schema.method.output.full_name()
                );
                Err(StageError::new(ErrorKind::Protocol, message).with_code("bad_message"))
            }
        }
    }
}

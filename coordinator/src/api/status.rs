//! The only place where errors become `tonic::Status`.
use crate::run::SubmitError;
use crate::store::StoreError;
use crate::store::blobs::BlobError;
use testmesh_shared::error::Chain;
use tonic::Status;

/// A blob that is not kept.
pub(super) fn of_blob(error: &BlobError) -> Status {
    match error {
        BlobError::TooLarge { .. } => Status::resource_exhausted(error.to_string()),
        BlobError::Digest(_)
        | BlobError::Gap { .. }
        | BlobError::Mixed
        | BlobError::Length { .. }
        | BlobError::Mismatch { .. } => Status::invalid_argument(error.to_string()),
    }
}

/// A run that is not taken.
pub(super) fn of_submit(error: &SubmitError) -> Status {
    match error {
        SubmitError::QueueFull => Status::resource_exhausted(error.to_string()),
        SubmitError::ShuttingDown => Status::unavailable(error.to_string()),
    }
}

/// A store that did not answer.
pub(super) fn of_store(error: &StoreError) -> Status {
    Status::internal(Chain(error).to_string())
}

/// A run that nobody knows.
pub(super) fn no_run(run: &str) -> Status {
    let run: String = run.chars().take(crate::limits::MAX_NAME).collect();
    Status::not_found(format!(
        "there is no run `{run}`; `testmesh runs list` shows those that are kept"
    ))
}

//! The statuses of gRPC by name, as plans write them.

/// The names of the codes 0 to 16, each at its code.
pub const NAMES: [&str; 17] = [
    "ok",
    "cancelled",
    "unknown",
    "invalid_argument",
    "deadline_exceeded",
    "not_found",
    "already_exists",
    "permission_denied",
    "resource_exhausted",
    "failed_precondition",
    "aborted",
    "out_of_range",
    "unimplemented",
    "internal",
    "unavailable",
    "data_loss",
    "unauthenticated",
];

/// The code of that name.
#[must_use]
pub fn code_of(name: &str) -> Option<i32> {
    let code = NAMES.iter().position(|known| *known == name)?;
    i32::try_from(code).ok()
}

/// The name of that code; HTTP statuses are all greater than those that have one.
#[must_use]
pub fn name_of(code: i64) -> Option<&'static str> {
    NAMES.get(usize::try_from(code).ok()?).copied()
}

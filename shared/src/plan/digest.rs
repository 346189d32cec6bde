//! Digests of plans and their files: XXH3-128, in lowercase hex.

use xxhash_rust::xxh3::Xxh3;

/// The digest of bytes.
pub(super) fn hex(bytes: &[u8]) -> String {
    format!("{:032x}", xxhash_rust::xxh3::xxh3_128(bytes))
}

/// The digest of parts, each with its length, so that no two lists of parts are alike.
pub(super) fn of_parts<'p>(parts: impl IntoIterator<Item = &'p [u8]>) -> String {
    let mut hasher = Xxh3::new();
    for part in parts {
        hasher.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
        hasher.update(part);
    }
    format!("{:032x}", hasher.digest128())
}

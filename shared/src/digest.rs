//! Checksums of data: XXH3 in 64 bits for rows, in 128 bits for streams and blobs. Both print as `xxhsum -H3` and
//! `xxhsum -H2` do, so that a user can compute the other side of a comparison with a standard tool.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3Default, xxh3_64, xxh3_128};

/// Why a text is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a digest is {digits} lowercase hex digits")]
pub struct DigestError {
    digits: usize,
}

/// XXH3-64 of a row's payload.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RowDigest(u64);

/// XXH3-128 of a stream's payload, or of a blob's content.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(u128);

impl RowDigest {
    /// Digests one row that lies in one piece.
    #[must_use]
    pub fn of(payload: &[u8]) -> Self {
        Self(xxh3_64(payload))
    }

    /// Wraps a value as computed elsewhere.
    #[must_use]
    pub const fn from_u64(value: u64) -> Self {
        Self(value)
    }

    /// The value itself.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

impl Digest {
    /// Digests content that lies in one piece.
    #[must_use]
    pub fn of(content: &[u8]) -> Self {
        Self(xxh3_128(content))
    }

    /// Wraps a value as computed elsewhere.
    #[must_use]
    pub const fn from_u128(value: u128) -> Self {
        Self(value)
    }

    /// The value itself.
    #[must_use]
    pub const fn as_u128(self) -> u128 {
        self.0
    }

    /// The canonical bytes: big endian, in the order in which they are printed.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// From canonical bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }

    /// The first 8 bytes as a number: the default seed of a run is that of its plan's digest.
    #[must_use]
    pub fn first_u64(self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.to_bytes();
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }
}

impl fmt::Display for RowDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for RowDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for RowDigest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let value = parse_hex(text, 16)?;
        u64::try_from(value)
            .map(Self)
            .map_err(|_| DigestError { digits: 16 })
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        parse_hex(text, 32).map(Self)
    }
}

impl TryFrom<String> for RowDigest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, DigestError> {
        text.parse()
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, DigestError> {
        text.parse()
    }
}

impl From<RowDigest> for String {
    fn from(digest: RowDigest) -> Self {
        digest.to_string()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

/// Only the printed form is accepted, so that equal digests are equal texts everywhere.
fn parse_hex(text: &str, digits: usize) -> Result<u128, DigestError> {
    let lower = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if text.len() != digits || !text.bytes().all(lower) {
        return Err(DigestError { digits });
    }
    u128::from_str_radix(text, 16).map_err(|_| DigestError { digits })
}

/// Digests content that comes in pieces. It takes about half a kibibyte, whatever the content's size.
#[derive(Clone, Default)]
pub struct Hasher(Xxh3Default);

impl Hasher {
    /// Begins.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the next piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// Begins anew.
    pub fn reset(&mut self) {
        self.0.reset();
    }

    /// The digest of all pieces so far, as of a row.
    #[must_use]
    pub fn row(&self) -> RowDigest {
        RowDigest(self.0.digest())
    }

    /// The digest of all pieces so far, as of a stream or blob.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest(self.0.digest128())
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Hasher").field(&self.digest()).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What `xxhsum -H3` and `xxhsum -H2` of xxHash 0.8 print for the empty input and for `abc`.
    #[test]
    fn digests_print_as_xxhsum_prints_them() {
        assert_eq!(RowDigest::of(b"").to_string(), "2d06800538d394c2");
        assert_eq!(
            Digest::of(b"").to_string(),
            "99aa06d3014798d86001c324468d497f"
        );
        assert_eq!(RowDigest::of(b"abc").to_string(), "78af5f94892f3950");
        assert_eq!(
            Digest::of(b"abc").to_string(),
            "06b05ab6733a618578af5f94892f3950"
        );
    }

    #[test]
    fn only_the_printed_form_parses() {
        let digest = Digest::of(b"abc");
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert_eq!(Digest::from_bytes(digest.to_bytes()), digest);
        assert_eq!(digest.first_u64(), 0x06b0_5ab6_733a_6185);
        for bad in [
            "",
            "06b0",
            &digest.to_string().to_uppercase(),
            &format!("+{}", &digest.to_string()[1..]),
        ] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
        assert!("78af5f94892f395".parse::<RowDigest>().is_err());
        assert_eq!(
            "78af5f94892f3950".parse::<RowDigest>(),
            Ok(RowDigest::of(b"abc"))
        );
    }

    proptest! {
        #[test]
        fn pieces_make_the_digest_of_the_whole(content: Vec<u8>, cut in 0usize..64) {
            let cut = cut.min(content.len());
            let mut hasher = Hasher::new();
            hasher.update(&content[..cut]);
            hasher.update(&content[cut..]);
            prop_assert_eq!(hasher.digest(), Digest::of(&content));
            prop_assert_eq!(hasher.row(), RowDigest::of(&content));
        }
    }
}

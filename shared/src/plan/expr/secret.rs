//! Values of a plan's secrets, and how they are kept out of what is written.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;

use super::value::Value;

/// What stands for a secret in reports and logs.
const MASK: &str = "•••";

/// Secrets shorter than this are not masked: they would hide half of every text.
const SHORTEST: usize = 3;

/// So much of a secret at the end of a text is taken for one that was cut.
const SHORTEST_PART: usize = 4;

/// The secrets of one run on one agent.
#[derive(Clone, Default)]
pub struct Secrets {
    values: Vec<(String, String)>,
    /// Every form to look for, the longest first.
    forms: Vec<String>,
}

impl Secrets {
    /// Secrets by name.
    #[must_use]
    pub fn new(values: Vec<(String, String)>) -> Self {
        let mut forms: Vec<String> = values.iter().flat_map(|(_, value)| forms(value)).collect();
        forms.retain(|form| form.len() >= SHORTEST);
        forms.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        forms.dedup();
        Self { values, forms }
    }

    /// The map that `secrets.NAME` is read from.
    #[must_use]
    pub fn value(&self) -> Value {
        Value::map(
            self.values
                .iter()
                .map(|(name, value)| (name.as_str(), Value::from(value.as_str()))),
        )
    }

    /// The text without secrets, whichever way they are written: plain, in base64 or hexadecimal, also within something longer
    /// that was encoded, and each of that as URLs, forms, JSON and escapes of bytes write it. A text that ends within a secret, because it was cut, loses that part too.
    #[must_use]
    pub fn mask<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut masked = Cow::Borrowed(text);
        for form in &self.forms {
            if let Some(without) = without(&masked, form) {
                masked = Cow::Owned(without);
            }
        }
        masked
    }
}

/// The text with a mask instead of each occurrence of the form; none if there is none.
fn without(text: &str, form: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut masked: Option<String> = None;
    let (mut copied, mut at) = (0, 0);
    while at < bytes.len() {
        let end = text
            .is_char_boundary(at)
            .then(|| written(bytes, at, form))
            .flatten();
        let Some(end) = end else {
            at += 1;
            continue;
        };
        // A cut may fall into a character.
        let end = text.ceil_char_boundary(end);
        let masked = masked.get_or_insert_default();
        masked.push_str(&text[copied..at]);
        masked.push_str(MASK);
        (copied, at) = (end, end);
    }
    let mut masked = masked?;
    masked.push_str(&text[copied..]);
    Some(masked)
}

/// Where the form ends that is written at `at`, in any mixture of encodings; none if it is not written there. What begins
/// there and goes on to the text's end counts, unless it is short.
fn written(text: &[u8], at: usize, form: &str) -> Option<usize> {
    if !may_begin(text[at], form.as_bytes()[0]) {
        return None;
    }
    // A byte may be read in more than one way: `%25` is a percent sign, or three characters.
    let mut ends = vec![at];
    for (known, character) in form.char_indices() {
        if known >= SHORTEST_PART && ends.iter().any(|end| is_cut(&text[*end..])) {
            return Some(text.len());
        }
        let escaped = ends.iter().filter_map(|end| {
            let length = unicode_escape(&text[*end..], character)?;
            Some(end + length)
        });
        let mut whole: Vec<usize> = escaped.collect();
        let mut utf8 = [0; 4];
        for byte in character.encode_utf8(&mut utf8).bytes() {
            let mut next = Vec::with_capacity(1);
            for &end in &ends {
                for length in readings(&text[end..], byte) {
                    if !next.contains(&(end + length)) {
                        next.push(end + length);
                    }
                }
            }
            ends = next;
        }
        ends.append(&mut whole);
        if ends.is_empty() {
            return None;
        }
    }
    ends.into_iter().max()
}

/// Whether a text with this byte may hold a form that begins with that one: nearly all do not, and cost nothing more.
const fn may_begin(text: u8, form: u8) -> bool {
    text == form || matches!(text, b'%' | b'\\' | b'+')
}

/// Whether a text ends here, or within one way of writing a byte: it was cut.
fn is_cut(rest: &[u8]) -> bool {
    let hex = |digits: &[u8]| digits.iter().all(u8::is_ascii_hexdigit);
    match rest {
        [] | [b'\\'] => true,
        [b'%', digits @ ..] => digits.len() < 2 && hex(digits),
        [b'\\', b'x', digits @ ..] => digits.len() < 2 && hex(digits),
        [b'\\', b'u', digits @ ..] => digits.len() < 4 && hex(digits),
        // What is left of half a character.
        _ => rest == "\u{fffd}".as_bytes(),
    }
}

/// How many bytes of the text are this character as JSON escapes it.
fn unicode_escape(text: &[u8], character: char) -> Option<usize> {
    let mut units = [0; 2];
    let units = character.encode_utf16(&mut units);
    let mut rest = text;
    for unit in &*units {
        let [b'\\', b'u', digits @ ..] = rest else {
            return None;
        };
        let digits = digits.first_chunk::<4>()?;
        if hex(digits) != Some(u32::from(*unit)) {
            return None;
        }
        rest = &rest[6..];
    }
    Some(6 * units.len())
}

fn hex(digits: &[u8]) -> Option<u32> {
    let digits = std::str::from_utf8(digits).ok()?;
    u32::from_str_radix(digits, 16).ok()
}

/// How many bytes of the text may stand for this byte, in each way of writing it.
fn readings(text: &[u8], byte: u8) -> impl Iterator<Item = usize> + use<> {
    let plain = text.first() == Some(&byte);
    let form_space = byte == b' ' && text.first() == Some(&b'+');
    let percent = match text {
        [b'%', high, low, ..] => hex(&[*high, *low]) == Some(byte.into()),
        _ => false,
    };
    let escaped = match text {
        [b'\\', b'n', ..] => byte == b'\n',
        [b'\\', b'r', ..] => byte == b'\r',
        [b'\\', b't', ..] => byte == b'\t',
        [b'\\', other @ (b'"' | b'\\' | b'/' | b'\''), ..] => *other == byte,
        _ => false,
    };
    let numbered = match text {
        [b'\\', b'x', high, low, ..] => hex(&[*high, *low]) == Some(byte.into()),
        _ => false,
    };
    [
        (plain || form_space, 1),
        (percent, 3),
        (escaped, 2),
        (numbered, 4),
    ]
    .into_iter()
    .filter_map(|(reads, length)| reads.then_some(length))
}

/// Names only.
impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.values.iter().map(|(name, _)| name).collect();
        f.debug_tuple("Secrets").field(&names).finish()
    }
}

/// The value in base64 and hexadecimal: alone, and behind something else, as in `Basic ${b64('user:' + secrets.password)}`.
fn forms(value: &str) -> Vec<String> {
    use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
    let alone = [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD].map(|b64| b64.encode(value));
    let behind = (0..3).flat_map(|before| {
        [STANDARD_NO_PAD, URL_SAFE_NO_PAD].map(|b64| {
            let mut bytes = vec![0; before];
            bytes.extend_from_slice(value.as_bytes());
            let encoded = b64.encode(&bytes);
            // Without the characters that what stands before and behind has a part in.
            let from = [0, 2, 3][before];
            let to = encoded.len() - usize::from(bytes.len() % 3 != 0);
            encoded.get(from..to).unwrap_or_default().to_owned()
        })
    });
    let hex = [hex::encode(value), hex::encode_upper(value)];
    let forms = std::iter::once(value.to_owned()).chain(alone);
    forms.chain(behind).chain(hex).collect()
}

#[cfg(test)]
mod tests {
    use super::Secrets;

    #[test]
    fn masks_every_form_a_secret_goes_out_in() {
        let secrets = Secrets::new(vec![
            ("token".to_owned(), "p@ss word/1".to_owned()),
            ("pin".to_owned(), "1".to_owned()),
        ]);
        for (text, masked) in [
            ("Bearer p@ss word/1", "Bearer •••"),
            ("/x?t=p%40ss%20word%2F1&y=1", "/x?t=•••&y=1"),
            ("/x?t=p%40ss%20word%2f1", "/x?t=•••"),
            ("Basic cEBzcyB3b3JkLzE=", "Basic •••"),
            // A query, a form, a path as `url` writes it, a body of JSON, and a mixture.
            ("/x?t=p%40ss+word%2F1", "/x?t=•••"),
            ("t=p@ss+word/1&u=2", "t=•••&u=2"),
            ("GET /p@ss%20word/1/y", "GET /•••/y"),
            (r#"{"t":"p@ss word\/1"}"#, r#"{"t":"•••"}"#),
            (r"p\u0040ss%20word/1!", "•••!"),
            // Cut at its limit, and too short to be one.
            ("token p@ss wo", "token •••"),
            ("token p@s", "token p@s"),
            ("token p%40ss%20word%2", "token •••"),
            (r"token p@ss word\u00", "token •••"),
            ("token p@ss w\u{fffd}", "token •••"),
            // Encoded together with something else; what they share a character of base64 with shows nothing.
            ("70407373 7040737320776f72642f31", "70407373 •••"),
            ("é p@ss word/1 é", "é ••• é"),
            ("nothing", "nothing"),
        ] {
            assert_eq!(secrets.mask(text), masked);
        }
        let awkward = Secrets::new(vec![("s".to_owned(), "a%41\"\nb".to_owned())]);
        for text in ["a%41\"\nb", "a%2541%22%0Ab", r#"a%41\"\nb"#] {
            assert_eq!(awkward.mask(text), "•••");
        }
        for user in ["u", "us", "use", "user"] {
            use base64::Engine as _;
            let both =
                base64::engine::general_purpose::STANDARD.encode(format!("{user}:p@ss word/1!"));
            let masked = secrets.mask(&both);
            assert!(
                masked.contains("•••") && masked.len() < both.len() - 4,
                "{user}: {both} is {masked}"
            );
        }
        let umlaut = Secrets::new(vec![("s".to_owned(), "päss🔑wort".to_owned())]);
        for text in [
            "päss🔑wort",
            r"p\u00e4ss\ud83d\udd11wort",
            r"p\xc3\xa4ss\xf0\x9f\x94\x91wort",
        ] {
            assert_eq!(umlaut.mask(text), "•••");
        }
        assert_eq!(format!("{secrets:?}"), r#"Secrets(["token", "pin"])"#);
    }
}

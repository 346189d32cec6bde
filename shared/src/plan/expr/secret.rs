//! Values of a plan's secrets, and how they are kept out of what is written.

use std::borrow::Cow;
use std::fmt;
use std::fmt::Write as _;

use base64::Engine as _;

use super::value::Value;

/// What stands for a secret in reports and logs.
const MASK: &str = "•••";

/// Secrets shorter than this are not masked: they would hide half of every text.
const SHORTEST: usize = 3;

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

    /// The text without secrets in plain, percent-encoded or base64 form.
    #[must_use]
    pub fn mask<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut masked = Cow::Borrowed(text);
        for form in &self.forms {
            if masked.contains(form.as_str()) {
                masked = Cow::Owned(masked.replace(form.as_str(), MASK));
            }
        }
        masked
    }
}

/// Names only.
impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.values.iter().map(|(name, _)| name).collect();
        f.debug_tuple("Secrets").field(&names).finish()
    }
}

fn forms(value: &str) -> Vec<String> {
    use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
    let mut forms = vec![
        value.to_owned(),
        percent(value, "%{:02X}"),
        percent(value, "%{:02x}"),
    ];
    forms.extend(
        [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD].map(|b64| b64.encode(value)),
    );
    forms
}

fn percent(value: &str, case: &str) -> String {
    let mut encoded = String::with_capacity(value.len() * 3);
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let written = match case {
                "%{:02X}" => write!(encoded, "%{byte:02X}"),
                _ => write!(encoded, "%{byte:02x}"),
            };
            written.expect("writing to a string cannot fail");
        }
    }
    encoded
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
            ("nothing", "nothing"),
        ] {
            assert_eq!(secrets.mask(text), masked);
        }
        assert_eq!(format!("{secrets:?}"), r#"Secrets(["token", "pin"])"#);
    }
}

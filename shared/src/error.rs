//! Renders an error with everything that caused it. An error's own `Display` never prints its source, so whoever prints or
//! logs an error does it through [`Chain`].

use std::error::Error;
use std::fmt;

/// How many causes are printed. An error chain is made by hand and short; the bound is for a cycle.
const DEPTH_MAX: usize = 32;

/// Shows an error and its sources on one line: `failed to open job: connection refused`.
///
/// A source whose text its parent already ends with is not repeated: foreign errors often print their source.
#[derive(Debug, Clone, Copy)]
pub struct Chain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = one_line(self.0);
        f.write_str(&last)?;
        let mut source = self.0.source();
        for _ in 0..DEPTH_MAX {
            let Some(error) = source else { break };
            let text = one_line(error);
            if !text.is_empty() && !last.ends_with(&text) {
                write!(f, ": {text}")?;
                last = text;
            }
            source = error.source();
        }
        Ok(())
    }
}

fn one_line(error: &dyn Error) -> String {
    let text = error.to_string();
    if text.contains(['\n', '\r']) {
        return text.split_whitespace().collect::<Vec<_>>().join(" ");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Layer {
        text: &'static str,
        #[source]
        source: Option<Box<Layer>>,
    }

    fn layers(texts: &[&'static str]) -> Layer {
        let (text, rest) = texts.split_first().unwrap();
        let source = (!rest.is_empty()).then(|| Box::new(layers(rest)));
        Layer { text, source }
    }

    #[track_caller]
    fn check(texts: &[&'static str], expect: &str) {
        assert_eq!(Chain(&layers(texts)).to_string(), expect);
    }

    #[test]
    fn an_error_and_its_sources_are_one_line() {
        check(&["failed to open job"], "failed to open job");
        check(
            &["failed to open job", "transport error", "refused"],
            "failed to open job: transport error: refused",
        );
        check(
            &["request failed: refused", "refused"],
            "request failed: refused",
        );
        check(&["two\n  lines", "", "end"], "two lines: end");
    }
}

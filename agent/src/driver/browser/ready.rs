//! An action about to be done: its texts made from their templates, and its words for messages.

use std::borrow::Cow;

use testmesh_shared::plan::expr::{Scope, Template};
use url::Url;

use super::failure::Trouble;
use super::form::Action;
use crate::driver::contract::StageError;

/// An action with its texts made.
#[derive(Debug)]
pub(super) struct Ready<'a> {
    pub(super) action: &'a Action,
    pub(super) first: String,
    pub(super) second: String,
}

impl<'a> Ready<'a> {
    /// Makes them.
    pub(super) fn new(action: &'a Action, scope: &Scope<'_>) -> Result<Self, StageError> {
        let text = |of: &str, template: &Template| {
            let text = template.text(scope).map(Cow::into_owned);
            text.map_err(|error| StageError::template(of, &error))
        };
        let (first, second) = match action {
            Action::Open(path) => (text("open", path)?, String::new()),
            Action::Click(selector) => (text("click", selector)?, String::new()),
            Action::Fill { field, with } => (text("fill", field)?, text("with", with)?),
            Action::Select { list, option } => (text("select", list)?, text("option", option)?),
            Action::Press { on, .. } => {
                let on = on.as_ref().map(|on| text("on", on)).transpose()?;
                (on.unwrap_or_default(), String::new())
            }
            Action::Wait(wait) => (text(wait.kind, &wait.what)?, String::new()),
            Action::Eval { script, .. } => (text("eval", script)?, String::new()),
            Action::Screenshot(name) => (name.clone(), String::new()),
        };
        Ok(Self {
            action,
            first,
            second,
        })
    }

    /// What is done, in words.
    pub(super) fn doing(&self) -> String {
        let Self { first, second, .. } = self;
        match self.action {
            Action::Open(_) => format!("open `{first}`"),
            Action::Click(_) => format!("click `{first}`"),
            Action::Fill { .. } => format!("fill `{first}`"),
            Action::Select { .. } => format!("select `{second}` in `{first}`"),
            Action::Press { chord, on: None } => format!("press {}", chord.source),
            Action::Press { chord, .. } => format!("press {} on `{first}`", chord.source),
            Action::Wait(wait) => format!("wait for {} `{first}`", wait.kind),
            Action::Eval { name: None, .. } => "eval".to_owned(),
            Action::Eval {
                name: Some(name), ..
            } => format!("eval as {name}"),
            Action::Screenshot(name) => format!("screenshot {name}"),
        }
    }

    /// What it adds to that, for somebody who looks on.
    pub(super) fn more(&self) -> &str {
        match self.action {
            Action::Fill { .. } => &self.second,
            Action::Eval { .. } => &self.first,
            _ => "",
        }
    }
}

/// A path behind that of the base, or a whole URL.
pub(super) fn join(base: &str, path: &str) -> Result<Url, Trouble> {
    let whole = if path.starts_with("http://") || path.starts_with("https://") {
        Cow::Borrowed(path)
    } else {
        let base = base.trim_end_matches('/');
        Cow::Owned(format!("{base}/{}", path.trim_start_matches('/')))
    };
    Url::parse(&whole).map_err(|error| Trouble::Broken(format!("`{whole}` is no URL: {error}")))
}

/// A URL as messages show it.
pub(super) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // Only URLs without a host refuse this.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stand_behind_the_base() {
        let joined = |base, path| String::from(join(base, path).unwrap());
        assert_eq!(
            joined("http://x/ui/", "/live?a=1#b"),
            "http://x/ui/live?a=1#b"
        );
        assert_eq!(joined("http://x", ""), "http://x/");
        assert_eq!(joined("http://x/ui", "https://y/z"), "https://y/z");
        let url = Url::parse("http://me:pass@x/").unwrap();
        assert_eq!(shown(&url), "http://x/");
    }
}

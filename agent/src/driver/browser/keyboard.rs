//! Keys as plans name them, and the events that a keyboard makes of them.

use serde_json::{Value as Json, json};

/// A key with modifiers held down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chord {
    /// As the plan writes it.
    pub(super) source: String,
    modifiers: Vec<&'static Modifier>,
    key: Key,
}

#[derive(Debug, PartialEq, Eq)]
struct Modifier {
    name: &'static str,
    code: &'static str,
    virtual_key: u32,
    bit: u8,
}

static MODIFIERS: [Modifier; 4] = [
    modifier("Alt", "AltLeft", 18, 1),
    modifier("Control", "ControlLeft", 17, 2),
    modifier("Meta", "MetaLeft", 91, 4),
    modifier("Shift", "ShiftLeft", 16, 8),
];

const fn modifier(name: &'static str, code: &'static str, virtual_key: u32, bit: u8) -> Modifier {
    Modifier {
        name,
        code,
        virtual_key,
        bit,
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    key: String,
    code: String,
    virtual_key: u32,
    /// What it types; empty: nothing.
    text: String,
}

/// Keys with a name: the name, its virtual key, what it types.
const NAMED: &[(&str, u32, &str)] = &[
    ("ArrowDown", 40, ""),
    ("ArrowLeft", 37, ""),
    ("ArrowRight", 39, ""),
    ("ArrowUp", 38, ""),
    ("Backspace", 8, ""),
    ("Delete", 46, ""),
    ("End", 35, ""),
    ("Enter", 13, "\r"),
    ("Escape", 27, ""),
    ("F1", 112, ""),
    ("F2", 113, ""),
    ("F3", 114, ""),
    ("F4", 115, ""),
    ("F5", 116, ""),
    ("F6", 117, ""),
    ("F7", 118, ""),
    ("F8", 119, ""),
    ("F9", 120, ""),
    ("F10", 121, ""),
    ("F11", 122, ""),
    ("F12", 123, ""),
    ("Home", 36, ""),
    ("Insert", 45, ""),
    ("PageDown", 34, ""),
    ("PageUp", 33, ""),
    ("Tab", 9, ""),
];

impl Chord {
    /// Reads `Control+Shift+a`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        // The key may be a plus itself.
        let (held, key) = match text.strip_suffix("++") {
            Some(held) => (Some(held), "+"),
            None if text == "+" => (None, "+"),
            None => match text.rsplit_once('+') {
                Some((held, key)) => (Some(held), key),
                None => (None, text),
            },
        };
        let modifiers = held
            .into_iter()
            .flat_map(|held| held.split('+'))
            .map(|name| {
                MODIFIERS
                    .iter()
                    .find(|modifier| modifier.name == name)
                    .ok_or_else(|| format!("`{name}` in `{text}` is no modifier"))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            source: text.to_owned(),
            modifiers,
            key: Key::named(key).ok_or_else(|| format!("`{key}` is no key"))?,
        })
    }

    /// The parameters of `Input.dispatchKeyEvent` for all that happens, in its order.
    pub(super) fn events(&self) -> Vec<Json> {
        let mut held = 0;
        let mut events = Vec::new();
        for modifier in &self.modifiers {
            held |= modifier.bit;
            events.push(modifier.event("rawKeyDown", held));
        }
        // With one of these held, a key is a command and types nothing.
        let types = held & 0b111 == 0 && !self.key.text.is_empty();
        let mut down = self
            .key
            .event(if types { "keyDown" } else { "rawKeyDown" }, held);
        if types {
            down["text"] = Json::from(self.key.text.as_str());
        }
        if held == MODIFIERS[1].bit && self.key.key.eq_ignore_ascii_case("a") {
            // Chromium without a window system has no shortcuts of its own.
            down["commands"] = json!(["selectAll"]);
        }
        events.push(down);
        events.push(self.key.event("keyUp", held));
        for modifier in self.modifiers.iter().rev() {
            held &= !modifier.bit;
            events.push(modifier.event("keyUp", held));
        }
        events
    }
}

impl Modifier {
    fn event(&self, kind: &str, held: u8) -> Json {
        json!({
            "type": kind, "key": self.name, "code": self.code, "modifiers": held,
            "windowsVirtualKeyCode": self.virtual_key,
        })
    }
}

impl Key {
    fn named(name: &str) -> Option<Self> {
        let key = |key: &str, code: String, virtual_key: u32, text: &str| {
            Some(Self {
                key: key.to_owned(),
                code,
                virtual_key,
                text: text.to_owned(),
            })
        };
        if let Some((name, virtual_key, text)) = NAMED.iter().find(|(known, ..)| *known == name) {
            return key(name, (*name).to_owned(), *virtual_key, text);
        }
        if matches!(name, "Space" | " ") {
            return key(" ", "Space".to_owned(), 32, " ");
        }
        let mut characters = name.chars();
        let character = characters.next().filter(|_| characters.next().is_none())?;
        if character.is_control() {
            return None;
        }
        let upper = character.to_ascii_uppercase();
        let code = match upper {
            'A'..='Z' => format!("Key{upper}"),
            '0'..='9' => format!("Digit{upper}"),
            _ => String::new(),
        };
        let virtual_key = if code.is_empty() { 0 } else { u32::from(upper) };
        key(name, code, virtual_key, name)
    }

    fn event(&self, kind: &str, held: u8) -> Json {
        json!({
            "type": kind, "key": self.key, "code": self.code, "modifiers": held,
            "windowsVirtualKeyCode": self.virtual_key,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<(String, String, u64)> {
        let chord = Chord::parse(text).unwrap();
        let said = |event: &Json, key: &str| event[key].as_str().unwrap().to_owned();
        let events = chord.events();
        let each = events.iter().map(|event| {
            let modifiers = event["modifiers"].as_u64().unwrap();
            (said(event, "type"), said(event, "key"), modifiers)
        });
        each.collect()
    }

    #[test]
    fn modifiers_are_held_around_their_key() {
        let expect = [
            ("rawKeyDown", "Control", 2),
            ("rawKeyDown", "Shift", 10),
            ("rawKeyDown", "k", 10),
            ("keyUp", "k", 10),
            ("keyUp", "Shift", 2),
            ("keyUp", "Control", 0),
        ];
        let expect = expect.map(|(kind, key, held)| (kind.to_owned(), key.to_owned(), held));
        assert_eq!(kinds("Control+Shift+k"), expect);
    }

    #[test]
    fn keys_type_what_they_stand_for() {
        for (key, text) in [
            ("Enter", "\r"),
            ("a", "a"),
            ("+", "+"),
            ("ß", "ß"),
            ("Space", " "),
        ] {
            let events = Chord::parse(key).unwrap().events();
            assert_eq!(events[0]["text"], text, "{key}");
        }
        assert_eq!(
            Chord::parse("Escape").unwrap().events()[0].get("text"),
            None
        );
        assert_eq!(kinds("Shift++")[1].1, "+");
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for text in ["", "Entr", "Ctrl+a", "Control+", "a+b"] {
            assert!(Chord::parse(text).is_err(), "{text}");
        }
    }
}

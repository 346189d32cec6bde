//! Words that belong to one machine or to yesterday, in any file.

use super::{Complaint, Source};

/// No path of one person's machine, and no note to oneself.
pub(super) fn belongs(source: &Source) -> Vec<Complaint> {
    // Written in parts, or this file would complain about itself.
    let paths = [
        ["/wo", "rk/"].concat(),
        ["/ho", "me/"].concat(),
        ["/ro", "ot/"].concat(),
        ["C:\\", "Users"].concat(),
    ];
    let notes = [
        ["TO", "DO"].concat(),
        ["FIX", "ME"].concat(),
        ["X", "XX"].concat(),
    ];
    let mut complaints = Vec::new();
    for (number, line) in source.lines() {
        if let Some(path) = paths.iter().find(|path| has_place(line, path)) {
            complaints
                .push(source.complain(number, &format!("`{path}` is a place on one machine")));
        }
        if let Some(note) = notes.iter().find(|note| has_word(line, note)) {
            complaints.push(source.complain(
                number,
                &format!("`{note}` belongs in an issue, or is done now"),
            ));
        }
    }
    complaints
}

/// Whether a path of the line starts so: a folder of that name in the middle of one is another.
fn has_place(line: &str, place: &str) -> bool {
    line.match_indices(place)
        .any(|(at, _)| !line[..at].ends_with(|before: char| before.is_alphanumeric()))
}

fn has_word(line: &str, word: &str) -> bool {
    line.split(|character: char| !character.is_alphanumeric() && character != '_')
        .any(|found| found == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_and_notes_are_found_and_other_words_are_not() {
        let text = [
            "see /ho",
            "me/me\n// TO",
            "DO later\nlet AUTODOCS = 1;\nfocus/ro",
            "ot/recordings\n",
        ]
        .concat();
        let complaints = belongs(&Source {
            path: "a.rs".to_owned(),
            text,
        });
        assert_eq!(
            complaints
                .iter()
                .map(|complaint| complaint.line)
                .collect::<Vec<_>>(),
            [1, 2]
        );
    }
}

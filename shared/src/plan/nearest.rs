//! "Did you mean …?": the known name that a wrong one is closest to.

/// How many known names are looked at: a hint is not worth a minute of a plan with thousands.
const MOST: usize = 1_000;

/// The nearest of `known` to `name`, if it is near enough to have been meant.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name: Vec<char> = name.chars().take(64).flat_map(char::to_lowercase).collect();
    let most = match name.len() {
        0..=2 => 1,
        3..=5 => 2,
        _ => 3,
    };
    known
        .into_iter()
        .take(MOST)
        .map(|known| {
            (
                distance(&name, &known.to_lowercase().chars().collect::<Vec<_>>()),
                known,
            )
        })
        .filter(|(distance, known)| *distance <= most && *distance < known.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// How many letters to insert, delete, replace or swap with their neighbour.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before_last[j - 2] + 1);
            }
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn finds_what_was_meant_and_nothing_else() {
        let known = ["stages", "cleanup", "sites", "load", "warm_up", "get"];
        assert_eq!(nearest("stage", known), Some("stages"));
        assert_eq!(nearest("satges", known), Some("stages"));
        assert_eq!(nearest("warmup", known), Some("warm_up"));
        assert_eq!(nearest("GET", known), Some("get"));
        assert_eq!(nearest("thresholds", known), None);
        assert_eq!(nearest("", known), None);
    }
}

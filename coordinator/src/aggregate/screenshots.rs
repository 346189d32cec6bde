//! Pictures that findings of a run have: files of its report, bounded in number and size.
use crate::limits;

/// How every PNG begins.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

/// The pictures of one run, by the name of their file.
#[derive(Debug, Default)]
pub(super) struct Screenshots {
    files: Vec<(String, Vec<u8>)>,
    bytes: usize,
}

impl Screenshots {
    /// Keeps a picture of a finding in that stage. Returns the name of its file; none: it is no picture, or there is no place
    /// for it.
    pub(super) fn keep(&mut self, stage: Option<&str>, picture: &[u8]) -> Option<String> {
        let fits = self.files.len() < limits::MAX_SCREENSHOTS
            && picture.len() <= limits::MAX_SCREENSHOT_BYTES
            && self.bytes + picture.len() <= limits::MAX_SCREENSHOTS_BYTES;
        if !fits || !picture.starts_with(PNG) {
            return None;
        }
        // A stage's name comes over the wire: it must not lead elsewhere.
        let stage: String = stage
            .unwrap_or("stage")
            .chars()
            .take(60)
            .map(|c| {
                if c.is_ascii_alphanumeric() || c == '-' {
                    c
                } else {
                    '_'
                }
            })
            .collect();
        let name = format!("screenshots/{:03}-{stage}.png", self.files.len() + 1);
        self.bytes += picture.len();
        self.files.push((name.clone(), picture.to_vec()));
        Some(name)
    }

    /// All of them.
    pub(super) fn take(&mut self) -> Vec<(String, Vec<u8>)> {
        std::mem::take(&mut self.files)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_have_safe_names_and_are_bounded() {
        let mut kept = Screenshots::default();
        let picture = [PNG, &[0; 100]].concat();
        let name = kept.keep(Some("../../etc/x y"), &picture);
        assert_eq!(name.as_deref(), Some("screenshots/001-______etc_x_y.png"));
        assert_eq!(kept.keep(None, b"<html>"), None, "it is no picture");
        let large = [PNG, &vec![0; limits::MAX_SCREENSHOT_BYTES]].concat();
        assert_eq!(kept.keep(None, &large), None);
        for _ in 0..2 * limits::MAX_SCREENSHOTS {
            kept.keep(None, &picture);
        }
        let files = kept.take();
        assert_eq!(files.len(), limits::MAX_SCREENSHOTS);
        assert_eq!(files[1].0, "screenshots/002-stage.png");
    }
}

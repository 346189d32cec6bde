//! Laws: nothing that is read, however broken, panics or hangs the reader.

use proptest::prelude::*;

use super::accept::LIVE_VIEW;
use super::fake::read;

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_text_gives_a_plan_or_problems(text in "(?s).{0,400}") {
        if let Err(problems) = read(&text, &[]) {
            prop_assert!(!problems.is_empty());
        }
    }

    #[test]
    fn text_like_a_plan_gives_a_plan_or_problems(
        text in "(testmesh|name|vars|stages|load|x|&a|\\*a|!t|\\$\\{|\\}|\\{|\\[|\\]|: |- |,|'|\"|#|\\||>|\n|\n  |\n    |1){0,80}",
    ) {
        if let Err(problems) = read(&text, &[]) {
            prop_assert!(!problems.is_empty());
        }
    }

    #[test]
    fn a_damaged_plan_gives_a_plan_or_problems(at in 0..LIVE_VIEW.len(), cut in 0_usize..40, put in "[ -~\n]{0,6}") {
        let mut text = LIVE_VIEW.to_owned();
        text.replace_range(at..(at + cut).min(LIVE_VIEW.len()), &put);
        if let Err(problems) = read(&text, &[]) {
            prop_assert!(!problems.is_empty());
            for problem in &problems {
                prop_assert!(problem.span.start.line >= 1 && problem.span.start <= problem.span.end, "{problem:?}");
                prop_assert!(problem.hint.is_some() || problem.message.contains("expression"), "{problem:?}");
            }
            // Rendering takes every place.
            let _ = crate::plan::render(&problems, &text, crate::plan::Colour::Never);
        }
    }
}

//! What a benchmark found: a Markdown table of every client's figures, and which of its limits are met.

use std::fmt::Write as _;

/// The client that limits are about, and that ratios are taken against.
pub(crate) const TESTMESH: &str = "testmesh";

/// What a benchmark measures, for the table's head.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quantity {
    /// What one figure is.
    pub(crate) what: &'static str,
    pub(crate) unit: &'static str,
    /// What a client was given to do.
    pub(crate) work: &'static str,
    /// Digits behind the point.
    pub(crate) digits: usize,
}

/// All figures of one client, one for each round.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) client: String,
    pub(crate) does: String,
    pub(crate) work: String,
    pub(crate) values: Vec<f64>,
}

/// A limit that decides.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Must {
    /// The figure of one client is at most this many times that of another.
    Times {
        /// Whose figure is limited.
        ours: &'static str,
        client: &'static str,
        at_most: f64,
        /// As it is written, such as "1/40".
        said: &'static str,
    },
    /// At most this, in the unit of the table.
    AtMost(f64),
}

/// One benchmark's results.
#[derive(Debug)]
pub(crate) struct Figures {
    pub(crate) title: String,
    pub(crate) quantity: Quantity,
    pub(crate) lines: Vec<Line>,
    pub(crate) musts: Vec<Must>,
}

/// A limit beside what was measured.
#[derive(Debug, PartialEq)]
struct Judged {
    must: String,
    measured: String,
    met: bool,
}

impl Line {
    /// Least, median and greatest.
    fn spread(&self) -> (f64, f64, f64) {
        let mut values = self.values.clone();
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        (
            at(0),
            at(values.len() / 2),
            at(values.len().saturating_sub(1)),
        )
    }
}

impl Figures {
    /// The section: a heading, the table, and the limits.
    pub(crate) fn render(&self) -> String {
        let Quantity {
            what,
            unit,
            work,
            digits,
        } = self.quantity;
        let mut text = format!(
            "## {}\n\n| client | does | {work} | {what}, median (least to greatest) | ratio to testmesh |\n\
             | --- | --- | --- | --- | --- |\n",
            self.title
        );
        // Several figures of ours alone are no ratios.
        let reference = self.median(TESTMESH).filter(|_| self.has_others());
        for line in &self.lines {
            let (least, median, greatest) = line.spread();
            let ratio = reference.map_or_else(
                || "-".to_owned(),
                |reference| format!("{:.2}", median / reference),
            );
            let _infallible = writeln!(
                text,
                "| {} | {} | {} | {median:.digits$} {unit} ({least:.digits$} to {greatest:.digits$}) | {ratio} |",
                line.client, line.does, line.work,
            );
        }
        let judged = self.judged();
        if !judged.is_empty() {
            text.push_str("\n| must | measured | met |\n| --- | --- | --- |\n");
        }
        for Judged {
            must,
            measured,
            met,
        } in judged
        {
            let met = if met { "yes" } else { "**no**" };
            let _infallible = writeln!(text, "| {must} | {measured} | {met} |");
        }
        text
    }

    /// A line for each limit that is missed.
    pub(crate) fn missed(&self) -> Vec<String> {
        let missed = self.judged().into_iter().filter(|judged| !judged.met);
        missed
            .map(|judged| {
                format!(
                    "{}: must be {}, is {}",
                    self.title, judged.must, judged.measured
                )
            })
            .collect()
    }

    /// Limits against clients that were not measured are left out.
    fn judged(&self) -> Vec<Judged> {
        let Some(ours) = self.median(TESTMESH) else {
            return Vec::new();
        };
        let judge = |must: &Must| match *must {
            Must::AtMost(most) => Some(Judged {
                must: format!("≤ {most} {}", self.quantity.unit),
                measured: format!("{ours:.*} {}", self.quantity.digits, self.quantity.unit),
                met: ours <= most,
            }),
            Must::Times {
                ours: whose,
                client,
                at_most,
                said,
            } => {
                let ours = self.median(whose)?;
                let theirs = self.median(client)?;
                let measured = if at_most < 1.0 {
                    format!("1/{:.1}", theirs / ours)
                } else {
                    format!("{:.2}", ours / theirs)
                };
                Some(Judged {
                    must: if whose == TESTMESH {
                        format!("≤ {said} × {client}")
                    } else {
                        format!("{whose}: ≤ {said} × {client}")
                    },
                    measured,
                    met: ours <= at_most * theirs,
                })
            }
        };
        self.musts.iter().filter_map(judge).collect()
    }

    fn has_others(&self) -> bool {
        let mut clients = self.lines.iter().map(|line| &line.client);
        clients.any(|client| !client.starts_with(TESTMESH))
    }

    fn median(&self, client: &str) -> Option<f64> {
        let line = self.lines.iter().find(|line| line.client == client)?;
        Some(line.spread().1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(ours: &[f64], theirs: &[f64]) -> Figures {
        let line = |client: &str, values: &[f64]| Line {
            client: client.to_owned(),
            does: "things".to_owned(),
            work: "2 and 10".to_owned(),
            values: values.to_vec(),
        };
        let quantity = Quantity {
            what: "CPU per thing",
            unit: "µs",
            work: "things",
            digits: 2,
        };
        let times = |at_most, said| Must::Times {
            ours: TESTMESH,
            client: "other",
            at_most,
            said,
        };
        let absent = Must::Times {
            ours: TESTMESH,
            client: "absent",
            at_most: 1.0,
            said: "1",
        };
        Figures {
            title: "Things".to_owned(),
            quantity,
            lines: vec![line(TESTMESH, ours), line("other", theirs)],
            musts: vec![
                times(0.25, "1/4"),
                times(1.5, "1.5"),
                Must::AtMost(2.0),
                absent,
            ],
        }
    }

    #[test]
    fn medians_decide_and_are_compared_with_ours() {
        let figures = figures(&[9.0, 1.0, 2.0], &[1.0, 4.0, 80.0]);
        assert_eq!(
            figures.render(),
            "## Things\n\n\
             | client | does | things | CPU per thing, median (least to greatest) | ratio to testmesh |\n\
             | --- | --- | --- | --- | --- |\n\
             | testmesh | things | 2 and 10 | 2.00 µs (1.00 to 9.00) | 1.00 |\n\
             | other | things | 2 and 10 | 4.00 µs (1.00 to 80.00) | 2.00 |\n\n\
             | must | measured | met |\n| --- | --- | --- |\n\
             | ≤ 1/4 × other | 1/2.0 | **no** |\n\
             | ≤ 1.5 × other | 0.50 | yes |\n\
             | ≤ 2 µs | 2.00 µs | yes |\n"
        );
    }

    #[test]
    fn a_missed_limit_is_told_with_its_benchmark() {
        let missed = figures(&[2.0], &[4.0]).missed();
        assert_eq!(missed, ["Things: must be ≤ 1/4 × other, is 1/2.0"]);
        assert_eq!(
            figures(&[], &[4.0]).missed().len(),
            3,
            "no figure is no pass"
        );
    }
}

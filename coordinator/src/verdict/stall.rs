//! What agents that stood still could have added to what they measured.
//!
//! A loop that stands still seldom but long leaves the percentiles of its lag as they are, and yet every session in flight
//! waits for it. So a broken threshold is not held against the server if it would hold without what the stalls can have
//! added. A measurement of length v overlaps a stall of length s only if it began within the v + s before the stall's end, so
//! of measurements spread over a time T no greater share than the sum of (v + s) / T is longer than it should be, and none by
//! more than all stalls together.
use super::input::{Input, Process, Reading};
use super::reach::Reach;
use super::sample::{Sample, seconds};
use crate::aggregate::{Selector, Span, to_f64};
use crate::report::model::Reason;
use crate::verdict::ReasonCode;
use std::time::Duration;
use testmesh_shared::metric::{Kind, LOOP_LAG_EVERY, MetricId};
use testmesh_shared::plan::model::Agg;

/// How late the loop of an agent with a process of its own may run.
const LOOP_LAG_APART: Duration = Duration::from_millis(20);
/// The same where coordinator, agents and perhaps the server share one process.
const LOOP_LAG_SHARED: Duration = Duration::from_millis(100);

/// How late the loops of agents may run in this run.
pub(super) fn lag_limit(input: &Input<'_>) -> Duration {
    input
        .rules
        .agent_loop_lag_p99
        .unwrap_or(match input.process {
            Process::Shared => LOOP_LAG_SHARED,
            Process::Apart => LOOP_LAG_APART,
        })
}

/// How often and how long the agent stood still that did so for the greatest share of its time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stalls {
    agent: String,
    /// How often, over all loops of the agent.
    times: u64,
    /// How long in all, in seconds, over all loops.
    total: f64,
    /// The longest, in seconds.
    longest: f64,
    /// How long its loops were watched, in seconds, added up.
    watched: f64,
    /// How long each was watched.
    run: f64,
}

impl Stalls {
    /// Lags of a loop beyond the run's limit are stalls.
    pub fn of(input: &Input<'_>) -> Self {
        let limit = u64::try_from(lag_limit(input).as_nanos()).unwrap_or(u64::MAX);
        let run = input.duration.as_secs_f64();
        let each = input.agents.iter().map(|agent| {
            let selector = Selector::all().with("agent", agent);
            let lag = input
                .totals
                .trend(MetricId::AgentLoopLag, &selector, Span::JUDGED);
            let late = lag.iter().filter(|(upper, _)| *upper > limit);
            let (times, total) = late.fold((0, 0.0), |(times, total), (upper, count)| {
                (times + count, total + seconds(upper) * to_f64(count))
            });
            Self {
                agent: agent.clone(),
                times,
                total,
                longest: seconds(lag.max_ns().unwrap_or(0)),
                watched: to_f64(lag.count()) * LOOP_LAG_EVERY.as_secs_f64()
                    + lag.mean_ns().unwrap_or(0.0) / 1e9 * to_f64(lag.count()),
                run,
            }
        });
        each.max_by(|one, other| one.share().total_cmp(&other.share()))
            .unwrap_or_default()
    }

    /// The share of its time in which the agent stood still.
    fn share(&self) -> f64 {
        if self.watched > 0.0 {
            (self.total / self.watched).min(1.0)
        } else {
            0.0
        }
    }

    /// The most that they can have added to one measurement, in seconds: all stalls of one loop.
    fn most(&self) -> f64 {
        let loops = (self.watched / self.run.max(LOOP_LAG_EVERY.as_secs_f64()))
            .round()
            .max(1.0);
        (self.total / loops).max(self.longest)
    }

    /// The reason, should they matter.
    pub fn reason(&self) -> Reason {
        let message = format!(
            "the loop of agent {} stood still {} times, for {:.2} s in all and up to {:.2} s, without which thresholds could have held",
            self.agent, self.times, self.total, self.longest
        );
        Reason {
            code: ReasonCode::GeneratorSaturated,
            message,
        }
    }

    /// What the value of a reading could have been without them. `over`: of a sliding threshold, the seconds of its span, in which
    /// all of the stalls may have been.
    pub(super) fn reach(
        &self,
        reading: &Reading,
        sample: &Sample,
        over: Option<f64>,
        value: f64,
    ) -> Reach {
        let metric = reading.metric.metric();
        if self.times == 0 || metric.is_of_agent() {
            return Reach::only(value);
        }
        let time = match over {
            Some(over) if self.run > 0.0 => self.watched * (over / self.run).min(1.0),
            _ => self.watched,
        };
        if reading.agg == Agg::PerSecond {
            let moving = (1.0 - self.total / time.max(self.total)).max(f64::MIN_POSITIVE);
            return Reach {
                low: value,
                high: value / moving,
            };
        }
        if metric.kind != Kind::Trend || reading.agg == Agg::Count {
            return Reach::only(value);
        }
        let touched = ((self.total + to_f64(self.times) * value) / time).min(1.0);
        let least = (value - self.most()).max(0.0);
        let low = match reading.agg {
            Agg::Percentile(percent) => {
                let percent = percent - touched * 100.0;
                let unhindered = sample.trend.percentile(percent.max(0.0)).unwrap_or(0);
                let unhindered = if percent > 0.0 {
                    seconds(unhindered)
                } else {
                    0.0
                };
                unhindered.max(least)
            }
            Agg::Min if touched < 1.0 => value,
            Agg::Mean => (value - touched * self.most()).max(0.0),
            Agg::Sum => {
                let added = touched * to_f64(sample.trend.count()) * self.most();
                (value - added).max(0.0)
            }
            _ => least,
        };
        Reach {
            low: low.min(value),
            high: value,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::case::Case;
    use super::super::input::Operand;
    use testmesh_shared::plan::model::Op;

    use super::*;

    /// Durations of 100 ms, ten of which took a second: p99 is 1 s, and the loop stood still so often for 900 ms.
    fn case(times: u32) -> Case {
        let mut case = Case::healthy();
        case.totals = crate::aggregate::Totals::default();
        case.took("configure", "passed", 990, 100)
            .took("configure", "passed", 10, 1_000)
            .lag(10_000, 1);
        if times > 0 {
            case.lag(times, 900);
        }
        case
    }

    fn with(times: u32, agg: Agg, op: Op, limit: f64) -> Case {
        let mut case = case(times);
        case.threshold(MetricId::StageDuration, agg, op, limit);
        case
    }

    #[test]
    fn a_stall_excuses_what_it_can_explain() {
        const P999: Agg = Agg::Percentile(99.9);
        with(0, P999, Op::Less, 0.5).check("failed 100 threshold_broken");
        with(1, P999, Op::Less, 0.5).check("inconclusive 10 generator_saturated");
        // It lasted 900 ms: that is not enough for this.
        with(1, P999, Op::Less, 0.05).check("failed 100 threshold_broken");
        with(1, Agg::Max, Op::Less, 0.5).check("inconclusive 10 generator_saturated");
        with(1, Agg::Max, Op::Less, 0.05).check("failed 100 threshold_broken");
        // What holds all the same is no worse for it.
        with(1, P999, Op::Less, 2.0).check("passed 0");
    }

    #[test]
    fn a_seldom_stall_explains_no_common_slowness() {
        // One in a hundred seconds touches 2 % at most, however long it was.
        with(1, Agg::Percentile(50.0), Op::Less, 0.05).check("failed 100 threshold_broken");
        with(1, Agg::Min, Op::Less, 0.05).check("failed 100 threshold_broken");
        with(1, Agg::Mean, Op::Less, 0.05).check("failed 100 threshold_broken");
        with(1, Agg::Mean, Op::Less, 0.105).check("inconclusive 10 generator_saturated");
    }

    #[test]
    fn a_rate_per_second_may_be_that_much_higher() {
        let rate = |limit: f64| {
            let mut case = with(20, Agg::PerSecond, Op::Greater, 0.0);
            let value = case.judge().thresholds[1].observed.unwrap();
            case.rules.criteria[1].right = Operand::Value(value * limit);
            case
        };
        rate(0.9).check("passed 0");
        rate(1.1).check("inconclusive 10 generator_saturated");
        rate(2.0).check("failed 100 threshold_broken");
    }

    #[test]
    fn a_count_is_what_it_is() {
        with(1, Agg::Count, Op::Less, 10.0).check("failed 100 threshold_broken");
    }
}

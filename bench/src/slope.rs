//! The method: what a unit of work costs is the slope between two amounts of it, so that start-up and reports cancel
//! out; clients take turns, so that what else the machine does meets all of them.

use std::process::Command;

use anyhow::{Context as _, Result};
use xtask::process::say;

use crate::cpu;
use crate::figures::Line;

/// What every benchmark can be told.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Effort {
    /// Rounds; in each, every client runs once.
    #[arg(long, default_value_t = 5)]
    pub(crate) rounds: u32,
    /// A fraction of the work: shows that everything runs, not what it costs.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Only clients whose name contains this.
    #[arg(long, default_value = "")]
    pub(crate) only: String,
}

impl Effort {
    /// The amounts for a full benchmark, or a fraction of them for a quick look.
    pub(crate) fn amounts(&self, full: (u64, u64), quick: u64) -> (u64, u64) {
        let divisor = if self.quick { quick } else { 1 };
        (full.0 / divisor, full.1 / divisor)
    }

    /// The clients that are wanted, built and installed.
    pub(crate) fn prepare<C>(&self, all: &[Preparation<'_, C>]) -> Result<Vec<C>> {
        let wanted = all.iter().filter(|one| one.name.contains(&self.only));
        let mut clients = Vec::new();
        for Preparation {
            name,
            need,
            prepare,
        } in wanted
        {
            match (prepare(), need) {
                (Ok(client), _) => clients.push(client),
                (Err(error), Need::Nice) => {
                    say(&format!("note: going on without {name}: {error:#}"));
                }
                (Err(error), Need::Must) => return Err(error),
            }
        }
        anyhow::ensure!(
            !clients.is_empty(),
            "no client's name contains `{}`",
            self.only
        );
        Ok(clients)
    }
}

/// A client's name, and how it is built or installed.
pub(crate) struct Preparation<'a, C> {
    pub(crate) name: &'static str,
    pub(crate) need: Need,
    pub(crate) prepare: &'a dyn Fn() -> Result<C>,
}

/// What it means that a client cannot be had.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Need {
    /// The benchmark fails.
    Must,
    /// The benchmark goes on without it, and says so.
    Nice,
}

/// A client that can be started for an amount of work.
pub(crate) struct Client {
    pub(crate) name: &'static str,
    /// What it does with a unit of work, for the table.
    pub(crate) does: &'static str,
    /// The two amounts that a slope is taken between.
    pub(crate) amounts: (u64, u64),
    /// The command that works on the server at an address, so much.
    pub(crate) command: Box<Start>,
}

/// How a client is started: the server's address, and an amount.
type Start = dyn Fn(&str, u64) -> Result<Command>;

/// One run of one client: the cost of two amounts of work.
#[derive(Debug, Clone, Copy)]
struct Pair {
    small: (u64, f64),
    large: (u64, f64),
}

impl Pair {
    fn slope(&self) -> f64 {
        (self.large.1 - self.small.1) / as_f64(self.large.0.saturating_sub(self.small.0))
    }
}

/// Lets the clients take turns, and gives the slopes of what `cost` measures.
pub(crate) fn in_turn(
    clients: &[Client],
    effort: &Effort,
    mut cost: impl FnMut(&Client, u64) -> Result<f64>,
) -> Result<Vec<Line>> {
    let mut lines: Vec<_> = clients.iter().map(line).collect();
    for round in 1..=effort.rounds {
        for (client, line) in clients.iter().zip(&mut lines) {
            let mut at = |amount| -> Result<_> {
                let cost = cost(client, amount);
                Ok((
                    amount,
                    cost.with_context(|| format!("{} gave no figure", client.name))?,
                ))
            };
            let pair = Pair {
                small: at(client.amounts.0)?,
                large: at(client.amounts.1)?,
            };
            say(&format!(
                "round {round}, {}: {:.0} for {}, {:.0} for {}: {:.4} each",
                client.name,
                pair.small.1,
                pair.small.0,
                pair.large.1,
                pair.large.0,
                pair.slope()
            ));
            line.values.push(pair.slope());
        }
    }
    Ok(lines)
}

/// Microseconds of CPU of a client's process.
pub(crate) fn cpu_us(client: &Client, address: &str, amount: u64) -> Result<f64> {
    let cpu = cpu::of(&mut (client.command)(address, amount)?)?;
    Ok(cpu.as_secs_f64() * 1e6)
}

fn line(client: &Client) -> Line {
    let (small, large) = client.amounts;
    Line {
        client: client.name.to_owned(),
        does: client.does.to_owned(),
        work: format!("{} and {}", short(small), short(large)),
        values: Vec::new(),
    }
}

/// A number as people say it.
fn short(amount: u64) -> String {
    match amount {
        0..10_000 => amount.to_string(),
        10_000..1_000_000 => format!("{} k", as_f64(amount) / 1e3),
        1_000_000.. => format!("{} M", as_f64(amount) / 1e6),
    }
}

/// Exact below 2^53, which no benchmark reaches.
pub(crate) fn as_f64(number: u64) -> f64 {
    let high = u32::try_from(number >> 32).unwrap_or(u32::MAX);
    let low = u32::try_from(number & u64::from(u32::MAX)).unwrap_or(u32::MAX);
    f64::from(high) * 4_294_967_296.0 + f64::from(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effort(only: &str) -> Effort {
        Effort {
            rounds: 2,
            quick: true,
            only: only.to_owned(),
        }
    }

    fn client(name: &'static str) -> Client {
        Client {
            name,
            does: "nothing",
            amounts: effort("").amounts((100_000, 5_000_000), 2),
            command: Box::new(|_, _| Ok(Command::new("true"))),
        }
    }

    #[test]
    fn start_up_cancels_out_and_each_round_gives_a_figure() {
        let clients = [client("slow"), client("fast")];
        let cost = |client: &Client, amount| {
            let each = if client.name == "slow" { 0.5 } else { 0.25 };
            Ok(7e6 + each * as_f64(amount))
        };
        let lines = in_turn(&clients, &effort(""), cost).unwrap();
        assert_eq!(lines[0].work, "50 k and 2.5 M");
        assert_eq!(
            (&*lines[0].client, &*lines[0].values),
            ("slow", &[0.5, 0.5][..])
        );
        assert_eq!(
            (&*lines[1].client, &*lines[1].values),
            ("fast", &[0.25, 0.25][..])
        );
    }

    #[test]
    fn only_a_client_that_is_nice_to_have_may_be_missing() {
        let fails = || anyhow::bail!("it cannot be had");
        let works = || Ok(client("works"));
        let one = |name, need, prepare| Preparation {
            name,
            need,
            prepare,
        };
        let nice = [
            one("nice", Need::Nice, &fails as &dyn Fn() -> Result<Client>),
            one("works", Need::Must, &works),
        ];
        assert_eq!(effort("").prepare(&nice).unwrap().len(), 1);
        assert!(effort("other").prepare(&nice).is_err());
        let must = [one(
            "must",
            Need::Must,
            &fails as &dyn Fn() -> Result<Client>,
        )];
        assert!(effort("mu").prepare(&must).is_err());
    }

    #[test]
    fn large_numbers_stay_exact() {
        assert!((as_f64(5_000_000_000) - 5e9).abs() < f64::EPSILON);
    }
}

//! What the agent knows of its own process: CPU and memory, from the kernel's accounting.

use std::time::Duration;

use tokio::time::Instant;

/// Reads the vitals of this process.
#[derive(Clone, Debug)]
pub struct Vitals {
    last: Option<(Instant, Duration)>,
    cores: f64,
}

/// CPU and memory of this process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reading {
    /// Share of the CPU quota used since the last reading, 0 to 1. 0 at the first.
    pub cpu: f64,
    /// Resident memory, in bytes.
    pub memory: u64,
}

impl Default for Vitals {
    fn default() -> Self {
        Self::new()
    }
}

impl Vitals {
    /// A reader that has not read yet. The quota is what the system grants this process, in whole cores.
    pub fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            last: None,
            cores: f64::from(u32::try_from(cores).unwrap_or(u32::MAX)),
        }
    }

    /// Reads now. Where the system does not tell (it does on Linux), values are 0.
    pub fn read(&mut self) -> Reading {
        let now = Instant::now();
        let used = cpu_time().unwrap_or_default();
        let cpu = match self.last.replace((now, used)) {
            Some((before, then)) if now > before => {
                let share = used.saturating_sub(then).as_secs_f64()
                    / (now - before).as_secs_f64()
                    / self.cores;
                share.clamp(0.0, 1.0)
            }
            _ => 0.0,
        };
        Reading {
            cpu,
            memory: memory().unwrap_or_default(),
        }
    }
}

/// User and system time of the process. `/proc` counts in ticks of 1/100 s on every architecture we run on.
fn cpu_time() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the name in parentheses, and may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(Duration::from_millis((ticks(11)? + ticks(12)?) * 10))
}

fn memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_memory_and_at_most_its_quota() {
        let mut vitals = Vitals::new();
        let first = vitals.read();
        assert!(first.memory > 1_000_000, "{first:?}");
        let second = vitals.read();
        assert!((0.0..=1.0).contains(&second.cpu), "{second:?}");
    }
}

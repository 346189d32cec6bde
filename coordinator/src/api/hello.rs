//! Who may speak to this coordinator: checks the first message of a link. Pure.
use crate::limits;
use crate::registry::{Hello, Vitals};
use std::collections::{BTreeMap, BTreeSet};
use testmesh_proto::{PROTOCOL, v1};
use testmesh_shared::id::Epoch;

/// Why a link is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum HelloError {
    /// The first message was another one, or none came.
    #[error("a link begins with Hello within {} seconds", limits::HELLO_TIMEOUT.as_secs())]
    Absent,
    /// The protocols do not meet.
    #[error(
        "agent {agent} (testmesh {version}) speaks protocol {min} to {max}, this coordinator (testmesh {}) speaks protocol {PROTOCOL}: run the same version on both",
        env!("CARGO_PKG_VERSION")
    )]
    Protocol {
        /// The agent.
        agent: String,
        /// Its version.
        version: String,
        /// The least protocol that it speaks.
        min: u32,
        /// The greatest.
        max: u32,
    },
    /// A name that is none.
    #[error("{0}")]
    Name(String),
    /// Labels or drivers without bound.
    #[error(
        "an agent has at most {} labels and drivers, each of at most {} bytes",
        limits::MAX_LABELS,
        limits::MAX_NAME
    )]
    Labels,
}

/// Checks a Hello.
pub(super) fn check(hello: v1::Hello) -> Result<Hello, HelloError> {
    if !(hello.protocol_min..=hello.protocol_max).contains(&PROTOCOL) {
        return Err(HelloError::Protocol {
            agent: short(&hello.agent),
            version: short(&hello.version),
            min: hello.protocol_min,
            max: hello.protocol_max,
        });
    }
    let name = |error: testmesh_shared::id::IdError| HelloError::Name(error.to_string());
    let capacity = hello.capacity.unwrap_or_default();
    let texts = hello
        .labels
        .iter()
        .flat_map(|(name, value)| [name, value])
        .chain(&capacity.drivers);
    let too_long = texts.into_iter().any(|text| text.len() > limits::MAX_NAME);
    if too_long
        || hello.labels.len() > limits::MAX_LABELS
        || capacity.drivers.len() > limits::MAX_LABELS
    {
        return Err(HelloError::Labels);
    }
    Ok(Hello {
        agent: hello.agent.parse().map_err(name)?,
        epoch: Epoch::new(hello.epoch),
        site: hello.site.parse().map_err(name)?,
        labels: hello.labels.into_iter().collect::<BTreeMap<_, _>>(),
        version: short(&hello.version),
        drivers: capacity.drivers.into_iter().collect::<BTreeSet<_>>(),
        runtimes: capacity.runtimes,
    })
}

/// What a heartbeat says; a number that is none is 0.
pub(super) fn vitals(heartbeat: &v1::Heartbeat) -> Vitals {
    Vitals {
        cpu: if heartbeat.cpu.is_finite() {
            heartbeat.cpu.clamp(0.0, 1_000.0)
        } else {
            0.0
        },
        memory: heartbeat.memory,
        clock_offset_ns: heartbeat.clock_offset_ns,
        clock_uncertainty_ns: heartbeat.clock_uncertainty_ns,
    }
}

fn short(text: &str) -> String {
    text.chars().take(limits::MAX_NAME).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> v1::Hello {
        v1::Hello {
            agent: "haifa-1".into(),
            epoch: 7,
            site: "haifa".into(),
            labels: std::collections::HashMap::new(),
            version: "0.2.0".into(),
            protocol_min: 1,
            protocol_max: 1,
            capacity: Some(v1::Capacity {
                runtimes: 2,
                sessions: 0,
                drivers: vec!["http".into()],
            }),
        }
    }

    #[test]
    fn a_hello_that_makes_sense_is_taken() {
        let taken = check(hello()).unwrap();
        assert_eq!(
            (taken.agent.as_str(), taken.site.as_str(), taken.runtimes),
            ("haifa-1", "haifa", 2)
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_a_way_out() {
        let newer = v1::Hello {
            protocol_min: 2,
            protocol_max: 3,
            ..hello()
        };
        let message = check(newer).unwrap_err().to_string();
        assert!(
            message.contains("(testmesh 0.2.0) speaks protocol 2 to 3"),
            "{message}"
        );
        assert!(message.contains(env!("CARGO_PKG_VERSION")), "{message}");
        for (name, hello) in [
            (
                "no name",
                v1::Hello {
                    agent: String::new(),
                    ..hello()
                },
            ),
            (
                "a path",
                v1::Hello {
                    agent: "../x".into(),
                    ..hello()
                },
            ),
            (
                "a long site",
                v1::Hello {
                    site: "x".repeat(1_000),
                    ..hello()
                },
            ),
            (
                "a long label",
                v1::Hello {
                    labels: [("a".into(), "x".repeat(1_000))].into(),
                    ..hello()
                },
            ),
            (
                "many labels",
                v1::Hello {
                    labels: (0..100).map(|n| (n.to_string(), String::new())).collect(),
                    ..hello()
                },
            ),
            (
                "an empty range",
                v1::Hello {
                    protocol_min: 1,
                    protocol_max: 0,
                    ..hello()
                },
            ),
        ] {
            assert!(check(hello).is_err(), "{name}");
        }
    }

    #[test]
    fn vitals_are_numbers() {
        let heartbeat = v1::Heartbeat {
            cpu: f64::NAN,
            clock_uncertainty_ns: u64::MAX,
            ..v1::Heartbeat::default()
        };
        assert_eq!(vitals(&heartbeat), Vitals::default());
    }
}

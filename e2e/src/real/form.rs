//! The short forms of the plans that need real parts, and how they are given them.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::Result;

use super::parts::{Parts, named};
use crate::matrix::{GONE, READY, RUNS, is_saturated};
use crate::{Cli, Outcome, plan};

/// What a plan needs besides a testbed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// A MongoDB, for testbed and plan.
    MongoDb,
    /// A RabbitMQ, for testbed and plan.
    RabbitMq,
    /// A browser.
    Browser,
    /// A port for the plan's proxy.
    Front,
    /// A proxy of the plan's between testbed and MongoDB.
    MongoDbBehind,
    /// A proxy of the plan's between testbed and RabbitMQ.
    RabbitMqBehind,
}

/// A plan of `plans/focus/` in the form that a test can afford.
#[derive(Debug)]
pub struct Form {
    /// The file's name without its ending.
    pub plan: &'static str,
    vars: &'static [(&'static str, &'static str)],
    needs: &'static [Need],
}

/// Every plan on real parts.
pub const FORMS: &[Form] = &[
    Form {
        plan: "data-flow",
        vars: &[("sessions", "2"), READY, GONE],
        needs: &[Need::MongoDb, Need::Browser],
    },
    Form {
        plan: "hostile-input",
        vars: &[("for", "4s"), ("messages", "40"), READY, GONE],
        needs: &[],
    },
    Form {
        plan: "infrastructure",
        vars: &[("pings", "20"), READY, GONE],
        needs: &[Need::MongoDb, Need::RabbitMq],
    },
    Form {
        plan: "lifecycle",
        vars: &[READY, GONE],
        needs: &[Need::MongoDb, Need::RabbitMq, Need::Browser],
    },
    Form {
        plan: "mongo-outage",
        vars: &[READY, GONE],
        needs: &[Need::MongoDbBehind],
    },
    Form {
        plan: "rabbitmq-outage",
        vars: &[READY, GONE],
        needs: &[Need::RabbitMqBehind],
    },
    Form {
        plan: "roi-adjustment",
        vars: &[("sessions", "4"), READY, GONE],
        needs: &[Need::RabbitMq],
    },
    Form {
        plan: "server-restart",
        vars: &[READY, GONE],
        needs: &[Need::Front],
    },
    Form {
        plan: "ui-errors",
        vars: &[],
        needs: &[Need::Browser, Need::Front],
    },
    Form {
        plan: "ui-historic",
        vars: &[("sessions", "2"), ("shown", "8s")],
        needs: &[Need::Browser],
    },
    Form {
        plan: "ui-live",
        vars: &[("sessions", "2"), ("shown", "8s"), GONE],
        needs: &[Need::Browser],
    },
];

impl Form {
    /// The form of a plan.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[must_use]
    pub fn of(plan: &str) -> &'static Self {
        FORMS
            .iter()
            .find(|form| form.plan == plan)
            .unwrap_or_else(|| panic!("`{plan}` has no form on real parts"))
    }

    /// Runs it on a testbed with these behaviors; none if a part of it is not there. A run whose generator was saturated says
    /// itself that it is no evidence about the server: on a busy machine it is repeated, and the last one counts whatever it
    /// says.
    ///
    /// # Errors
    ///
    /// If a part does not do what it is asked for, or the run does not end.
    pub async fn run(&self, behaviors: &str) -> Result<Option<Outcome>> {
        for _ in 1..RUNS {
            let outcome = self.run_once(behaviors).await?;
            if !outcome.as_ref().is_some_and(is_saturated) {
                return Ok(outcome);
            }
        }
        self.run_once(behaviors).await
    }

    async fn run_once(&self, behaviors: &str) -> Result<Option<Outcome>> {
        if self.needs.contains(&Need::Browser) && named("TESTMESH_CHROMIUM").is_none() {
            return Ok(None);
        }
        let is_service = |need: &Need| !matches!(need, Need::Browser | Need::Front);
        if !self.needs.iter().any(is_service) {
            return Ok(Some(self.cli(behaviors, None)?.finish().await?));
        }
        let Some(parts) = Parts::take().await? else {
            return Ok(None);
        };
        let outcome = self.cli(behaviors, Some(&parts))?.finish().await;
        parts.give_back().await?;
        outcome.map(Some)
    }

    /// `testmesh run` of it.
    ///
    /// # Errors
    ///
    /// If no port is free.
    pub fn cli(&self, behaviors: &str, parts: Option<&Parts>) -> Result<Cli> {
        let mut cli = Cli::run(&plan(&format!("focus/{}.yaml", self.plan))).testbed(behaviors);
        for (name, value) in self.vars {
            cli = cli.var(name, value);
        }
        for need in self.needs {
            cli = with(*need, cli, parts)?;
        }
        Ok(cli)
    }
}

fn with(need: Need, cli: Cli, parts: Option<&Parts>) -> Result<Cli> {
    let front = || -> Result<String> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        Ok(listener.local_addr()?.to_string())
    };
    let Some(parts) = parts else {
        return Ok(match need {
            Need::Front => cli.var("front", &front()?),
            _ => cli,
        });
    };
    Ok(match need {
        Need::Browser => cli,
        Need::Front => cli.var("front", &front()?),
        Need::MongoDb => cli
            .var("mongodb", parts.mongodb.as_str())
            .var("database", &parts.database)
            .env("FOCUS_MONGODB", parts.mongodb.as_str())
            .env("FOCUS_MONGODB_DATABASE", &parts.database),
        Need::MongoDbBehind => {
            let front = front()?;
            cli.var("behind", &Parts::host_and_port(&parts.mongodb)?)
                .var("front", &front)
                .env("FOCUS_MONGODB", &format!("mongodb://{front}"))
                .env("FOCUS_MONGODB_DATABASE", &parts.database)
        }
        Need::RabbitMq => cli
            .var("amqp", parts.amqp.as_str())
            .env("FOCUS_AMQP", parts.amqp.as_str()),
        Need::RabbitMqBehind => {
            let front = front()?;
            let mut through = parts.amqp.clone();
            let port = front.rsplit(':').next().and_then(|port| port.parse().ok());
            let changed =
                through.set_host(Some("127.0.0.1")).is_ok() && through.set_port(port).is_ok();
            anyhow::ensure!(changed, "an address of the broker has host and port");
            cli.var("behind", &Parts::host_and_port(&parts.amqp)?)
                .var("front", &front)
                .var("amqp", parts.amqp.as_str())
                .env("FOCUS_AMQP", through.as_str())
        }
    })
}

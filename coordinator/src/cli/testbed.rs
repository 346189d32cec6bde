//! The stand-in Focus Server of `testmesh run --testbed`, in this process and on free loopback ports.
#[cfg(feature = "testbed")]
pub(super) use with_testbed::LocalTestbed;
#[cfg(not(feature = "testbed"))]
pub(super) use without_testbed::LocalTestbed;

#[cfg(feature = "testbed")]
mod with_testbed {
    use crate::cli::error::CliError;
    use testmesh_testbed::{Behavior, Config, Testbed};

    /// A running testbed.
    #[derive(Debug)]
    pub(in crate::cli) struct LocalTestbed {
        testbed: Testbed,
    }

    impl LocalTestbed {
        /// Reads the list behind `--testbed=`; empty: a server that behaves well.
        pub(in crate::cli) fn parse(list: &str) -> Result<Vec<Behavior>, CliError> {
            if list.trim().is_empty() {
                return Ok(Vec::new());
            }
            Behavior::parse_list(list).map_err(|error| {
                let hint =
                    "testbed/README.md lists every behavior, such as --testbed=flip-bit,stall:2s";
                CliError::usage(format!("--testbed: {error}"), hint)
            })
        }

        /// Starts a quick testbed on free ports.
        pub(in crate::cli) async fn start(
            behaviors: Vec<Behavior>,
            seed: Option<u64>,
        ) -> Result<Self, CliError> {
            let mut config = Config::quick()
                .servers_of_environment()
                .listen(([127, 0, 0, 1], 0).into())
                .behaviors(behaviors);
            if let Some(seed) = seed {
                config = config.seed(seed);
            }
            let failed = |error| CliError::Testbed {
                operation: "start",
                message: format!("{error:#}"),
            };
            Ok(Self {
                testbed: Testbed::start(config).await.map_err(failed)?,
            })
        }

        /// The vars that lead a plan to it.
        pub(in crate::cli) fn vars(&self) -> Vec<(String, String)> {
            let job_ports = self.testbed.job_ports().to_string();
            vec![
                ("focus".to_owned(), self.testbed.url().to_owned()),
                ("job_ports".to_owned(), job_ports),
            ]
        }

        /// Ends every job and connection.
        pub(in crate::cli) async fn stop(self) -> Result<(), CliError> {
            let failed = |error| CliError::Testbed {
                operation: "stop",
                message: format!("{error:#}"),
            };
            self.testbed.shutdown().await.map_err(failed)
        }
    }
}

#[cfg(not(feature = "testbed"))]
mod without_testbed {
    use crate::cli::error::CliError;
    use std::convert::Infallible;

    /// There is none in this build.
    #[derive(Debug)]
    pub(in crate::cli) struct LocalTestbed(Infallible);

    impl LocalTestbed {
        pub(in crate::cli) fn parse(_list: &str) -> Result<Infallible, CliError> {
            Err(CliError::usage(
                "this build has no testbed",
                "build it with the feature `testbed`",
            ))
        }

        #[expect(
            clippy::unused_async,
            reason = "the same shape as in a build with a testbed"
        )]
        pub(in crate::cli) async fn start(
            never: Infallible,
            _seed: Option<u64>,
        ) -> Result<Self, CliError> {
            match never {}
        }

        pub(in crate::cli) fn vars(&self) -> Vec<(String, String)> {
            match self.0 {}
        }

        #[expect(
            clippy::unused_async,
            reason = "the same shape as in a build with a testbed"
        )]
        pub(in crate::cli) async fn stop(self) -> Result<(), CliError> {
            match self.0 {}
        }
    }
}

//! The table: every behavior of the testbed, the plans that catch it, and by what.

use super::row::{Row, Sign};

const FAILED: Sign = Sign::Broken(&["count(sessions_failed)"]);
/// As `FAILED`, by a plan that counts its open streams, and misses those of the sessions that failed.
const FAILED_AND_MISSED: Sign = Sign::Broken(&["count(sessions_failed)", "max(streams_open)"]);
const NOT_GONE: Sign = Sign::Broken(&["count(cleanup_failed)"]);
const SLOW_CONFIGURE: Sign = Sign::Broken(&["p95(stage_duration{stage=\"configure"]);
/// Of a plan whose refusals come from the same endpoint.
const SLOW_STAGES: Sign = Sign::Broken(&[
    "p95(stage_duration{stage=\"configure\"}",
    "max(stage_duration{scenario=",
]);
const STOOD_STILL: Sign = Sign::Broken(&["max(stream_gap"]);
const STOOD_STILL_AND_LATE: Sign = Sign::Broken(&["max(stream_gap", "p99(stream_latency"]);
const LATE: Sign = Sign::Broken(&["p99(stream_latency"]);

/// Plans that verify the rows of live streams.
const LIVE: &[&str] = &[
    "jobs-200",
    "live-view",
    "mixed-load",
    "single-channel",
    "soak",
    "spike",
    "waterfall",
];
/// Plans that play recordings back and open no live stream.
const PLAYBACK_ALONE: &[&str] = &["degradation", "historic-playback"];
/// Plans that open streams of both kinds.
const BOTH: &[&str] = &["mixed-load", "soak"];
/// Plans that wait until their jobs are gone.
const CLEANERS: &[&str] = &[
    "degradation",
    "historic-playback",
    "jobs-200",
    "live-view",
    "mixed-load",
    "single-channel",
    "soak",
    "spike",
    "waterfall",
];
/// Plans with streams.
const STREAMERS: &[&str] = CLEANERS;

/// Every behavior.
pub const ROWS: &[Row] = &[
    Row {
        behavior: "flip-bit",
        in_ci: &["live-view", "historic-playback", "api-contract"],
        caught: &[(STREAMERS, Sign::Rows("mismatched"))],
    },
    Row {
        behavior: "drop-row",
        in_ci: &["live-view", "historic-playback", "historic-task"],
        caught: &[(STREAMERS, Sign::Rows("missing"))],
    },
    Row {
        behavior: "repeat-row",
        in_ci: &["live-view", "historic-playback", "api-contract"],
        caught: &[(STREAMERS, Sign::Rows("repeated"))],
    },
    Row {
        behavior: "swap-rows",
        in_ci: &["live-view", "historic-playback", "historic-task"],
        caught: &[(STREAMERS, Sign::Rows("reordered"))],
    },
    Row {
        behavior: "truncate-row",
        in_ci: &["live-view", "historic-playback", "api-contract"],
        caught: &[(STREAMERS, Sign::Rows("mismatched"))],
    },
    Row {
        behavior: "wrong-stream",
        in_ci: &["live-view", "single-channel", "api-contract"],
        caught: &[(STREAMERS, Sign::Rows("mismatched"))],
    },
    Row {
        behavior: "stall",
        in_ci: &["soak", "historic-playback", "historic-task"],
        caught: &[(LIVE, STOOD_STILL_AND_LATE), (PLAYBACK_ALONE, STOOD_STILL)],
    },
    Row {
        behavior: "early-end",
        in_ci: &["live-view", "historic-playback", "api-contract"],
        caught: &[
            (&["jobs-200"], Sign::EndedEarly(&["max(streams_open)"])),
            (STREAMERS, Sign::EndedEarly(&[])),
        ],
    },
    Row {
        behavior: "slow-stage",
        in_ci: &["live-view", "historic-task", "api-latency"],
        caught: &[
            (&["api-contract"], SLOW_STAGES),
            (
                &["degradation"],
                Sign::Broken(&["p95(stage_duration{scenario="]),
            ),
            (&["historic-task"], SLOW_CONFIGURE),
            (STREAMERS, SLOW_CONFIGURE),
        ],
    },
    // `degradation` has as many jobs at once only in its long form.
    Row {
        behavior: "overload",
        in_ci: &["spike", "api-latency"],
        caught: &[
            (&["jobs-200"], FAILED_AND_MISSED),
            (&["api-contract", "mixed-load", "soak", "spike"], FAILED),
        ],
    },
    Row {
        behavior: "degrade:50ms",
        in_ci: &["degradation", "historic-playback"],
        caught: &[
            (&["spike"], SLOW_CONFIGURE),
            (
                &["degradation"],
                Sign::Broken(&[
                    "p95(stage_duration{scenario=\"last\"",
                    "p50(stage_duration{scenario=\"last\"",
                ]),
            ),
        ],
    },
    Row {
        behavior: "alternate-500",
        in_ci: &["live-view", "api-latency"],
        caught: &[
            (&["jobs-200"], FAILED_AND_MISSED),
            (STREAMERS, FAILED),
            (&["api-contract"], FAILED),
        ],
    },
    Row {
        behavior: "never-ready",
        in_ci: &["historic-playback", "api-contract"],
        caught: &[(STREAMERS, FAILED)],
    },
    Row {
        behavior: "port-taken",
        in_ci: &["single-channel", "historic-task"],
        caught: &[(STREAMERS, FAILED), (&["api-contract"], FAILED)],
    },
    Row {
        behavior: "leak-job",
        in_ci: &["historic-playback", "api-latency"],
        caught: &[(CLEANERS, NOT_GONE)],
    },
    Row {
        behavior: "linger:10s",
        in_ci: &["waterfall", "api-contract"],
        caught: &[(CLEANERS, NOT_GONE)],
    },
    Row {
        behavior: "waiting-for-fiber",
        in_ci: &["live-view", "historic-playback"],
        caught: &[(LIVE, FAILED), (&["api-contract", "api-latency"], FAILED)],
    },
    Row {
        behavior: "slow-refusal:0.1",
        in_ci: &["api-contract", "historic-playback"],
        caught: &[(
            &["api-contract"],
            Sign::Broken(&["max(stage_duration{scenario="]),
        )],
    },
    Row {
        behavior: "slow-recordings",
        in_ci: &["api-latency", "mixed-load", "historic-task"],
        caught: &[(
            &["api-latency", "mixed-load"],
            Sign::Broken(&["p99(session_response{scenario=\"recordings\""]),
        )],
    },
    Row {
        behavior: "historic-404",
        in_ci: &["historic-playback", "mixed-load", "single-channel"],
        caught: &[
            (PLAYBACK_ALONE, FAILED),
            (BOTH, FAILED),
            (&["api-contract"], FAILED),
        ],
    },
    Row {
        behavior: "metadata-404",
        in_ci: &["mixed-load", "historic-playback"],
        caught: &[(&["api-contract", "mixed-load"], FAILED)],
    },
    Row {
        behavior: "wrong-amounts",
        in_ci: &["live-view", "spike"],
        caught: &[(
            &[
                "api-contract",
                "historic-playback",
                "live-view",
                "mixed-load",
                "single-channel",
                "waterfall",
            ],
            FAILED,
        )],
    },
    Row {
        behavior: "wrong-types",
        in_ci: &["api-contract", "degradation"],
        caught: &[(
            &[
                "api-contract",
                "historic-playback",
                "live-view",
                "mixed-load",
                "single-channel",
            ],
            FAILED,
        )],
    },
    Row {
        behavior: "many-as-single",
        in_ci: &["api-contract", "single-channel"],
        caught: &[(&["api-contract"], FAILED)],
    },
    Row {
        behavior: "null-500",
        in_ci: &["api-contract", "live-view"],
        caught: &[(&["api-contract"], FAILED)],
    },
    Row {
        behavior: "bare-waterfall-500",
        in_ci: &["waterfall", "api-contract", "single-channel"],
        caught: &[(&["api-contract", "waterfall"], FAILED)],
    },
    Row {
        behavior: "accept-all",
        in_ci: &["api-contract", "waterfall"],
        caught: &[(&["api-contract"], FAILED)],
    },
    Row {
        behavior: "slow-rows",
        in_ci: &["live-view", "historic-playback"],
        caught: &[(LIVE, LATE)],
    },
    Row {
        behavior: "disconnect",
        in_ci: &["historic-playback", "api-contract"],
        caught: &[(&["jobs-200"], FAILED_AND_MISSED), (STREAMERS, FAILED)],
    },
    Row {
        behavior: "slow-ready:6s",
        in_ci: &["single-channel", "api-contract"],
        caught: &[(STREAMERS, FAILED)],
    },
    Row {
        behavior: "unavailable-end:1s",
        in_ci: &["historic-playback", "live-view"],
        caught: &[(PLAYBACK_ALONE, FAILED), (BOTH, FAILED)],
    },
    Row {
        behavior: "negative-minimum",
        in_ci: &["live-view", "spike"],
        caught: &[(
            &[
                "live-view",
                "mixed-load",
                "single-channel",
                "soak",
                "waterfall",
            ],
            FAILED,
        )],
    },
    Row {
        behavior: "stale-recording",
        in_ci: &["api-contract", "api-latency"],
        caught: &[(&["api-contract"], FAILED)],
    },
    Row {
        behavior: "stuck-task",
        in_ci: &["historic-task", "historic-playback"],
        caught: &[(&["historic-task"], FAILED)],
    },
];

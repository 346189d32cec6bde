//! Fixed answers: the fibre's metadata and the pages for people.

use axum::response::Html;
use serde_json::{Value, json};

use crate::profile::Config;

const SW_VERSION: &str = concat!("testbed-", env!("CARGO_PKG_VERSION"));
const DX: f64 = 1.021_369_8;
const FIBER_METERS: u32 = 10_000;
const DESCRIPTION: &str = "testbed fibre";
const WAITING: &str = "waiting for fiber";

/// The `metadata` of a configure response, with the fields that newer builds send.
pub(crate) fn recording_metadata(prr: u32) -> Value {
    json!({
        "layer_type": "smart_recorder",
        "uuid": "5b1f6c1e-0d0a-4f57-9c55-5d9f3f1f0001",
        "sw_version": SW_VERSION,
        "cmd": "",
        "processors": [],
        "version": "TLV-1.3",
        "num_traces": 10_000,
        "parent": {
            "layer_type": "prp2_recording",
            "uuid": "5b1f6c1e-0d0a-4f57-9c55-5d9f3f1f0002",
            "sw_version": SW_VERSION,
            "dx": DX,
            "prr": prr,
            "num_traces": 2_048,
            "num_samples_per_trace": 9_791,
            "version": "TLV-1.3",
            "fiber_start_meters": 0,
            "fiber_length_meters": FIBER_METERS,
            "gauge_length_meters": 10.21,
            "late_t_axis_decimation": 4,
            "decimation_factor_x": 4,
            "fiber_description": DESCRIPTION,
            "recording_timezone": "UTC",
            "recording_machine_name": "testbed",
            "start_time": null,
            "end_time": null,
            "preprocessor_version": SW_VERSION,
            "n_features": 1,
        },
    })
}

/// `GET /live_metadata`. Without `num_samples_per_trace` and `dtype`, as found (F-21).
pub(crate) fn live_metadata(config: &Config) -> Value {
    json!({
        "dx": DX,
        "prr": f64::from(config.prr),
        "fiber_start_meters": 0,
        "fiber_length_meters": FIBER_METERS,
        "sw_version": SW_VERSION,
        "number_of_channels": config.highest_channel,
        "fiber_description": DESCRIPTION,
    })
}

/// The same before the fibre's metadata is there (F-09).
pub(crate) fn waiting_for_fiber(config: &Config) -> Value {
    json!({
        "dx": 0.0,
        "prr": 0.0,
        "fiber_start_meters": null,
        "fiber_length_meters": null,
        "sw_version": WAITING,
        "number_of_channels": config.highest_channel,
        "fiber_description": WAITING,
    })
}

/// `GET /docs`.
pub(crate) async fn docs() -> Html<&'static str> {
    Html(
        "<!doctype html><meta charset=\"utf-8\"><title>Focus Server (testbed)</title>\
         <h1>Focus Server (testbed)</h1><p>The API is described in <a href=\"openapi.json\">openapi.json</a>.</p>",
    )
}

//! `docs/cli.md`, made from the clap types, so that it never tells anything else than `--help`.
use super::args::Cli;
use clap::{Arg, Command, CommandFactory};
use std::fmt::Write as _;

/// The command line as Markdown: one section per command, one row per argument.
pub fn reference() -> String {
    let mut root = Cli::command();
    root.build();
    let mut out = String::from(
        "<!-- Made from coordinator/src/cli/args.rs; `TESTMESH_REGENERATE=1 cargo test -p testmesh-coordinator --test generated_docs` renews it. -->\n\n# Command line\n",
    );
    if let Some(about) = root.get_about() {
        let _ = write!(out, "\n{about}\n");
    }
    if let Some(after) = root.get_after_help() {
        let _ = write!(out, "\n{after}\n");
    }
    out.push_str("\nData goes to stdout, talk and progress to stderr; the last line that a run prints is its verdict.\n");
    for command in root.get_subcommands() {
        section(&mut out, command, "testmesh", 2);
    }
    out
}

fn section(out: &mut String, command: &Command, parent: &str, depth: usize) {
    if command.get_name() == "help" {
        return;
    }
    let name = format!("{parent} {}", command.get_name());
    let _ = write!(out, "\n{} {name}\n", "#".repeat(depth));
    if let Some(about) = command.get_long_about().or_else(|| command.get_about()) {
        let _ = write!(out, "\n{about}\n");
    }
    let arguments: Vec<_> = command
        .get_arguments()
        .filter(|arg| !matches!(arg.get_id().as_str(), "help" | "version") && !arg.is_hide_set())
        .collect();
    if !command.has_subcommands() {
        let usage = command.clone().render_usage().to_string();
        let usage = usage.strip_prefix("Usage: ").unwrap_or(&usage).to_owned();
        let _ = write!(out, "\n```\n{usage}\n```\n");
    }
    if !arguments.is_empty() {
        out.push_str("\n| argument | meaning |\n| --- | --- |\n");
        for arg in arguments {
            let _ = writeln!(
                out,
                "| `{}` | {} |",
                cell(&spelled(arg)),
                cell(&meaning(arg))
            );
        }
    }
    let examples = command.get_after_help().map(ToString::to_string);
    let examples = examples
        .as_deref()
        .and_then(|help| help.strip_prefix("Examples:\n"));
    if let Some(examples) = examples {
        let lines: Vec<&str> = examples.lines().map(str::trim).collect();
        let _ = write!(out, "\n```sh\n{}\n```\n", lines.join("\n"));
    }
    for inner in command.get_subcommands() {
        section(out, inner, &name, depth + 1);
    }
}

/// As it is typed: `--testbed[=BEHAVIOR,…]`, `--seed N`, `PLAN`.
fn spelled(arg: &Arg) -> String {
    let value = arg
        .get_value_names()
        .and_then(<[_]>::first)
        .map(ToString::to_string);
    let takes_value = arg.get_action().takes_values();
    match (arg.get_long(), value) {
        (None, value) => value.unwrap_or_else(|| arg.get_id().to_string()),
        (Some(long), Some(value)) if arg.is_require_equals_set() => format!("--{long}[={value}]"),
        (Some(long), Some(value)) if takes_value => format!("--{long} {value}"),
        (Some(long), _) => format!("--{long}"),
    }
}

fn meaning(arg: &Arg) -> String {
    let help = arg
        .get_long_help()
        .or_else(|| arg.get_help())
        .map(ToString::to_string)
        .unwrap_or_default();
    let mut text = help.trim().to_owned();
    if !text.ends_with(['.', '!', '?']) {
        text.push('.');
    }
    let values: Vec<_> = arg
        .get_possible_values()
        .iter()
        .map(|value| format!("`{}`", value.get_name()))
        .collect();
    if !values.is_empty() && arg.get_action().takes_values() {
        let _ = write!(text, " One of {}.", values.join(", "));
    }
    let defaults: Vec<_> = arg
        .get_default_values()
        .iter()
        .map(|value| value.to_string_lossy().into_owned())
        .collect();
    if !defaults.is_empty() && arg.get_action().takes_values() {
        let _ = write!(text, " Default: `{}`.", defaults.join(" "));
    }
    if let Some(env) = arg.get_env() {
        let _ = write!(text, " Environment: `{}`.", env.to_string_lossy());
    }
    text
}

/// Text that may stand in a cell of a Markdown table.
fn cell(text: &str) -> String {
    text.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .replace('|', "\\|")
}

//! Load models.

use std::time::Duration;

use super::item::Item;
use super::model::{Load, UsersUntil};
use super::problem::ProblemCode;
use super::table::LOAD;

/// Reads `load`.
pub(super) fn read(item: Item<'_>) -> Option<Load> {
    if !item.is_map() {
        return item
            .word_or(&["once"], Some(&LOAD))
            .map(|_| Load::Once { per_agent: false });
    }
    if let Some(once) = item.key("once") {
        for entry in item
            .entries()
            .into_iter()
            .filter(|entry| entry.key != "once")
        {
            let message = format!("`{}` does not go with `once`", entry.key);
            item.problem_at(
                entry.key_span,
                ProblemCode::Conflict,
                message,
                "remove it, or use `virtual_users`",
            );
        }
        return once
            .word(&["per_agent"])
            .map(|_| Load::Once { per_agent: true });
    }
    let users = item.key("virtual_users")?;
    if users.is_list() {
        let message = "this build does not run ramps of virtual users yet";
        users.problem(
            ProblemCode::NotYet,
            message,
            "write a number, with `ramp_up` and `ramp_down`",
        );
        return None;
    }
    let users = users
        .int(1..=1_000_000)
        .and_then(|users| u32::try_from(users).ok());
    let until = until(item);
    let ramps = ["ramp_up", "ramp_down", "pause"]
        .map(|key| item.key(key).map_or(Some(Duration::ZERO), Item::duration));
    let [ramp_up, ramp_down, pause] = ramps;
    let load = Load::VirtualUsers {
        users: users?,
        until: until?,
        ramp_up: ramp_up?,
        ramp_down: ramp_down?,
        pause: pause?,
    };
    check_ramps(item, &load);
    Some(load)
}

fn until(item: Item<'_>) -> Option<UsersUntil> {
    match (item.key("for"), item.key("sessions")) {
        (Some(time), _) => {
            let duration = time.duration()?;
            if duration.is_zero() {
                time.problem(
                    ProblemCode::BadValue,
                    "the load lasts no time",
                    "write a duration above 0s",
                );
            }
            Some(UsersUntil::For(duration))
        }
        (None, Some(sessions)) => {
            let number = sessions.int(1..=i64::MAX)?;
            u64::try_from(number).ok().map(UsersUntil::Sessions)
        }
        (None, None) => {
            let message = "`virtual_users` needs `for` or `sessions`";
            item.problem(
                ProblemCode::MissingKey,
                message,
                "say how long they run, or how many sessions",
            );
            None
        }
    }
}

fn check_ramps(item: Item<'_>, load: &Load) {
    let Load::VirtualUsers {
        until,
        ramp_up,
        ramp_down,
        ..
    } = load
    else {
        return;
    };
    match until {
        UsersUntil::For(time) if *ramp_up + *ramp_down > *time => {
            let key = if ramp_up > time {
                "ramp_up"
            } else {
                "ramp_down"
            };
            let at = item.key(key).unwrap_or(item);
            at.problem(
                ProblemCode::Conflict,
                "the ramps are longer than the load",
                "shorten them, or lengthen `for`",
            );
        }
        UsersUntil::Sessions(_) if !ramp_down.is_zero() => {
            let at = item.key("ramp_down").unwrap_or(item);
            at.problem(
                ProblemCode::Conflict,
                "`ramp_down` needs an end in time",
                "use `for` instead of `sessions`",
            );
        }
        UsersUntil::For(_) | UsersUntil::Sessions(_) => {}
    }
}

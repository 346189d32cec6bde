//! Values for a plan's vars, from flags and from the environment.
use super::args::Vars;
use testmesh_shared::plan::VarOverrides;

/// What `--var NAME=VALUE` says; the last one wins.
pub(super) fn from_flags(given: &Vars) -> VarOverrides {
    let mut overrides = VarOverrides::default();
    for (name, value) in &given.var {
        overrides.set(name, value);
    }
    overrides
}

/// Adds what `TESTMESH_VAR_NAME` says, for the vars that the plan has and no flag has set.
pub(super) fn from_environment<'a>(
    names: impl Iterator<Item = &'a String>,
    overrides: &mut VarOverrides,
    read: impl Fn(&str) -> Option<String>,
) {
    for name in names {
        if let Some(value) = read(&format!("TESTMESH_VAR_{}", name.to_ascii_uppercase()))
            && !overrides.is_set(name)
        {
            overrides.set(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::from_environment;
    use testmesh_shared::plan::VarOverrides;

    #[test]
    fn the_environment_sets_only_what_the_plan_has_and_no_flag_has_set() {
        let read = |name: &str| {
            matches!(name, "TESTMESH_VAR_USERS" | "TESTMESH_VAR_FOCUS").then(|| "7".to_owned())
        };
        let mut overrides = VarOverrides::default();
        overrides.set("focus", "http://there");
        let names = ["focus", "time", "users"].map(str::to_owned);
        from_environment(names.iter(), &mut overrides, read);
        assert_eq!(
            overrides.iter().collect::<Vec<_>>(),
            [("focus", "http://there"), ("users", "7")]
        );
    }
}

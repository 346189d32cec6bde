//! Runs `scripts/*.txt`: lines that begin with `> ` are commands, the lines below them what they must print.
//!
//! `agent ID SITE [DRIVER…]`, `lose ID`, `drivers DRIVER…`, `minimum N`, `scenario NAME [SITE=WEIGHT…]`, `places N` (of the last
//! scenario), `show [N]`.
//! `TESTMESH_REGENERATE=1` writes what is printed instead of comparing it.
use super::super::{Candidate, Requirements, ScenarioNeed, schedule};
use std::fmt::Write as _;
use std::path::Path;

#[derive(Default)]
struct World {
    agents: Vec<Candidate>,
    needs: Requirements,
}

impl World {
    fn perform(&mut self, command: &str) -> String {
        let words: Vec<_> = command.split_whitespace().collect();
        match words.as_slice() {
            ["agent", id, site, drivers @ ..] => self.agents.push(Candidate {
                id: (*id).into(),
                site: (*site).into(),
                drivers: drivers.iter().map(|driver| (*driver).to_owned()).collect(),
            }),
            ["lose", id] => self.agents.retain(|agent| agent.id != *id),
            ["drivers", drivers @ ..] => {
                self.needs.drivers = drivers.iter().map(|driver| (*driver).to_owned()).collect();
            }
            ["minimum", count] => self.needs.min_agents = count.parse().unwrap(),
            ["scenario", name, sites @ ..] => {
                let sites = sites.iter().map(|site| {
                    let (site, weight) = site.split_once('=').unwrap();
                    (site.to_owned(), weight.parse().unwrap())
                });
                self.needs.scenarios.push(ScenarioNeed {
                    name: (*name).into(),
                    sites: sites.collect(),
                    max_sessions: None,
                });
            }
            ["places", count] => {
                let last = self.needs.scenarios.last_mut().unwrap();
                last.max_sessions = Some(count.parse().unwrap());
            }
            ["show"] => return self.show(0),
            ["show", wanted] => return self.show(wanted.parse().unwrap()),
            _ => panic!("unknown command `{command}`"),
        }
        String::new()
    }

    fn show(&self, wanted: u32) -> String {
        let needs = Requirements {
            wanted,
            ..self.needs.clone()
        };
        let mut text = String::new();
        match schedule(&needs, &self.agents) {
            Err(error) => writeln!(text, "refused: {error}").unwrap(),
            Ok(schedule) => {
                for (index, agent) in schedule.agents.iter().enumerate() {
                    write!(text, "{index} {} at {}:", agent.id, agent.site).unwrap();
                    for (scenario, share) in &agent.shares {
                        write!(text, " {scenario} {share}").unwrap();
                    }
                    text.push('\n');
                }
                for reason in schedule.reasons {
                    writeln!(text, "because {reason}").unwrap();
                }
            }
        }
        text
    }
}

fn replay(script: &str) -> String {
    let mut world = World::default();
    let mut text = String::new();
    for line in script.lines() {
        if let Some(command) = line.strip_prefix("> ") {
            writeln!(text, "{line}").unwrap();
            text.push_str(&world.perform(command));
        } else if line.is_empty() || line.starts_with('#') {
            writeln!(text, "{line}").unwrap();
        }
    }
    text
}

#[test]
fn scripts_print_what_they_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/scheduler/tests/scripts");
    let mut scripts = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let script = std::fs::read_to_string(&path).unwrap();
        let printed = replay(&script);
        if std::env::var_os("TESTMESH_REGENERATE").is_some() {
            std::fs::write(&path, &printed).unwrap();
        }
        similar(&path, &script, &printed);
        scripts += 1;
    }
    assert!(scripts >= 4, "the scripts are there");
}

fn similar(path: &Path, script: &str, printed: &str) {
    if std::env::var_os("TESTMESH_REGENERATE").is_none() {
        assert_eq!(
            script,
            printed,
            "{} (left: the file; right: what is printed)",
            path.display()
        );
    }
}

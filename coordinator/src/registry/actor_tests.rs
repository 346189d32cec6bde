//! The registry under paused time.
use super::*;
use crate::registry::lease::Terms;
use crate::run::Messages;
use crate::scheduler::ScenarioNeed;
use std::collections::BTreeSet;
use std::time::Duration;
use testmesh_shared::id::{Epoch, Site};
use testmesh_shared::shutdown::Tasks;

const TERMS: Terms = Terms {
    suspect_after: Duration::from_secs(3),
    lost_after: Duration::from_secs(10),
};

struct World {
    registry: RegistryHandle,
    inbox: Inbox,
    _messages: Messages,
}

fn hello(agent: &str, epoch: u64) -> Hello {
    Hello {
        agent: agent.parse().unwrap(),
        epoch: Epoch::new(epoch),
        site: Site::local(),
        labels: BTreeMap::new(),
        version: "0.1.0".into(),
        drivers: BTreeSet::new(),
        runtimes: 1,
    }
}

impl World {
    fn start() -> Self {
        let tasks = Tasks::new(Shutdown::new());
        let (registry, handle) = Registry::new(TERMS);
        tasks.spawn("registry", registry.run(tasks.shutdown().clone()));
        let (inbox, messages) = Inbox::new(8, 8);
        Self {
            registry: handle,
            inbox,
            _messages: messages,
        }
    }

    async fn join(&self, agent: &str) -> Result<(Membership, mpsc::Receiver<Outgoing>), JoinError> {
        self.join_as(agent, 1).await
    }

    async fn join_as(
        &self,
        agent: &str,
        epoch: u64,
    ) -> Result<(Membership, mpsc::Receiver<Outgoing>), JoinError> {
        let (outbound, messages) = mpsc::channel(8);
        let joined = self.registry.join(hello(agent, epoch), outbound).await?;
        Ok((joined, messages))
    }

    async fn reserve(&self, run: &str, wanted: u32) -> Result<Reservation, ReserveError> {
        let scenario = ScenarioNeed {
            name: "s".into(),
            sites: Vec::new(),
            max_sessions: None,
        };
        let needs = Requirements {
            wanted,
            scenarios: vec![scenario],
            ..Requirements::default()
        };
        self.registry
            .reserve(run.parse().unwrap(), needs, self.inbox.clone())
            .await
    }

    async fn listed(&self) -> String {
        let lines = self.registry.list().await.into_iter().map(|agent| {
            let run = agent
                .run
                .map_or_else(|| "-".to_owned(), |run| run.to_string());
            format!("{} {} {run}", agent.id, agent.liveness.as_str())
        });
        lines.collect::<Vec<_>>().join("; ")
    }
}

#[tokio::test(start_paused = true)]
async fn names_are_unique_while_their_links_live() {
    let world = World::start();
    let (first, _outbound) = world.join("a").await.unwrap();
    assert!(matches!(
        world.join_as("a", 2).await,
        Err(JoinError::NameTaken(_))
    ));
    world.registry.leave(first.id, "it hung up".into()).await;
    assert_eq!(world.listed().await, "a lost -");
    let _second = world.join("a").await.unwrap();
    assert_eq!(world.listed().await, "a alive -");
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_a_list_shows_as_lost_is_removed_all_the_same() {
    let (mut registry, _handle) = Registry::new(TERMS);
    let (outbound, _messages) = mpsc::channel(8);
    let membership = registry.join(hello("a", 1), outbound).unwrap();
    // A list asks at the very moment at which the lease is over, before the registry has looked itself.
    tokio::time::advance(TERMS.lost_after).await;
    assert_eq!(registry.list()[0].liveness, Liveness::Lost);
    let lease = registry.members[&membership.id].lease;
    let due = lease.next_change(Instant::now(), TERMS);
    assert_eq!(due, Some(Instant::now()), "nothing would wake the registry");
    registry.check_leases();
    assert!(registry.members.is_empty());
}

#[tokio::test(start_paused = true)]
async fn agents_serve_one_run_at_a_time() {
    let world = World::start();
    let (mut a, _a) = world.join("a").await.unwrap();
    let (_b, _bo) = world.join("b").await.unwrap();
    let first = world.reserve("r1", 1).await.unwrap();
    assert_eq!(first.agents[0].id.as_str(), "a");
    assert_eq!(
        a.assignment
            .borrow_and_update()
            .as_ref()
            .unwrap()
            .run
            .as_str(),
        "r1"
    );
    assert_eq!(
        world.reserve("r2", 2).await.unwrap_err(),
        ReserveError::Busy
    );
    assert!(matches!(
        world.reserve("r2", 3).await,
        Err(ReserveError::NotEnough(_))
    ));
    assert_eq!(world.listed().await, "a alive r1; b alive -");
    let mut changes = world.registry.changes();
    changes.mark_unchanged();
    world.registry.free("r1".parse().unwrap()).await;
    changes.changed().await.unwrap();
    assert!(a.assignment.borrow_and_update().is_none());
    assert_eq!(world.reserve("r2", 2).await.unwrap().agents.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn silence_is_told_to_the_run_and_ends_the_link() {
    let world = World::start();
    let (mut member, mut outbound) = world.join("a").await.unwrap();
    let mut roll = world.reserve("r1", 1).await.unwrap().roll;
    let start = Instant::now();
    roll.changed().await.unwrap();
    assert_eq!(
        (
            roll.borrow_and_update()[0].liveness,
            start.elapsed().as_secs()
        ),
        (Liveness::Suspect, 3)
    );
    world.registry.heard(member.id, None).await;
    roll.changed().await.unwrap();
    assert_eq!(roll.borrow_and_update()[0].liveness, Liveness::Alive);
    roll.changed().await.unwrap();
    assert_eq!(roll.borrow_and_update()[0].liveness, Liveness::Suspect);
    roll.changed().await.unwrap();
    let entry = roll.borrow_and_update()[0].clone();
    assert_eq!(
        (entry.liveness, entry.why.as_str()),
        (Liveness::Lost, "nothing was heard of it for 10s")
    );
    assert!(matches!(outbound.recv().await, Some(Outgoing::Close(_))));
    // The assignment changed once when it was made; then the membership is over.
    let _ = member.assignment.borrow_and_update();
    assert!(member.assignment.changed().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn an_ejected_agent_is_told_why() {
    let world = World::start();
    let (member, mut outbound) = world.join("a").await.unwrap();
    let mut roll = world.reserve("r1", 1).await.unwrap().roll;
    world
        .registry
        .eject(member.id, "it counts backwards".into())
        .await;
    roll.changed().await.unwrap();
    let entry = roll.borrow()[0].clone();
    assert_eq!(
        (entry.liveness, entry.why.as_str()),
        (Liveness::Lost, "it counts backwards")
    );
    let Some(Outgoing::Close(why)) = outbound.recv().await else {
        panic!("the link is closed")
    };
    assert_eq!(why, "it counts backwards");
}

#[tokio::test(start_paused = true)]
async fn an_agent_whose_link_broke_may_come_back_until_its_lease_is_over() {
    let world = World::start();
    let (member, _outbound) = world.join("a").await.unwrap();
    let mut roll = world.reserve("r1", 1).await.unwrap().roll;
    world.registry.detach(member.id, "reset".into()).await;
    let (mut again, mut outbound) = world.join("a").await.unwrap();
    assert_eq!(
        again
            .assignment
            .borrow_and_update()
            .as_ref()
            .unwrap()
            .run
            .as_str(),
        "r1"
    );
    roll.changed().await.unwrap();
    let entry = roll.borrow_and_update()[0].clone();
    assert_eq!((entry.liveness, entry.member), (Liveness::Alive, again.id));
    entry
        .outbound
        .send(Outgoing::Close(String::new()))
        .await
        .unwrap();
    assert!(outbound.recv().await.is_some());
    // Broken again, and this time it does not come back: another process of that name does not count for it.
    world.registry.detach(again.id, "reset twice".into()).await;
    let (_third, _outbound) = world.join_as("a", 2).await.unwrap();
    roll.changed().await.unwrap();
    let entry = roll.borrow_and_update()[0].clone();
    assert_eq!(
        (entry.liveness, entry.why.as_str()),
        (Liveness::Lost, "its process ended, and another one came")
    );
    assert_eq!(world.listed().await, "a alive -");
}

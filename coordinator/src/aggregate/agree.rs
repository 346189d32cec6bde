//! Rows that several sessions saw: who agrees with whom, within a bounded horizon.
//!
//! Agents collapse equal rows of their own sessions; here the rows of all agents meet. An entry is one (group, key); it is
//! settled when nobody can be expected to see its row any more (after the horizon), when the run ends, or when memory is
//! short. Settling counts rows: those of the majority's digest are verified, all others mismatched, all of them in a tie;
//! a row that one session alone saw is unwitnessed, or unverified if memory did not let it wait for a second one. A session
//! that sees a row again is no second witness of it, but of other bytes under its key it is one against itself.
//!
//! Rows of a key that was settled before are compared with the digest that the majority saw, which is remembered with the
//! key: a recording that is played again and again is the same recording after any time. Where it was settled without a
//! majority they are unverified: what they should be compared with is gone, and an entry of their own would call them
//! unwitnessed, or right among themselves. A row that stayed alone for the whole horizon has been counted as unwitnessed by
//! then, and stays so. Rows for which there is no room at all are unverified too. Both are counted, for a finding.
use crate::limits;
use crate::report::model::{Disagreement, SeenDigest};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroU64;
use std::sync::Arc;
use testmesh_shared::metric::MetricId;

/// Which row of a group.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// Integer fields.
    Number(i64),
    /// Everything else.
    Text(Arc<str>),
    /// The whole stream, for `of: stream`.
    Stream,
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
            Self::Stream => f.write_str("stream"),
        }
    }
}

/// Where rows are counted: an index into `Agree::places`.
pub type PlaceId = u32;

/// Where rows are counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The scenario.
    pub scenario: Arc<str>,
    /// The stage.
    pub stage: Arc<str>,
    /// The site of the agent.
    pub site: Arc<str>,
}

/// What sessions of one agent saw under one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// XXH3-64 of the row, or XXH3-128 of the stream.
    pub digest: u128,
    /// Distinct sessions that saw it and were not told of before.
    pub sessions: u32,
    /// Rows to count: as many as came, or the stream's.
    pub rows: u64,
    /// The index of one of those sessions.
    pub witness: u64,
    /// The agent's number in the run.
    pub agent: u16,
}

/// Rows by what became of them, at one place and in one second.
pub type Settled = BTreeMap<(PlaceId, u32), Counts>;

/// Rows by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words of the glossary, in numbers")]
pub struct Counts {
    pub verified: u64,
    pub mismatched: u64,
    pub unwitnessed: u64,
    pub unverified: u64,
}

impl Counts {
    /// The metrics that these counts belong to.
    pub fn metrics(self) -> [(MetricId, u64); 4] {
        [
            (MetricId::IntegrityVerified, self.verified),
            (MetricId::IntegrityMismatched, self.mismatched),
            (MetricId::IntegrityUnwitnessed, self.unwitnessed),
            (MetricId::IntegrityUnverified, self.unverified),
        ]
    }
}

/// One content at one place.
#[derive(Clone, Debug)]
struct Seen {
    digest: u128,
    rows: u64,
    witness: u64,
    place: PlaceId,
    sessions: u32,
    agents: [u16; limits::MAX_AGENTS_PER_DIGEST],
    agent_count: u8,
}

#[derive(Clone, Debug)]
struct Entry {
    second: u32,
    seen: Vec<Seen>,
}

/// A key whose sessions saw different bytes.
#[derive(Clone, Debug)]
struct Disagreed {
    group: u32,
    key: Key,
    seen: Vec<Seen>,
    majority: Option<u128>,
}

/// Why an entry is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Because {
    Over,
    MemoryIsShort,
}

/// What one entry takes without its contents: key, map slot, queue slot.
const ENTRY_BYTES: usize = 128;
/// The place of rows whose own place is one too many.
const NOWHERE: PlaceId = PlaceId::MAX;
/// The group of rows whose own group is one too many.
const NO_GROUP: u32 = u32::MAX;
/// Contents of one disagreement that are kept as evidence.
const MAX_EVIDENCE_SEEN: usize = 1_024;

/// The witness table of one run.
#[derive(Debug)]
pub struct Agree {
    places: Vec<Place>,
    place_ids: HashMap<Place, PlaceId>,
    groups: Vec<Arc<str>>,
    group_ids: HashMap<Arc<str>, u32>,
    entries: HashMap<(u32, Key), Entry>,
    /// Rows in the order of their first sighting. Streams are not in it: all streams of a group meet, however late.
    queue: VecDeque<(u32, Key)>,
    bytes: usize,
    bytes_max: usize,
    settled: Settled,
    disagreeing: u64,
    disagreements: Vec<Disagreed>,
    evicted: u64,
    nowhere: Place,
    group_bytes: usize,
    /// Keys that were settled lately, by hash, with the digest that the majority saw, and in the order in which they were.
    gone: HashMap<u64, Option<NonZeroU64>>,
    gone_queue: VecDeque<u64>,
    late: u64,
}

/// A key that was settled, in eight bytes: among a million keys two are taken for one once in 10^13 rows.
fn trace(id: &(u32, Key)) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

impl Default for Agree {
    fn default() -> Self {
        Self::new(limits::AGREE_BYTES)
    }
}

impl Agree {
    /// An empty table that takes at most about this much memory.
    pub fn new(bytes_max: usize) -> Self {
        Self {
            places: Vec::new(),
            place_ids: HashMap::new(),
            groups: Vec::new(),
            group_ids: HashMap::new(),
            entries: HashMap::new(),
            queue: VecDeque::new(),
            bytes: 0,
            bytes_max,
            settled: Settled::new(),
            disagreeing: 0,
            disagreements: Vec::new(),
            evicted: 0,
            nowhere: Place {
                scenario: "".into(),
                stage: "".into(),
                site: "".into(),
            },
            group_bytes: 0,
            gone: HashMap::new(),
            gone_queue: VecDeque::new(),
            late: 0,
        }
    }

    /// The number of a place. Rows of places beyond the bound are unverified, at a place without a name.
    pub fn place(&mut self, place: &Place) -> PlaceId {
        if let Some(id) = self.place_ids.get(place) {
            return *id;
        }
        if self.places.len() >= limits::MAX_PLACES {
            return NOWHERE;
        }
        let id = u32::try_from(self.places.len()).expect("places are bounded");
        self.places.push(place.clone());
        self.place_ids.insert(place.clone(), id);
        id
    }

    /// The number of a group. Rows of groups beyond the bound are unverified.
    pub fn group(&mut self, name: &str) -> u32 {
        if let Some(id) = self.group_ids.get(name) {
            return *id;
        }
        // A group costs its name twice and is never forgotten, so groups may take a part of the memory only.
        let cost = 2 * name.len() + ENTRY_BYTES;
        if self.group_bytes + cost > self.bytes_max / 4 {
            return NO_GROUP;
        }
        let name: Arc<str> = Arc::from(name);
        let id = u32::try_from(self.groups.len()).expect("groups are bounded by their memory");
        self.group_bytes += cost;
        self.bytes += cost;
        self.groups.push(Arc::clone(&name));
        self.group_ids.insert(name, id);
        id
    }

    /// Adds what an agent saw in this second.
    pub fn see(&mut self, group: u32, key: Key, second: u32, place: PlaceId, sighting: Sighting) {
        self.forget_before(second.saturating_sub(limits::AGREE_HORIZON_S));
        let id = (group, key);
        if let Some(entry) = self.entries.get_mut(&id) {
            let mut known = entry.seen.iter_mut();
            let known = known.find(|seen| seen.digest == sighting.digest && seen.place == place);
            if let Some(seen) = known {
                return seen.add(sighting);
            }
            if entry.has_too_many_for(sighting.digest) {
                // Proven wrong already; only the count matters.
                let counts = self.settled.entry((place, second)).or_default();
                counts.mismatched = counts.mismatched.saturating_add(sighting.rows);
                return;
            }
        }
        if !self.entries.contains_key(&id)
            && let Some(settled) = self.gone.get(&trace(&id)).copied()
        {
            return self.compare_late(id, settled, second, place, sighting);
        }
        if group == NO_GROUP || place == NOWHERE || !self.has_room_for(&id) {
            self.evicted = self.evicted.saturating_add(sighting.rows);
            return self.leave_unverified(second, place, sighting);
        }
        self.remember(id, second, place, sighting);
    }

    /// Compares rows with what their key was settled as.
    fn compare_late(
        &mut self,
        id: (u32, Key),
        settled: Option<NonZeroU64>,
        second: u32,
        place: PlaceId,
        sighting: Sighting,
    ) {
        let Some(settled) = settled.map(|digest| u128::from(digest.get())) else {
            self.late = self.late.saturating_add(sighting.rows);
            return self.leave_unverified(second, place, sighting);
        };
        let counts = self.settled.entry((place, second)).or_default();
        if settled == sighting.digest {
            counts.verified = counts.verified.saturating_add(sighting.rows);
        } else {
            counts.mismatched = counts.mismatched.saturating_add(sighting.rows);
            self.keep_late_evidence(id, settled, place, sighting);
        }
    }

    fn keep_late_evidence(
        &mut self,
        (group, key): (u32, Key),
        settled: u128,
        place: PlaceId,
        sighting: Sighting,
    ) {
        let mut known = self.disagreements.iter_mut();
        if let Some(known) = known.find(|one| one.group == group && one.key == key) {
            let room = known.seen.len() < MAX_EVIDENCE_SEEN;
            let mut seen = known.seen.iter_mut();
            match seen.find(|seen| seen.digest == sighting.digest && seen.place == place) {
                Some(seen) => seen.add(sighting),
                None if room => known.seen.push(Seen::new(place, sighting)),
                None => {}
            }
        } else if self.disagreements.len() < limits::MAX_DISAGREEMENTS {
            // Who saw the others is forgotten by now.
            let forgotten = Sighting {
                digest: settled,
                sessions: 0,
                rows: 0,
                ..sighting
            };
            let mut before = Seen::new(place, forgotten);
            before.agent_count = 0;
            self.disagreements.push(Disagreed {
                group,
                key,
                seen: vec![before, Seen::new(place, sighting)],
                majority: Some(settled),
            });
        }
    }

    /// Whether there is room for one more content under a key, once older ones have gone.
    fn has_room_for(&mut self, id: &(u32, Key)) -> bool {
        loop {
            let known = self.entries.contains_key(id);
            let entry = if known { 0 } else { entry_bytes(&id.1) };
            if self.bytes + entry + size_of::<Seen>() <= self.bytes_max {
                return true;
            }
            if !self.evict() {
                return false;
            }
        }
    }

    fn leave_unverified(&mut self, second: u32, place: PlaceId, sighting: Sighting) {
        let counts = self.settled.entry((place, second)).or_default();
        counts.unverified = counts.unverified.saturating_add(sighting.rows);
    }

    fn remember(&mut self, id: (u32, Key), second: u32, place: PlaceId, sighting: Sighting) {
        if !self.entries.contains_key(&id) {
            self.bytes += entry_bytes(&id.1);
            if id.1 != Key::Stream {
                self.queue.push_back(id.clone());
            }
        }
        let entry = self.entries.entry(id).or_insert_with(|| Entry {
            second,
            seen: Vec::new(),
        });
        let contradicts = entry.seen.iter().all(|seen| seen.digest != sighting.digest);
        let was_alone = entry
            .seen
            .iter()
            .all(|seen| seen.digest == entry.seen[0].digest);
        if contradicts && was_alone && !entry.seen.is_empty() {
            self.disagreeing += 1;
        }
        entry.seen.push(Seen::new(place, sighting));
        self.bytes += size_of::<Seen>();
    }

    /// Keys that were seen with more than one content so far.
    pub fn disagreeing(&self) -> u64 {
        self.disagreeing
    }

    /// Rows that came after their key was settled without a majority.
    pub fn late(&self) -> u64 {
        self.late
    }

    /// Rows that had to be settled before anyone else could see them, or for which there was no room at all.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// The place of an id.
    pub fn place_of(&self, id: PlaceId) -> &Place {
        let place = usize::try_from(id).ok().and_then(|id| self.places.get(id));
        place.unwrap_or(&self.nowhere)
    }

    /// Takes what was settled since the last call.
    pub fn take_settled(&mut self) -> Settled {
        std::mem::take(&mut self.settled)
    }

    /// Settles everything: the run is over.
    pub fn finish(&mut self) {
        self.queue.clear();
        let mut rest: Vec<_> = std::mem::take(&mut self.entries).into_iter().collect();
        // In the order of time, so that the disagreements that are kept do not depend on a hash.
        rest.sort_by(|(a, x), (b, y)| (x.second, a).cmp(&(y.second, b)));
        for (id, entry) in rest {
            self.settle(id, entry, Because::Over);
        }
    }

    /// The first disagreements, with names.
    pub fn disagreements(&self, agents: &[(String, String)]) -> Vec<Disagreement> {
        let show = |one: &Disagreed| Disagreement {
            group: self.groups[usize::try_from(one.group).expect("a group's number fits")]
                .to_string(),
            key: one.key.to_string(),
            digests: self.show_digests(one, agents),
        };
        self.disagreements.iter().map(show).collect()
    }

    fn show_digests(
        &self,
        Disagreed {
            key,
            seen,
            majority,
            ..
        }: &Disagreed,
        agents: &[(String, String)],
    ) -> Vec<SeenDigest> {
        let mut digests: Vec<_> = sessions_by_digest(seen).into_iter().collect();
        digests.sort_by(|(a, x), (b, y)| y.cmp(x).then(a.cmp(b)));
        let show = |(digest, sessions): (u128, u64)| {
            let here: Vec<_> = seen.iter().filter(|one| one.digest == digest).collect();
            let names: BTreeSet<usize> = here.iter().flat_map(|one| one.agents()).collect();
            let named = |pick: fn(&(String, String)) -> &String| -> Vec<String> {
                let names = names
                    .iter()
                    .filter_map(|agent| agents.get(*agent))
                    .map(|agent| pick(agent).clone());
                names.collect::<BTreeSet<_>>().into_iter().collect()
            };
            SeenDigest {
                digest: if *key == Key::Stream {
                    format!("{digest:032x}")
                } else {
                    format!("{digest:016x}")
                },
                sessions,
                agents: named(|(id, _)| id),
                sites: named(|(_, site)| site),
                minority: *majority != Some(digest),
                witness: format!(
                    "{}/{}",
                    self.place_of(here[0].place).scenario,
                    here[0].witness
                ),
            }
        };
        digests.into_iter().map(show).collect()
    }

    fn forget_before(&mut self, second: u32) {
        while let Some(id) = self.queue.front() {
            if self
                .entries
                .get(id)
                .is_some_and(|entry| entry.second >= second)
            {
                break;
            }
            self.settle_first(Because::Over);
        }
    }

    fn evict(&mut self) -> bool {
        let some = !self.queue.is_empty();
        self.settle_first(Because::MemoryIsShort);
        some
    }

    fn settle_first(&mut self, because: Because) {
        if let Some(id) = self.queue.pop_front()
            && let Some(entry) = self.entries.remove(&id)
        {
            self.bytes -= entry_bytes(&id.1) + entry.seen.len() * size_of::<Seen>();
            let (trace, majority) = (trace(&id), majority(&entry.seen));
            // A row's digest has 64 bits; streams, whose digests have 128, are settled at the end only.
            let majority = majority.and_then(|digest| u64::try_from(digest).ok());
            let majority = majority.and_then(NonZeroU64::new);
            if self.gone.insert(trace, majority).is_none() {
                self.gone_queue.push_back(trace);
            }
            if self.gone_queue.len() > limits::MAX_SETTLED_KEYS
                && let Some(oldest) = self.gone_queue.pop_front()
            {
                self.gone.remove(&oldest);
            }
            self.settle(id, entry, because);
        }
    }

    fn settle(&mut self, (group, key): (u32, Key), entry: Entry, because: Because) {
        let sessions: u64 = entry.seen.iter().map(|seen| u64::from(seen.sessions)).sum();
        let majority = majority(&entry.seen);
        let disagree = entry
            .seen
            .iter()
            .any(|seen| seen.digest != entry.seen[0].digest);
        // One session alone proves nothing, unless it contradicts itself.
        let alone = sessions < 2 && !disagree;
        for seen in &entry.seen {
            let counts = self.settled.entry((seen.place, entry.second)).or_default();
            let count = match majority {
                _ if alone && because == Because::Over => &mut counts.unwitnessed,
                _ if alone => {
                    self.evicted = self.evicted.saturating_add(seen.rows);
                    &mut counts.unverified
                }
                Some(digest) if digest == seen.digest => &mut counts.verified,
                _ => &mut counts.mismatched,
            };
            *count = count.saturating_add(seen.rows);
        }
        if disagree && self.disagreements.len() < limits::MAX_DISAGREEMENTS {
            let mut seen = entry.seen;
            seen.truncate(MAX_EVIDENCE_SEEN);
            self.disagreements.push(Disagreed {
                group,
                key,
                seen,
                majority,
            });
        }
    }
}

impl Entry {
    /// Whether this content would be one more than is remembered. The same content at another place is not.
    fn has_too_many_for(&self, digest: u128) -> bool {
        if self.seen.len() < limits::MAX_DIGESTS_PER_KEY {
            return false;
        }
        let digests: BTreeSet<u128> = self.seen.iter().map(|seen| seen.digest).collect();
        !digests.contains(&digest) && digests.len() >= limits::MAX_DIGESTS_PER_KEY
    }
}

impl Seen {
    fn new(place: PlaceId, sighting: Sighting) -> Self {
        let mut seen = Self {
            digest: sighting.digest,
            rows: 0,
            witness: sighting.witness,
            place,
            sessions: 0,
            agents: [0; limits::MAX_AGENTS_PER_DIGEST],
            agent_count: 0,
        };
        seen.add(sighting);
        seen
    }

    fn add(&mut self, sighting: Sighting) {
        self.rows = self.rows.saturating_add(sighting.rows);
        self.sessions = self.sessions.saturating_add(sighting.sessions);
        let known = usize::from(self.agent_count);
        if !self.agents[..known].contains(&sighting.agent) && known < self.agents.len() {
            self.agents[known] = sighting.agent;
            self.agent_count += 1;
        }
    }

    fn agents(&self) -> impl Iterator<Item = usize> + '_ {
        self.agents[..usize::from(self.agent_count)]
            .iter()
            .map(|agent| usize::from(*agent))
    }
}

fn sessions_by_digest(seen: &[Seen]) -> BTreeMap<u128, u64> {
    let mut sessions = BTreeMap::new();
    for one in seen {
        *sessions.entry(one.digest).or_default() += u64::from(one.sessions);
    }
    sessions
}

/// The digest that more sessions saw than any other, and more than one; none in a tie.
fn majority(seen: &[Seen]) -> Option<u128> {
    let sessions = sessions_by_digest(seen);
    let most = sessions.values().copied().max().filter(|most| *most > 1)?;
    let mut first = sessions.iter().filter(|(_, count)| **count == most);
    match (first.next(), first.next()) {
        (Some((digest, _)), None) => Some(*digest),
        _ => None,
    }
}

/// What an entry takes without its contents.
fn entry_bytes(key: &Key) -> usize {
    match key {
        Key::Text(text) => ENTRY_BYTES + 3 * text.len(),
        Key::Number(_) | Key::Stream => ENTRY_BYTES,
    }
}

#[cfg(test)]
#[path = "agree_tests.rs"]
mod tests;

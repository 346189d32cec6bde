//! Which series a value belongs to: a metric and its labels. Keys are interned once and then named by a small number, so
//! that merging a batch neither allocates nor compares strings twice.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use xxhash_rust::xxh3::Xxh3Default;

use super::table::MetricId;

/// Most labels of one series: scenario, site, and the extra ones of a metric.
pub const LABELS_MAX: usize = 6;

/// Most series of one run; those labelled `agent` are not counted. Reaching it is a finding.
pub const SERIES_MAX: usize = 2_000;

/// Most series labelled `agent` of one run: five metrics of four thousand agents.
pub const AGENT_SERIES_MAX: usize = 20_480;

/// Labels, sorted by name, borrowed from wherever they lie. Looking a series up with them allocates nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct LabelSet<'a> {
    pairs: [(&'a str, &'a str); LABELS_MAX],
    len: usize,
}

/// Why labels are not a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// More than [`LABELS_MAX`].
    #[error("more than {LABELS_MAX} labels")]
    TooMany,
    /// One name twice.
    #[error("a label is given twice")]
    Twice,
}

impl<'a> LabelSet<'a> {
    /// No labels.
    pub const EMPTY: LabelSet<'static> = LabelSet {
        pairs: [("", ""); LABELS_MAX],
        len: 0,
    };

    /// Labels in any order.
    ///
    /// # Errors
    /// [`LabelError`] if a name comes twice or there are too many.
    pub fn new(labels: &[(&'a str, &'a str)]) -> Result<Self, LabelError> {
        labels
            .iter()
            .try_fold(LabelSet { ..LabelSet::EMPTY }, |set, (name, value)| {
                set.with(name, value)
            })
    }

    /// These labels and one more.
    ///
    /// # Errors
    /// [`LabelError`] if the name is there already or there are too many.
    pub fn with(mut self, name: &'a str, value: &'a str) -> Result<Self, LabelError> {
        if self.len == LABELS_MAX {
            return Err(LabelError::TooMany);
        }
        let place = self.pairs().partition_point(|(other, _)| *other < name);
        if self
            .pairs()
            .get(place)
            .is_some_and(|(other, _)| *other == name)
        {
            return Err(LabelError::Twice);
        }
        self.pairs.copy_within(place..self.len, place + 1);
        self.pairs[place] = (name, value);
        self.len += 1;
        Ok(self)
    }

    /// Names and values, sorted by name.
    #[must_use]
    pub fn pairs(&self) -> &[(&'a str, &'a str)] {
        &self.pairs[..self.len]
    }

    /// The value of a label.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&'a str> {
        self.pairs()
            .iter()
            .find(|(other, _)| *other == name)
            .map(|(_, value)| *value)
    }

    fn hash(&self, metric: MetricId) -> u64 {
        let mut hasher = Xxh3Default::new();
        hasher.update(&[metric as u8]);
        for (name, value) in self.pairs() {
            // Neither text holds a byte 0xff, so no two sets of labels give the same bytes.
            hasher.update(name.as_bytes());
            hasher.update(&[0xff]);
            hasher.update(value.as_bytes());
            hasher.update(&[0xff]);
        }
        hasher.digest()
    }
}

impl fmt::Debug for LabelSet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.pairs().iter().copied()).finish()
    }
}

/// A metric and its labels, owned.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeriesKey {
    metric: MetricId,
    labels: Arc<[(Arc<str>, Arc<str>)]>,
}

impl SeriesKey {
    /// The key of these labels.
    #[must_use]
    pub fn new(metric: MetricId, labels: &LabelSet<'_>) -> Self {
        let labels = labels
            .pairs()
            .iter()
            .map(|(name, value)| (Arc::from(*name), Arc::from(*value)))
            .collect();
        Self { metric, labels }
    }

    /// The metric.
    #[must_use]
    pub const fn metric(&self) -> MetricId {
        self.metric
    }

    /// Names and values, sorted by name.
    pub fn labels(&self) -> impl ExactSizeIterator<Item = (&str, &str)> + '_ {
        self.labels
            .iter()
            .map(|(name, value)| (name.as_ref(), value.as_ref()))
    }

    /// The labels, for looking the series up elsewhere.
    #[must_use]
    pub fn label_set(&self) -> LabelSet<'_> {
        let mut set = LabelSet {
            len: self.labels.len().min(LABELS_MAX),
            ..LabelSet::EMPTY
        };
        for (place, pair) in set.pairs.iter_mut().zip(self.labels()) {
            *place = pair;
        }
        set
    }

    /// The value of a label.
    #[must_use]
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels()
            .find(|(other, _)| *other == name)
            .map(|(_, value)| value)
    }

    /// The same series without a label: what series are merged over sites into.
    #[must_use]
    pub fn without(&self, name: &str) -> Self {
        let labels = self
            .labels
            .iter()
            .filter(|(other, _)| other.as_ref() != name)
            .cloned()
            .collect();
        Self {
            metric: self.metric,
            labels,
        }
    }

    fn is(&self, metric: MetricId, labels: &LabelSet<'_>) -> bool {
        self.metric == metric && self.labels().eq(labels.pairs().iter().copied())
    }
}

impl fmt::Display for SeriesKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.metric.name())?;
        let mut before = "{";
        for (name, value) in self.labels() {
            write!(f, "{before}{name}={value:?}")?;
            before = ",";
        }
        f.write_str(if self.labels.is_empty() { "" } else { "}" })
    }
}

impl fmt::Debug for SeriesKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A series' number within one [`Interner`], from 0 without gaps: an index for a `Vec`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeriesId(u32);

impl SeriesId {
    /// The number, for indexing.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The limit of series is reached; the value is lost and whoever asked counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the run has {SERIES_MAX} series, the most that are kept")]
pub struct SeriesFull;

/// Numbers the series of one run.
#[derive(Debug, Clone, Default)]
pub struct Interner {
    keys: Vec<SeriesKey>,
    by_hash: HashMap<u64, Vec<SeriesId>>,
    of_agents: usize,
}

impl Interner {
    /// Knows no series.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of a series, which is new the first time.
    ///
    /// # Errors
    /// [`SeriesFull`] if it would be new and the limit is reached.
    pub fn intern(
        &mut self,
        metric: MetricId,
        labels: &LabelSet<'_>,
    ) -> Result<SeriesId, SeriesFull> {
        let hash = labels.hash(metric);
        let same = self.by_hash.get(&hash).map_or(&[][..], Vec::as_slice);
        let is_it = |id: &&SeriesId| self.keys[id.index()].is(metric, labels);
        if let Some(id) = same.iter().find(is_it) {
            return Ok(*id);
        }
        let of_agent = metric.metric().is_of_agent();
        let full = if of_agent {
            self.of_agents >= AGENT_SERIES_MAX
        } else {
            self.keys.len() - self.of_agents >= SERIES_MAX
        };
        if full {
            return Err(SeriesFull);
        }
        let id = SeriesId(u32::try_from(self.keys.len()).map_err(|_| SeriesFull)?);
        // Only now: what is refused, however often and under how many names, takes no memory.
        self.by_hash.entry(hash).or_default().push(id);
        self.keys.push(SeriesKey::new(metric, labels));
        self.of_agents += usize::from(of_agent);
        Ok(id)
    }

    /// The key of a series that this interner numbered.
    #[must_use]
    pub fn key(&self, id: SeriesId) -> &SeriesKey {
        &self.keys[id.index()]
    }

    /// All series, in the order of their numbers.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (SeriesId, &SeriesKey)> {
        self.keys.iter().enumerate().map(|(place, key)| {
            let number = u32::try_from(place).expect("an interner gives out u32 numbers only");
            (SeriesId(number), key)
        })
    }

    /// How many series there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_sorted_and_single() {
        let set =
            LabelSet::new(&[("stage", "b"), ("outcome", "passed"), ("scenario", "a")]).unwrap();
        let key = SeriesKey::new(MetricId::StageDuration, &set);
        assert_eq!(
            key.to_string(),
            r#"stage_duration{outcome="passed",scenario="a",stage="b"}"#
        );
        assert_eq!(
            key.without("outcome").to_string(),
            r#"stage_duration{scenario="a",stage="b"}"#
        );
        assert_eq!(key.label("stage"), Some("b"));
        assert_eq!(set.with("stage", "c"), Err(LabelError::Twice));
        let names = ["a", "b", "c", "d", "e", "f", "g"];
        let pairs: Vec<_> = names.iter().map(|name| (*name, "")).collect();
        assert_eq!(LabelSet::new(&pairs), Err(LabelError::TooMany));
    }

    #[test]
    fn equal_labels_are_one_series() {
        let mut interner = Interner::new();
        let ab = LabelSet::new(&[("scenario", "a"), ("site", "b")]).unwrap();
        let ba = LabelSet::new(&[("site", "b"), ("scenario", "a")]).unwrap();
        let id = interner.intern(MetricId::SessionsStarted, &ab).unwrap();
        assert_eq!(interner.intern(MetricId::SessionsStarted, &ba), Ok(id));
        assert_ne!(interner.intern(MetricId::SessionsPassed, &ab), Ok(id));
        assert_eq!(interner.len(), 2);
        assert_eq!(interner.key(id).label("site"), Some("b"));
    }

    #[test]
    fn the_limit_of_series_spares_those_of_agents() {
        let mut interner = Interner::new();
        for number in 0..SERIES_MAX {
            let text = number.to_string();
            let labels = LabelSet::new(&[("stage", &text)]).unwrap();
            interner.intern(MetricId::StagePolls, &labels).unwrap();
        }
        let one_more = LabelSet::new(&[("stage", "one more")]).unwrap();
        assert_eq!(
            interner.intern(MetricId::StagePolls, &one_more),
            Err(SeriesFull)
        );
        // A refused series, under whatever name, is not remembered.
        assert_eq!(interner.by_hash.len(), SERIES_MAX);
        let agent = LabelSet::new(&[("agent", "a")]).unwrap();
        assert!(interner.intern(MetricId::AgentCpu, &agent).is_ok());
        let known = LabelSet::new(&[("stage", "7")]).unwrap();
        assert_eq!(
            interner
                .intern(MetricId::StagePolls, &known)
                .unwrap()
                .index(),
            7
        );
    }
}

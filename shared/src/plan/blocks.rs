//! Named lists of stages: which there are, and which of them stages have used.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use super::expr::{Names, listed};
use super::item::Item;
use super::nearest::nearest;
use super::problem::ProblemCode;
use super::stage::StageList;

/// The plan's `blocks`.
pub(super) struct Blocks<'r> {
    /// In the plan's order.
    names: Vec<&'r str>,
    lists: HashMap<&'r str, Item<'r>>,
    used: RefCell<HashSet<&'r str>>,
}

impl<'r> Blocks<'r> {
    pub(super) fn new(blocks: Option<Item<'r>>) -> Self {
        let entries = blocks.map(Item::entries).unwrap_or_default();
        Self {
            names: entries.iter().map(|entry| entry.key).collect(),
            lists: entries
                .into_iter()
                .map(|entry| (entry.key, entry.value))
                .collect(),
            used: RefCell::default(),
        }
    }

    /// The stages of a block, and whether they are used for the first time; `item` names it.
    pub(super) fn find(&self, name: &str, item: Item<'_>) -> Option<(Item<'r>, bool)> {
        let Some((name, list)) = self.lists.get_key_value(name) else {
            let known = self.names.iter().copied();
            let hint = nearest(name, known.clone()).map_or_else(
                || match self.names.is_empty() {
                    true => "declare it under `blocks`".to_owned(),
                    false => format!("`blocks` has {}", listed(known)),
                },
                |near| format!("did you mean `{near}`?"),
            );
            let message = format!("there is no block `{name}`");
            item.problem(ProblemCode::UnknownName, message, hint);
            return None;
        };
        Some((*list, self.used.borrow_mut().insert(name)))
    }

    /// Reads the blocks that no stage has used, for their problems. Where they would stand is not known, so their
    /// expressions may read any name but those that are nowhere.
    pub(super) fn read_unused(&self, names: &Names) {
        for name in &self.names {
            if self.used.borrow_mut().insert(name) {
                StageList::unused(names.clone(), self).read_block(name, self.lists[name]);
            }
        }
    }
}

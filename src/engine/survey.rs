//! The state of all steps without computing any: the basis of `plan`, `status`, `why`, `show` and `graph`.

use crate::error::Result;
use crate::examine::{self, Examiner};
use crate::graph::Graph;
use crate::history::History;
use crate::key::{Key, Recipe};
use crate::memo::Memo;
use crate::plan::{Plan, Selection};
use crate::reason::Reason;
use crate::state::State;
use crate::store::{Lookup, Store};
use contract::stage::StopFlag;
use petgraph::Direction;
use petgraph::graph::NodeIndex;
use std::collections::HashSet;

/// The states of all steps, as far as existing artifacts determine them.
pub struct Survey<'a> {
    /// Steps are cached, due, absent, or waiting for a due step.
    pub plan: Plan<'a>,
    /// What earlier runs recorded.
    pub history: History,
    /// Where artifacts are.
    pub store: &'a Store,
    examiner: Examiner<'a>,
}

impl<'a> Survey<'a> {
    /// Examines every step of a selection.
    pub fn new(graph: &'a Graph, store: &'a Store, selection: &Selection) -> Result<Survey<'a>> {
        let mut plan = Plan::new(graph, selection);
        examine::check_files(&plan)?;
        let memo = Memo::open_to_look(&store.memos(), &graph.file)?;
        let mut examiner = Examiner::new(graph, store, memo, StopFlag::default());
        while !examiner.advance(&mut plan)?.is_empty() {}
        let names = plan.due().iter().map(|node| graph.steps[*node].name.clone());
        let history = History::read(store, &graph.file, names, None)?;
        Ok(Survey { plan, history, store, examiner })
    }

    /// Examines a step and everything it depends on.
    pub fn until(graph: &'a Graph, store: &'a Store, node: NodeIndex) -> Result<Survey<'a>> {
        Survey::new(graph, store, &Selection { until: vec![node], ..Selection::default() })
    }

    /// The recipe of a step; `None` while some input is unknown.
    pub fn recipe(&self, node: NodeIndex) -> Option<Recipe> {
        self.examiner.recipe(&self.plan, node)
    }

    /// Why a due step is due.
    pub fn reason(&self, node: NodeIndex) -> Result<Reason> {
        self.examiner.reason(&self.plan, node, &self.history)
    }

    /// Whether a due step is due only because this program differs from the one that made its earlier
    /// artifact: only the code of its kind changed, and none of the user's files count as code.
    pub fn program_alone_changed(&self, node: NodeIndex) -> Result<bool> {
        let own = self.plan.graph().steps[node].prepared.stage.needs();
        Ok(own.is_empty() && self.reason(node)?.only_differs_in(&["code"]))
    }

    /// The artifact of a key named by another run.
    pub fn open(&self, key: Key) -> Result<Lookup> {
        self.store.open(key, self.examiner.memo())
    }

    /// The due steps that a waiting step waits for.
    pub fn waits_for(&self, node: NodeIndex) -> Vec<NodeIndex> {
        let graph = self.plan.graph();
        let mut found = Vec::new();
        let mut above = vec![node];
        let mut visited = HashSet::new();
        while let Some(node) = above.pop() {
            for producer in graph.steps.neighbors_directed(node, Direction::Incoming) {
                match self.plan.state(producer) {
                    State::Due(_) if visited.insert(producer) => found.push(producer),
                    State::Waiting(_) if visited.insert(producer) => above.push(producer),
                    _ => {}
                }
            }
        }
        found.sort_unstable();
        found
    }

    /// The nearest due or waiting producer of a waiting step: enough for one line of a list.
    pub fn waits_next(&self, node: NodeIndex) -> Option<NodeIndex> {
        let mut producers = self.plan.graph().steps.neighbors_directed(node, Direction::Incoming);
        producers.find(|producer| self.plan.state(*producer).artifact().is_none())
    }
}

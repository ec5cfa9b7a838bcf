//! How things stand without computing anything: what `plan`, `status`, `why`, `show` and `graph` look at.

use crate::error::Result;
use crate::examine::{self, Examined, Examiner};
use crate::graph::Graph;
use crate::history::History;
use crate::key::Reason;
use crate::memo::Memo;
use crate::plan::{Plan, Selection, State};
use crate::store::{Lookup, Store};
use contract::stage::StopFlag;
use petgraph::Direction;
use petgraph::graph::NodeIndex;
use std::collections::HashMap;

/// The states of all steps as far as they follow from what is there.
pub struct Survey<'a> {
    /// Steps are cached, due, absent, or waiting for one that is due.
    pub plan: Plan<'a>,
    /// What is known of every step whose inputs are known.
    pub examined: HashMap<NodeIndex, Examined>,
    /// What earlier runs made.
    pub history: History,
    /// Where artifacts are.
    pub store: &'a Store,
}

impl<'a> Survey<'a> {
    /// Looks at every step of a selection.
    pub fn new(graph: &'a Graph, store: &'a Store, selection: &Selection) -> Result<Survey<'a>> {
        let mut plan = Plan::new(graph, selection);
        examine::check_files(&plan)?;
        let memo = Memo::open_to_look(&store.memos(), &graph.file)?;
        let mut examiner = Examiner::new(graph, store, memo, StopFlag::default());
        let mut examined = HashMap::new();
        loop {
            let (mut ready, mut absent) = (Vec::new(), Vec::new());
            for node in plan.take_ready() {
                match examine::absent_hint(&graph.steps[node]) {
                    Some(hint) => absent.push((node, hint)),
                    None => ready.push(node),
                }
            }
            if ready.is_empty() && absent.is_empty() {
                break;
            }
            for (node, hint) in absent {
                plan.set(node, State::Absent(hint));
            }
            for found in examiner.examine(&plan, &ready)? {
                let state = match &found.lookup {
                    Lookup::Hit(artifact) if !plan.forced(found.node) => State::Cached(artifact.clone()),
                    Lookup::Hit(_) | Lookup::Miss | Lookup::Damaged(_) => State::Due,
                };
                plan.set(found.node, state);
                examined.insert(found.node, found);
            }
        }
        let due = plan.steps().filter(|node| *plan.state(*node) == State::Due);
        let names: Vec<String> = due.map(|node| graph.steps[node].name.clone()).collect();
        let history = History::read(store, &graph.file, names.into_iter(), None)?;
        Ok(Survey { plan, examined, history, store })
    }

    /// Why a due step is due.
    pub fn reason(&self, node: NodeIndex) -> Result<Reason> {
        let examined = &self.examined[&node];
        match &examined.lookup {
            _ if self.plan.forced(node) => Ok(Reason::Forced),
            Lookup::Damaged(found) => Ok(Reason::Damaged { found: found.clone() }),
            Lookup::Hit(_) | Lookup::Miss => {
                let step = &self.plan.graph().steps[node].name;
                self.history.reason(self.store, step, examined.key, &examined.recipe)
            }
        }
    }

    /// The due steps that a waiting step waits for.
    pub fn waits_for(&self, node: NodeIndex) -> Vec<NodeIndex> {
        let graph = self.plan.graph();
        let mut found = Vec::new();
        let mut above = vec![node];
        let mut visited = std::collections::HashSet::new();
        while let Some(node) = above.pop() {
            for producer in graph.steps.neighbors_directed(node, Direction::Incoming) {
                match self.plan.state(producer) {
                    State::Due if visited.insert(producer) => found.push(producer),
                    State::Waiting if visited.insert(producer) => above.push(producer),
                    _ => {}
                }
            }
        }
        found.sort_unstable();
        found
    }

    /// The nearest due or waiting step before a waiting one: enough for a line of a list.
    pub fn waits_next(&self, node: NodeIndex) -> Option<NodeIndex> {
        let mut producers = self.plan.graph().steps.neighbors_directed(node, Direction::Incoming);
        producers.find(|producer| self.plan.state(*producer).artifact().is_none())
    }
}

/// One word for a state.
pub fn word(state: &State) -> &'static str {
    match state {
        State::Out => "out",
        State::Waiting => "waiting",
        State::Ready | State::Due => "due",
        State::Running => "running",
        State::Cached(_) => "cached",
        State::Computed(_) => "computed",
        State::Failed => "failed",
        State::Skipped(_) => "skipped",
        State::Absent(_) => "absent",
    }
}

//! How a change of one step affects the others: the one function that makes every transition.
//!
//! Pure: it touches neither disk nor clock. `run`, `plan` and `status` feed it the same [`News`].

use crate::graph::Graph;
use crate::state::{News, State, Work};
use petgraph::Direction;
use petgraph::graph::NodeIndex;
use std::collections::BTreeSet;
use std::time::Instant;

/// Which steps are selected.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Only these; the artifacts of their producers must exist.
    pub only: Vec<NodeIndex>,
    /// These and everything they depend on.
    pub until: Vec<NodeIndex>,
    /// These are computed even if their artifacts exist.
    pub force: Vec<NodeIndex>,
}

/// What the selection permits for a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Right {
    /// Nothing.
    Nothing,
    /// It may be looked up, because a selected step needs it.
    LookUp,
    /// It may be computed.
    Compute,
}

/// The states of all steps of a graph.
pub struct Plan<'g> {
    graph: &'g Graph,
    states: Vec<State>,
    rights: Vec<Right>,
    forced: Vec<bool>,
    /// The steps in each state. Nodes are numbered in the graph's order, so the first of a set comes first in
    /// that order.
    ready: BTreeSet<NodeIndex>,
    due: BTreeSet<NodeIndex>,
    later: BTreeSet<NodeIndex>,
    running: BTreeSet<NodeIndex>,
    failed: usize,
}

impl<'g> Plan<'g> {
    /// A plan in its initial state.
    pub fn new(graph: &'g Graph, selection: &Selection) -> Plan<'g> {
        let count = graph.steps.node_count();
        let mut rights = vec![Right::Nothing; count];
        if selection.only.is_empty() && selection.until.is_empty() {
            rights.fill(Right::Compute);
        }
        give(graph, &mut rights, &selection.until, Right::Compute, Right::Compute);
        give(graph, &mut rights, &selection.only, Right::Compute, Right::LookUp);
        let mut forced = vec![false; count];
        for node in &selection.force {
            forced[node.index()] = rights[node.index()] == Right::Compute;
        }
        let (ready, due, later, running) = Default::default();
        let states = vec![State::Out; count];
        let mut plan = Plan { graph, states, rights, forced, ready, due, later, running, failed: 0 };
        for node in graph.steps.node_indices() {
            if plan.rights[node.index()] != Right::Nothing {
                let inputs = graph.steps.neighbors_directed(node, Direction::Incoming).count();
                plan.enter(node, if inputs == 0 { State::Ready } else { State::Waiting(inputs) });
            }
        }
        plan
    }

    /// The graph that it is a plan of.
    pub fn graph(&self) -> &'g Graph {
        self.graph
    }

    /// How far a step is.
    pub fn state(&self, node: NodeIndex) -> &State {
        &self.states[node.index()]
    }

    /// Whether a step is computed even if its artifact exists.
    pub fn forced(&self, node: NodeIndex) -> bool {
        self.forced[node.index()]
    }

    /// Whether a step may be computed, rather than only looked up.
    pub fn may_compute(&self, node: NodeIndex) -> bool {
        self.rights[node.index()] == Right::Compute
    }

    /// Every selected step, in order.
    pub fn steps(&self) -> impl Iterator<Item = NodeIndex> {
        self.graph.order.iter().copied().filter(|node| self.rights[node.index()] != Right::Nothing)
    }

    /// The steps whose artifacts should be looked up, in order.
    pub fn ready(&self) -> &BTreeSet<NodeIndex> {
        &self.ready
    }

    /// The steps that may start, in order.
    pub fn due(&self) -> &BTreeSet<NodeIndex> {
        &self.due
    }

    /// The steps handed to executors.
    pub fn running(&self) -> &BTreeSet<NodeIndex> {
        &self.running
    }

    /// How many steps failed.
    pub fn failed(&self) -> usize {
        self.failed
    }

    /// The earliest time at which a step in `Later` may start.
    pub fn next_time(&self) -> Option<Instant> {
        self.later.iter().filter_map(|node| self.time_of(*node)).min()
    }

    /// The steps in `Later` whose time has come.
    pub fn awaited(&self, now: Instant) -> Vec<NodeIndex> {
        let over = |node: &NodeIndex| self.time_of(*node).is_some_and(|at| at <= now);
        self.later.iter().copied().filter(over).collect()
    }

    fn time_of(&self, node: NodeIndex) -> Option<Instant> {
        match self.state(node) {
            State::Later(_, at) => Some(*at),
            _ => None,
        }
    }

    /// The only function that makes transitions: applies the news to the step and to the steps that depend on
    /// it. Returns every step that became settled, starting with this one.
    ///
    /// # Panics
    /// If the news is impossible in the step's state, such as the end of a step that never started.
    pub fn advance(&mut self, node: NodeIndex, news: News) -> Vec<NodeIndex> {
        let next = match (self.leave(node), news) {
            (State::Ready, News::Found(artifact)) if self.forced(node) => {
                State::Due(Work { key: artifact.key(), damage: None, attempts: 0, waits: 0 })
            }
            (State::Ready | State::Running(..), News::Found(artifact)) => State::Cached(artifact),
            (State::Ready, News::Missing(key, damage)) => match self.may_compute(node) {
                true => State::Due(Work { key, damage, attempts: 0, waits: 0 }),
                false => {
                    let name = &self.graph.steps[node].name;
                    State::Skipped(format!("{name} is not asked for and has no artifact"))
                }
            },
            (State::Ready, News::Absent(hint)) => State::Absent(hint),
            (State::Due(work), News::Handed) => State::Running(work, None),
            (State::Running(work, _), News::Begun(checkpoints)) => {
                State::Running(Work { attempts: work.attempts + 1, ..work }, Some(checkpoints))
            }
            (State::Running(work, _), News::Busy(at)) => {
                State::Later(Work { waits: work.waits + 1, ..work }, at)
            }
            (State::Running(work, _), News::Failed(Some(at))) => State::Later(work, at),
            (State::Running(..), News::Failed(None)) => State::Failed,
            (State::Running(..), News::Computed(artifact)) => State::Computed(artifact),
            (State::Later(work, _), News::Awaited) => State::Due(work),
            (state, News::GivenUp(why)) if !state.settled() => State::Skipped(why),
            (state, news) => unreachable!("a step that is {} cannot hear of {news:?}", state.word()),
        };
        self.enter(node, next);
        let mut settled = Vec::new();
        let mut entered = vec![node];
        while let Some(node) = entered.pop() {
            let follows = match self.state(node) {
                state if !state.settled() => continue,
                State::Failed => Some(State::Skipped(format!("{} failed", self.graph.steps[node].name))),
                state @ (State::Skipped(_) | State::Absent(_)) => Some(state.clone()),
                _ => None,
            };
            settled.push(node);
            for consumer in self.graph.steps.neighbors_directed(node, Direction::Outgoing) {
                let State::Waiting(inputs) = self.state(consumer) else { continue };
                let next = match (&follows, inputs) {
                    (Some(follows), _) => follows.clone(),
                    (None, 1) => State::Ready,
                    (None, inputs) => State::Waiting(inputs - 1),
                };
                self.enter(consumer, next);
                entered.push(consumer);
            }
        }
        if let [_, followers @ ..] = &mut settled[..] {
            followers.sort_unstable();
        }
        settled
    }

    /// Takes a step out of its state and out of that state's set.
    fn leave(&mut self, node: NodeIndex) -> State {
        let state = std::mem::replace(&mut self.states[node.index()], State::Out);
        if let Some(set) = self.set_of(&state) {
            set.remove(&node);
        }
        state
    }

    /// Puts a step into a state and into that state's set. Prereq: the step is in no set.
    fn enter(&mut self, node: NodeIndex, state: State) {
        if let Some(set) = self.set_of(&state) {
            set.insert(node);
        }
        self.failed += usize::from(matches!(state, State::Failed));
        self.states[node.index()] = state;
    }

    fn set_of(&mut self, state: &State) -> Option<&mut BTreeSet<NodeIndex>> {
        match state {
            State::Ready => Some(&mut self.ready),
            State::Due(_) => Some(&mut self.due),
            State::Later(..) => Some(&mut self.later),
            State::Running(..) => Some(&mut self.running),
            State::Out | State::Waiting(_) | State::Cached(_) | State::Computed(_) => None,
            State::Failed | State::Skipped(_) | State::Absent(_) => None,
        }
    }
}

/// Grants `right` to some steps, and `above` to everything they depend on.
fn give(graph: &Graph, rights: &mut [Right], to: &[NodeIndex], right: Right, above: Right) {
    let mut found: Vec<NodeIndex> = to.to_vec();
    for node in to {
        rights[node.index()] = rights[node.index()].max(right);
    }
    let mut visited = vec![false; rights.len()];
    while let Some(node) = found.pop() {
        for producer in graph.steps.neighbors_directed(node, Direction::Incoming) {
            if !std::mem::replace(&mut visited[producer.index()], true) {
                rights[producer.index()] = rights[producer.index()].max(above);
                found.push(producer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{Digest, Key};
    use crate::store::Artifact;
    use crate::store::Store;
    use contract::checkpoint::Checkpoints;
    use std::path::Path;
    use std::time::Duration;

    /// A graph of steps with these names, each with the names of its inputs.
    fn graph(steps: &[(&str, &[&str])]) -> Graph {
        let folder = tempfile::tempdir().unwrap();
        let mut text = "stages:\n".to_owned();
        for (name, needs) in steps {
            let wires: Vec<String> = needs.iter().map(|need| format!("{need}: {need}")).collect();
            let wires = wires.join(", ");
            text.push_str(&format!("  {name}: {{kind: command, in: {{{wires}}}, with: {{run: 'true'}}}}\n"));
        }
        let file = folder.path().join("p.yaml");
        std::fs::write(&file, text).unwrap();
        Graph::load(&file, &[command::KIND], &[], folder.path()).unwrap()
    }

    fn diamond() -> Graph {
        graph(&[("a", &[]), ("b", &["a"]), ("c", &["a"]), ("d", &["b", "c"])])
    }

    fn key() -> Key {
        Key::parse(&Digest::of(b"recipe").to_string()).unwrap()
    }

    fn artifact() -> Artifact {
        Store::at(Path::new("cache")).verified(key(), Digest::of(b"files"), 0)
    }

    fn checkpoints() -> Checkpoints {
        Checkpoints::in_folder("checkpoints".into())
    }

    fn words(plan: &Plan<'_>) -> Vec<&'static str> {
        plan.graph().order.iter().map(|node| plan.state(*node).word()).collect()
    }

    fn node(plan: &Plan<'_>, name: &str) -> NodeIndex {
        plan.graph().find(name).unwrap()
    }

    /// Tells the plan and returns the names of what was settled.
    fn tell(plan: &mut Plan<'_>, name: &str, news: News) -> Vec<String> {
        let node = node(plan, name);
        plan.advance(node, news).into_iter().map(|node| plan.graph().steps[node].name.clone()).collect()
    }

    fn begin(plan: &mut Plan<'_>, name: &str) {
        tell(plan, name, News::Handed);
        tell(plan, name, News::Begun(checkpoints()));
    }

    #[test]
    fn a_step_is_ready_once_all_of_its_inputs_are_known() {
        let graph = diamond();
        let mut plan = Plan::new(&graph, &Selection::default());
        assert_eq!(plan.ready().len(), 1, "only `a` needs nothing");
        assert_eq!(tell(&mut plan, "a", News::Found(artifact())), ["a"]);
        assert_eq!(plan.ready().len(), 2);
        assert_eq!(tell(&mut plan, "b", News::Found(artifact())), ["b"]);
        assert!(tell(&mut plan, "c", News::Missing(key(), None)).is_empty(), "due is not settled");
        assert_eq!(words(&plan), ["cached", "cached", "due", "waiting"]);
        begin(&mut plan, "c");
        tell(&mut plan, "c", News::Computed(artifact()));
        assert_eq!(words(&plan), ["cached", "cached", "computed", "due"]);
        assert!(matches!(plan.state(node(&plan, "d")), State::Ready));
    }

    #[test]
    fn what_needs_a_failed_step_is_skipped_once_and_says_why() {
        let graph = diamond();
        let mut plan = Plan::new(&graph, &Selection::default());
        tell(&mut plan, "a", News::Missing(key(), None));
        begin(&mut plan, "a");
        assert_eq!(tell(&mut plan, "a", News::Failed(None)), ["a", "b", "c", "d"]);
        assert_eq!((words(&plan)[0], plan.failed()), ("failed", 1));
        for name in ["b", "c", "d"] {
            let why = format!("{:?}", plan.state(node(&plan, name)));
            assert_eq!(why, "Skipped(\"a failed\")");
        }
    }

    #[test]
    fn absence_is_handed_down_with_its_hint() {
        let graph = diamond();
        let mut plan = Plan::new(&graph, &Selection::default());
        assert_eq!(tell(&mut plan, "a", News::Absent("fetch it".into())), ["a", "b", "c", "d"]);
        assert_eq!(words(&plan), ["absent"; 4]);
    }

    #[test]
    fn a_retry_and_a_wait_come_back_when_their_time_has_come() {
        let graph = graph(&[("a", &[])]);
        let mut plan = Plan::new(&graph, &Selection::default());
        let now = Instant::now();
        let later = now + Duration::from_secs(5);
        tell(&mut plan, "a", News::Missing(key(), None));
        begin(&mut plan, "a");
        tell(&mut plan, "a", News::Failed(Some(later)));
        assert!(plan.due().is_empty() && plan.running().is_empty());
        assert_eq!(plan.next_time(), Some(later));
        assert_eq!(plan.awaited(now), []);
        assert_eq!(plan.awaited(later).len(), 1);
        tell(&mut plan, "a", News::Awaited);
        tell(&mut plan, "a", News::Handed);
        tell(&mut plan, "a", News::Busy(later));
        let work = Work { key: key(), damage: None, attempts: 1, waits: 1 };
        assert_eq!(plan.state(node(&plan, "a")).work(), Some(&work), "a wait is no attempt");
        tell(&mut plan, "a", News::Awaited);
        tell(&mut plan, "a", News::Handed);
        assert_eq!(tell(&mut plan, "a", News::Found(artifact())), ["a"], "somebody else made it");
    }

    #[test]
    fn only_looks_up_what_it_needs_and_until_computes_it() {
        let graph = diamond();
        let of = |only: &[&str], until: &[&str]| {
            let nodes = |names: &[&str]| names.iter().map(|name| graph.find(name).unwrap()).collect();
            Plan::new(&graph, &Selection { only: nodes(only), until: nodes(until), force: Vec::new() })
        };
        let mut plan = of(&["b"], &[]);
        assert_eq!(words(&plan), ["due", "waiting", "out", "out"]);
        assert_eq!(tell(&mut plan, "a", News::Missing(key(), None)), ["a", "b"]);
        assert_eq!(words(&plan), ["skipped", "skipped", "out", "out"]);
        let mut plan = of(&[], &["b"]);
        assert!(tell(&mut plan, "a", News::Missing(key(), None)).is_empty());
        assert_eq!(words(&plan), ["due", "waiting", "out", "out"]);
    }

    #[test]
    fn a_forced_step_is_due_although_it_is_there() {
        let graph = diamond();
        let force = vec![graph.find("a").unwrap()];
        let mut plan = Plan::new(&graph, &Selection { force, ..Selection::default() });
        assert!(tell(&mut plan, "a", News::Found(artifact())).is_empty());
        assert_eq!(plan.state(node(&plan, "a")).key(), Some(key()));
        assert_eq!(words(&plan)[0], "due");
    }

    #[test]
    fn a_step_that_is_given_up_takes_along_what_needs_it() {
        let graph = diamond();
        let mut plan = Plan::new(&graph, &Selection::default());
        tell(&mut plan, "a", News::Found(artifact()));
        assert_eq!(tell(&mut plan, "b", News::GivenUp("enough".into())), ["b", "d"]);
        assert_eq!(words(&plan), ["cached", "skipped", "due", "skipped"]);
    }

    #[test]
    fn nodes_are_numbered_in_order() {
        let graph = graph(&[("late", &["early"]), ("early", &[])]);
        assert!(graph.order.is_sorted() && graph.steps[graph.order[0]].name == "early");
    }
}

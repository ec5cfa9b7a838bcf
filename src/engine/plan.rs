//! The state of every step, and what follows from one step's for the others. Never sees a disk.

use crate::graph::Graph;
use crate::store::Artifact;
use petgraph::Direction;
use petgraph::graph::NodeIndex;

/// How far a step is.
#[derive(Debug, Clone, PartialEq)]
pub enum State {
    /// Not asked for.
    Out,
    /// Some input is not known yet.
    Waiting,
    /// Every input is known; the store has not been asked.
    Ready,
    /// Its artifact is not there.
    Due,
    /// It is being computed.
    Running,
    /// Its artifact was there.
    Cached(Artifact),
    /// Its artifact was made by this run.
    Computed(Artifact),
    /// It could not be computed.
    Failed,
    /// It is not computed, and why.
    Skipped(String),
    /// An optional input is not there: what the pipeline file says to do about it.
    Absent(String),
}

impl State {
    /// Whether nothing more will happen to the step.
    pub fn settled(&self) -> bool {
        use State::{Absent, Cached, Computed, Due, Failed, Out, Ready, Running, Skipped, Waiting};
        match self {
            Out | Cached(_) | Computed(_) | Failed | Skipped(_) | Absent(_) => true,
            Waiting | Ready | Due | Running => false,
        }
    }

    /// Its artifact, if it has one.
    pub fn artifact(&self) -> Option<&Artifact> {
        match self {
            State::Cached(artifact) | State::Computed(artifact) => Some(artifact),
            _ => None,
        }
    }
}

/// Which steps are asked for.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// These alone; what they need must be there.
    pub only: Vec<NodeIndex>,
    /// These and all that they need.
    pub until: Vec<NodeIndex>,
    /// These are computed although they are there.
    pub force: Vec<NodeIndex>,
}

/// What may be done about a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Right {
    /// Nothing.
    Nothing,
    /// It may be looked up, for those who need it.
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
    /// How many inputs are not known yet.
    missing: Vec<usize>,
    /// Steps that became ready since they were last taken.
    ready: Vec<NodeIndex>,
}

impl<'g> Plan<'g> {
    /// A plan in which nothing has happened.
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
        let mut plan =
            Plan { graph, states: Vec::new(), rights, forced, missing: Vec::new(), ready: Vec::new() };
        for node in graph.steps.node_indices() {
            let missing = graph.steps.neighbors_directed(node, Direction::Incoming).count();
            plan.missing.push(missing);
            plan.states.push(match plan.rights[node.index()] {
                Right::Nothing => State::Out,
                Right::LookUp | Right::Compute => State::Waiting,
            });
        }
        for &node in &graph.order {
            if plan.missing[node.index()] == 0 && plan.states[node.index()] == State::Waiting {
                plan.states[node.index()] = State::Ready;
                plan.ready.push(node);
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

    /// Whether a step is to be computed even if it is there.
    pub fn forced(&self, node: NodeIndex) -> bool {
        self.forced[node.index()]
    }

    /// Whether a step may be computed, and not just looked up.
    pub fn may_compute(&self, node: NodeIndex) -> bool {
        self.rights[node.index()] == Right::Compute
    }

    /// Every step that is asked for, in order.
    pub fn steps(&self) -> impl Iterator<Item = NodeIndex> {
        self.graph.order.iter().copied().filter(|node| self.rights[node.index()] != Right::Nothing)
    }

    /// The steps that became ready since the last call.
    pub fn take_ready(&mut self) -> Vec<NodeIndex> {
        std::mem::take(&mut self.ready)
    }

    /// The one place where states change. Returns every other step that was settled by it: steps that can
    /// no longer be computed.
    pub fn set(&mut self, node: NodeIndex, state: State) -> Vec<NodeIndex> {
        let mut settled = Vec::new();
        let mut changes = vec![(node, state)];
        while let Some((node, state)) = changes.pop() {
            let name = &self.graph.steps[node].name;
            let follows = match &state {
                State::Cached(_) | State::Computed(_) => None,
                State::Failed => Some(State::Skipped(format!("{name} failed"))),
                State::Skipped(why) => Some(State::Skipped(why.clone())),
                State::Absent(hint) => Some(State::Absent(hint.clone())),
                State::Out | State::Waiting | State::Ready | State::Due | State::Running => {
                    self.states[node.index()] = state;
                    continue;
                }
            };
            self.states[node.index()] = state;
            for consumer in self.graph.steps.neighbors_directed(node, Direction::Outgoing) {
                let index = consumer.index();
                if self.states[index] != State::Waiting {
                    continue;
                }
                match &follows {
                    Some(follows) => {
                        settled.push(consumer);
                        changes.push((consumer, follows.clone()));
                    }
                    None => {
                        self.missing[index] -= 1;
                        if self.missing[index] == 0 {
                            self.states[index] = State::Ready;
                            self.ready.push(consumer);
                        }
                    }
                }
            }
        }
        settled.sort_unstable();
        settled.dedup();
        settled
    }
}

/// Gives a right to some steps, and another one to all that they need.
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

//! Finds out which steps are due, and starts them as far as the machine allows.

use super::{Due, FIRST_LOOK, Runner, Running};
use crate::error::Result;
use crate::event::{Event, Sink};
use crate::examine::{self, Examined};
use crate::executor::Task;
use crate::graph::Source;
use crate::history::History;
use crate::key::{Digest, Reason};
use crate::plan::State;
use crate::pools::{Lease, Taken};
use crate::store::Lookup;
use contract::checkpoint::Checkpoints;
use petgraph::graph::NodeIndex;
use std::collections::BTreeMap;
use std::time::Instant;

impl Runner<'_> {
    /// Looks up every step that is ready, which may make others ready.
    pub(super) fn examine_ready(&mut self) -> Result<()> {
        loop {
            let mut ready = Vec::new();
            for node in self.plan.take_ready() {
                match examine::absent_hint(&self.graph.steps[node]) {
                    Some(hint) => self.settle(node, State::Absent(hint))?,
                    None => ready.push(node),
                }
            }
            if ready.is_empty() {
                return Ok(());
            }
            // From here on no collection takes place: keys are on record before it goes on.
            let lock = self.store.keep_collection_away()?;
            match self.examiner.examine(&self.plan, &ready) {
                Ok(examined) => {
                    for examined in examined {
                        self.decide(examined)?;
                    }
                }
                // The signal cut the reading short; the loop ends by itself.
                Err(_) if self.stop.reason().is_some() => {}
                Err(error) => return Err(error),
            }
            self.log.flush()?;
            lock.release()?;
            if self.stop.reason().is_some() {
                return Ok(());
            }
        }
    }

    fn decide(&mut self, examined: Examined) -> Result<()> {
        let Examined { node, recipe, canonical, key, lookup } = examined;
        let step = self.name(node);
        let forced = self.plan.forced(node);
        let damage = match lookup {
            Lookup::Hit(artifact) if !forced => {
                return self.settle(node, State::Cached(artifact));
            }
            Lookup::Hit(_) | Lookup::Miss => None,
            Lookup::Damaged(found) => Some(found),
        };
        if !self.plan.may_compute(node) {
            let why = format!("{step} is not asked for and has no artifact");
            return self.settle(node, State::Skipped(why));
        }
        let reason = match damage {
            _ if forced => Reason::Forced,
            Some(found) => {
                let text = format!("its artifact is damaged ({found}); it is computed again");
                self.tell(Event::Warning { step: Some(step.clone()), text })?;
                Reason::Damaged { found }
            }
            None => {
                let store = self.store;
                self.history()?.reason(store, &step, key, &recipe)?
            }
        };
        self.plan.set(node, State::Due);
        self.due.insert(
            node,
            Due { key, recipe: canonical, attempt: 0, look: FIRST_LOOK, told: false, told_of_gpu: false },
        );
        self.queue.insert((self.rank[node.index()], node));
        self.tell(Event::Due { step, key, reason })
    }

    fn history(&mut self) -> Result<&History> {
        if self.history.is_none() {
            let steps = self.plan.steps().map(|node| self.name(node));
            let history = History::read(self.store, &self.graph.file, steps, Some(self.log.run()))?;
            self.history = Some(history);
        }
        Ok(self.history.as_ref().expect("it was just read"))
    }

    /// Starts due steps, first things first, as far as the pools go.
    pub(super) fn start_due(&mut self) -> Result<()> {
        let now = Instant::now();
        let queue = &mut self.queue;
        let rank = &self.rank;
        self.later.retain(|(at, node)| *at > now || !queue.insert((rank[node.index()], *node)));
        let mut started: Vec<(usize, NodeIndex, Lease)> = Vec::new();
        let mut elsewhere = Vec::new();
        for &(rank, node) in &self.queue {
            if self.pools.exhausted() {
                break;
            }
            // Equal steps: the first one computes, the others will find its artifact.
            let key = |node: &NodeIndex| self.due[node].key;
            let mut busy = self.running.keys().chain(started.iter().map(|(_, node, _)| node));
            if busy.any(|other| key(other) == key(&node)) {
                continue;
            }
            match self.pools.take(&self.graph.steps[node].resources)? {
                Taken::Lease(lease) => started.push((rank, node, lease)),
                Taken::Later if started.is_empty() && self.running.is_empty() => {
                    unreachable!("a step fits an idle machine: see check_gpus and Pools::take");
                }
                Taken::Later => {}
                Taken::Elsewhere(process) => elsewhere.push((node, process)),
            }
        }
        for (rank, node, lease) in started {
            self.queue.remove(&(rank, node));
            self.start(node, lease);
        }
        for (node, process) in elsewhere {
            let due = self.due.get_mut(&node).expect("a queued step is due");
            if !std::mem::replace(&mut due.told_of_gpu, true) {
                self.tell(Event::WaitingForGpu { step: self.name(node), process })?;
            }
        }
        Ok(())
    }

    fn start(&mut self, node: NodeIndex, lease: Lease) {
        let step = &self.graph.steps[node];
        let due = &self.due[&node];
        let mut inputs = BTreeMap::new();
        for input in &step.inputs {
            let path = match &input.source {
                Source::File { path, .. } => Some(path.clone()),
                Source::Step(producer) => {
                    self.plan.state(*producer).artifact().map(|artifact| artifact.out.clone())
                }
                Source::Unset { .. } => None,
            };
            inputs.insert(input.slot.clone(), path.expect("a due step has all its inputs"));
        }
        let checkpoints = Checkpoints::in_folder(self.store.checkpoints(due.key));
        self.executor.start(Task {
            node,
            step: step.name.clone(),
            stage: step.prepared.stage.clone(),
            key: due.key,
            recipe: due.recipe.clone(),
            anew: self.plan.forced(node),
            draft: format!("{}.{}.{}", self.log.run(), node.index(), due.attempt),
            inputs,
            watched: self.examiner.watched(node),
            root: self.graph.root.clone(),
            cpus: lease.cpus,
            gpus: lease.gpus.clone(),
            on_gpu: step.kind.on_device.is_some(),
            limit: step.timeout.or(step.resources.time),
            checkpoints: checkpoints.clone(),
            log: self.log.output_folder().join(file_name(&step.name)),
            run: self.log.run().to_owned(),
        });
        self.plan.set(node, State::Running);
        self.running.insert(node, Running { lease, checkpoints });
    }
}

/// A step's name as a file name: no longer than file systems allow.
fn file_name(step: &str) -> String {
    let short: String = step.chars().take(100).collect();
    match short.len() == step.len() {
        true => format!("{step}.log"),
        false => format!("{short}-{}.log", Digest::of(step.as_bytes()).short()),
    }
}

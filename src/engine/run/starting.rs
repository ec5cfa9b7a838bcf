//! Looks up which steps are due, and starts as many as the resources allow.

use super::Runner;
use crate::error::Result;
use crate::event::{Event, Sink};
use crate::history::History;
use crate::key::Digest;
use crate::pools::{Lease, Taken};
use crate::reason::Reason;
use crate::state::{News, State};
use crate::task::Task;
use petgraph::graph::NodeIndex;
use std::ops::Bound::{Excluded, Unbounded};
use std::time::Instant;

/// How many steps may wait for the disk, so that drafts do not pile up if it is slower than the steps.
const WAITING_PER_CPU: usize = 4;

impl Runner<'_> {
    /// Looks up every ready step, which may make further steps ready.
    pub(super) fn examine_ready(&mut self) -> Result<()> {
        if self.plan.ready().is_empty() {
            return Ok(());
        }
        // No collection can take place until the lock is released; by then the keys are on record.
        let lock = self.store.keep_collection_away()?;
        while self.stop.reason().is_none() {
            match self.examiner.advance(&mut self.plan) {
                Ok(changed) if changed.is_empty() => break,
                Ok(changed) => changed.into_iter().try_for_each(|node| match self.plan.state(node) {
                    State::Due(_) => self.tell_due(node),
                    _ => self.tell_end(node),
                })?,
                // The signal interrupted the reading; the loop ends by itself.
                Err(_) if self.stop.reason().is_some() => {}
                Err(error) => return Err(error),
            }
        }
        self.log.flush()?;
        Ok(lock.release()?)
    }

    fn tell_due(&mut self, node: NodeIndex) -> Result<()> {
        let history = match self.history.take() {
            Some(history) => history,
            None => {
                let steps = self.plan.steps().map(|node| self.name(node));
                let history = History::read(self.store, &self.graph.file, steps, Some(self.log.run()))?;
                self.tell_expected(&history)?;
                history
            }
        };
        let reason = self.examiner.reason(&self.plan, node, &history)?;
        self.history = Some(history);
        let (step, key) = (self.name(node), self.plan.state(node).key().expect("what is due has a key"));
        if let Reason::Damaged { found } = &reason {
            let text = format!("its artifact is damaged ({found}); it is computed again");
            self.tell(Event::Warning { step: Some(step.clone()), text })?;
        }
        self.tell(Event::Due { step, key, reason })
    }

    /// Tells the sink how long each step that is not settled took the last time.
    fn tell_expected(&mut self, history: &History) -> Result<()> {
        let mut expected = Vec::new();
        for node in self.plan.steps().filter(|node| !self.plan.state(*node).settled()) {
            let step = self.name(node);
            let last = history.last(&step).map(|(key, _)| self.store.manifest(key)).transpose()?.flatten();
            expected.push((step, last.map(|manifest| manifest.seconds)));
        }
        self.sink.expect(&expected);
        Ok(())
    }

    /// Starts due steps in order, as long as the pools have room.
    pub(super) fn start_due(&mut self) -> Result<()> {
        for node in self.plan.awaited(Instant::now()) {
            self.advance(node, News::Awaited)?;
        }
        let mut next = self.plan.due().first().copied();
        while let Some(node) = next.filter(|_| self.has_room()) {
            next = self.plan.due().range((Excluded(node), Unbounded)).next().copied();
            // Steps with equal keys: the first one computes, and the others will find its artifact.
            let key = self.plan.state(node).key();
            if self.plan.running().iter().any(|other| self.plan.state(*other).key() == key) {
                continue;
            }
            match self.pools.take(&self.graph.steps[node].takes())? {
                Taken::Lease(lease) => self.start(node, lease)?,
                Taken::Later if self.plan.running().is_empty() => {
                    unreachable!("a step fits an idle machine: see check_gpus and Pools::take");
                }
                Taken::Later => {}
                Taken::Elsewhere(process) => {
                    if self.told_of_gpu.insert(node) {
                        self.tell(Event::WaitingForGpu { step: self.name(node), process })?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether a further step may start: a processor is free, and not too many steps wait for the disk.
    fn has_room(&self) -> bool {
        let waiting = self.plan.running().len() - self.leases.len();
        !self.pools.exhausted() && waiting < WAITING_PER_CPU * self.pools.all_cpus()
    }

    fn start(&mut self, node: NodeIndex, lease: Lease) -> Result<()> {
        let step = &self.graph.steps[node];
        let work = self.plan.state(node).work().expect("what starts is due");
        let recipe = self.examiner.recipe(&self.plan, node);
        let inputs = self.examiner.fillings(&self.plan, node);
        let (recipe, inputs) = recipe.zip(inputs).expect("the inputs of a step that is due are known");
        let task = Task {
            step: step.name.clone(),
            run: self.log.run().to_owned(),
            key: work.key,
            recipe,
            with: (*step.with).clone(),
            inputs,
            watched: self.examiner.watched(node),
            anew: self.plan.forced(node),
            draft: format!("{}.{}.{}", self.log.run(), node.index(), work.attempts),
            root: self.graph.root.clone(),
            cpus: lease.cpus,
            gpus: lease.gpus.clone(),
            limit: step.timeout.or(step.resources.time),
            log: self.log.output_folder().join(file_name(&step.name)),
        };
        self.executor.start(node, task)?;
        self.leases.insert(node, lease);
        self.advance(node, News::Handed)
    }
}

/// A file name for a step's log, cut to what file systems allow.
fn file_name(step: &str) -> String {
    let short: String = step.chars().take(100).collect();
    match short.len() == step.len() {
        true => format!("{step}.log"),
        false => format!("{short}-{}.log", Digest::of(step.as_bytes()).short()),
    }
}

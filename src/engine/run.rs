//! The loop that runs a plan. The plan owns the steps' states; the loop feeds it news and reports the outcome
//! to the log and the sink.

mod hearing;
mod starting;

use crate::clock;
use crate::error::{Error, Result};
use crate::event::{Begun, Ended, Event, Sink};
use crate::examine::{self, Examiner};
use crate::executor::Message;
use crate::executor::local::Local;
use crate::graph::Graph;
use crate::history::History;
use crate::memo::Memo;
use crate::plan::{Plan, Selection};
use crate::pools::{Lease, Pools};
use crate::runlog::{self, RunLog};
use crate::state::{News, State};
use crate::store::{Store, lock_warning};
use crate::text;
use crate::worker::Worker;
use contract::stage::{Kind, StopFlag, StopReason};
use petgraph::graph::NodeIndex;
use std::collections::{HashMap, HashSet};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

/// How long steps without checkpoints may take to end after a signal.
const PATIENCE: Duration = Duration::from_secs(4);
/// How long steps with checkpoints may take; SLURM kills 30 seconds after its first signal.
const PATIENCE_FOR_CHECKPOINTS: Duration = Duration::from_secs(22);

/// How to run a plan.
#[derive(Debug)]
pub struct Options {
    /// Which steps.
    pub selection: Selection,
    /// Continue with other steps after one failed.
    pub keep_going: bool,
    /// The resources that steps may lease.
    pub pools: Pools,
    /// The command line, for the run's record.
    pub arguments: Vec<String>,
}

/// Runs a graph. Every event goes to the run's record and to `sink`. Once the run has begun, its summary is
/// returned even if it failed; the second value says how it ended.
pub fn run(
    graph: &Graph,
    kinds: &[Kind],
    store: &Store,
    options: Options,
    sink: &mut dyn Sink,
    stop: StopFlag,
    channel: (Sender<Message>, Receiver<Message>),
) -> Result<(Ended, Result<()>)> {
    let plan = Plan::new(graph, &options.selection);
    examine::check_files(&plan)?;
    store.prepare()?;
    let log = RunLog::create(store)?;
    store.sweep(|run| runlog::lives(store, run).unwrap_or(true))?;
    let memo = Memo::open(&store.memos(), &graph.file)?;
    let examiner = Examiner::new(graph, store, memo, stop.clone());
    let (messages, inbox) = channel;
    let mut runner = Runner {
        graph,
        store,
        plan,
        examiner,
        history: None,
        executor: Local::new(Worker::new(store.clone(), kinds, stop.clone()), messages),
        inbox,
        pools: options.pools,
        leases: HashMap::new(),
        keep_going: options.keep_going,
        stop,
        signal: None,
        told_of_gpu: HashSet::new(),
        log,
        sink,
    };
    runner.begin(options.arguments)?;
    let result = runner.finish_all();
    if matches!(&result, Err(error) if error.exit_code() == 3) {
        runner.abandon();
    }
    runner.executor.close();
    let ended = runner.end()?;
    // Runs that died during this one may have left drafts, and there may be no later run to sweep them.
    store.sweep(|run| runlog::lives(store, run).unwrap_or(true))?;
    runner.log.close()?;
    Ok((ended, result))
}

/// The first event of a run.
pub fn begun(run: &str, graph: &Graph, steps: usize, arguments: Vec<String>) -> Begun {
    Begun {
        run: run.to_owned(),
        file: graph.file.clone(),
        name: graph.name.clone(),
        steps,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        arguments,
        device: graph.device.clone(),
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        at: clock::unix_seconds(),
    }
}

/// Whether each step that is yet to be computed gets the GPUs that it asks for. Prereq: every ready step was looked up.
pub fn check_gpus(plan: &Plan<'_>, offered: usize) -> Result<()> {
    let to_come = plan.steps().filter(|node| plan.may_compute(*node) && !plan.state(*node).settled());
    for node in to_come {
        let step = &plan.graph().steps[node];
        let gpus = step.takes().gpus;
        if gpus > offered {
            return Err(Error::Device(format!(
                "the step {} asks for {}, and this machine offers {offered}; give ids with --gpus, or lower `resources.gpus`",
                step.name,
                text::count(gpus, "GPU"),
            )));
        }
    }
    Ok(())
}

struct Runner<'a> {
    graph: &'a Graph,
    store: &'a Store,
    plan: Plan<'a>,
    examiner: Examiner<'a>,
    /// Read once the first step turns out to be due.
    history: Option<History>,
    executor: Local,
    inbox: Receiver<Message>,
    pools: Pools,
    /// What running steps have leased. A step gives it back when it only waits for the disk.
    leases: HashMap<NodeIndex, Lease>,
    keep_going: bool,
    stop: StopFlag,
    /// The first signal, and when it came.
    signal: Option<(i32, Instant)>,
    /// Steps for which `WaitingForGpu` was already reported.
    told_of_gpu: HashSet<NodeIndex>,
    log: RunLog,
    sink: &'a mut dyn Sink,
}

impl Runner<'_> {
    fn tell(&mut self, event: Event) -> Result<()> {
        tracing::debug!(?event);
        self.log.hear(&event)?;
        self.sink.hear(&event)
    }

    fn name(&self, node: NodeIndex) -> String {
        self.graph.steps[node].name.clone()
    }

    fn begin(&mut self, arguments: Vec<String>) -> Result<()> {
        let begun = begun(self.log.run(), self.graph, self.plan.steps().count(), arguments);
        self.tell(Event::Begun(begun))?;
        for text in self.graph.warnings.clone() {
            self.tell(Event::Warning { step: None, text })?;
        }
        Ok(())
    }

    fn end(&mut self) -> Result<Ended> {
        let why = if self.signal.is_some() { "stopped by a signal" } else { "the run ended before its turn" };
        for node in self.plan.steps().collect::<Vec<_>>() {
            // Giving up one step also settles the steps that depend on it.
            if !self.plan.state(node).settled() {
                self.advance(node, News::GivenUp(why.to_owned()))?;
            }
        }
        let run = self.log.run().to_owned();
        let seconds = self.log.began().elapsed().as_secs_f64();
        let mut ended = Ended { run, computed: 0, cached: 0, skipped: 0, failed: 0, seconds };
        for node in self.plan.steps() {
            match self.plan.state(node) {
                State::Computed(_) => ended.computed += 1,
                State::Cached(_) => ended.cached += 1,
                State::Failed => ended.failed += 1,
                _ => ended.skipped += 1,
            }
        }
        self.tell(Event::Ended(ended.clone()))?;
        self.log.flush()?;
        self.sink.flush()?;
        self.examiner.save()?;
        Ok(ended)
    }

    fn finish_all(&mut self) -> Result<()> {
        let mut first = true;
        loop {
            if self.may_start() {
                self.examine_ready()?;
                if std::mem::take(&mut first) {
                    check_gpus(&self.plan, self.pools.gpus())?;
                }
                self.start_due()?;
            }
            self.log.flush()?;
            self.sink.flush()?;
            let waits = !self.plan.due().is_empty() || self.plan.next_time().is_some();
            if self.plan.running().is_empty() && !(waits && self.may_start()) {
                break;
            }
            self.listen()?;
            if self.patience_is_over() {
                break;
            }
        }
        if let Some(text) = lock_warning() {
            self.tell(Event::Warning { step: None, text })?;
        }
        match self.signal {
            Some((signal, _)) => Err(Error::Signal(signal)),
            None if self.plan.failed() > 0 => Err(Error::Stage { failed: self.plan.failed() }),
            None => self.check_asked_for(),
        }
    }

    /// Whether every step that was asked for could be looked up: with `--only`, what it reads may be missing.
    fn check_asked_for(&self) -> Result<()> {
        let asked = || self.plan.steps().filter(|node| self.plan.may_compute(*node));
        let skipped = |node: &NodeIndex| matches!(self.plan.state(*node), State::Skipped(_));
        match (asked().filter(skipped).count(), asked().count()) {
            (0, _) => Ok(()),
            (skipped, asked) => Err(Error::Usage(format!(
                "{skipped} of {} asked for {} skipped, because what they read has no artifact; --until instead of --only computes that too",
                text::count(asked, "step"),
                if skipped == 1 { "was" } else { "were" }
            ))),
        }
    }

    /// Waits for running steps to end before the process does, so that they remove their drafts.
    fn abandon(&mut self) {
        self.stop.raise();
        let since = Instant::now();
        let mut running = self.plan.running().clone();
        while !running.is_empty() && since.elapsed() < PATIENCE {
            if let Ok(Message::Finished(node, ..)) = self.inbox.recv_timeout(Duration::from_millis(20)) {
                running.remove(&node);
            }
        }
    }

    fn may_start(&self) -> bool {
        self.signal.is_none() && (self.keep_going || self.plan.failed() == 0)
    }

    /// Whether to stop waiting for running steps: a stage that ignores signals must not keep the process
    /// alive.
    fn patience_is_over(&self) -> bool {
        let Some((_, since)) = self.signal else { return false };
        let saves = |node: &NodeIndex| match self.plan.state(*node) {
            State::Running(_, Some(checkpoints)) => checkpoints.in_use(),
            _ => false,
        };
        let saving = self.plan.running().iter().any(saves);
        since.elapsed() > if saving { PATIENCE_FOR_CHECKPOINTS } else { PATIENCE }
            || self.stop.reason() == Some(StopReason::Now)
    }

    /// Waits for the next message, or until a waiting step may be looked at again.
    fn listen(&mut self) -> Result<()> {
        let next = self.plan.next_time().map(|at| at.saturating_duration_since(Instant::now()));
        let tick = if self.signal.is_some() { Duration::from_millis(20) } else { Duration::from_millis(200) };
        let message = match self.inbox.recv_timeout(next.unwrap_or(tick).min(tick)) {
            Ok(message) => message,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return Ok(()),
        };
        self.hear(message)?;
        while let Ok(message) = self.inbox.try_recv() {
            self.hear(message)?;
        }
        Ok(())
    }

    /// Tells the plan the news of a step, and reports every step that this settles.
    fn advance(&mut self, node: NodeIndex, news: News) -> Result<()> {
        for node in self.plan.advance(node, news) {
            self.tell_end(node)?;
        }
        Ok(())
    }

    /// Reports how a step was settled.
    fn tell_end(&mut self, node: NodeIndex) -> Result<()> {
        let step = self.name(node);
        match self.plan.state(node).clone() {
            State::Cached(artifact) => {
                let (key, warnings) = (artifact.key(), artifact.warnings());
                self.tell(Event::Cached { step, key, warnings })
            }
            State::Skipped(why) => self.tell(Event::Skipped { step, why }),
            State::Absent(hint) => self.tell(Event::Absent { step, hint }),
            // Reported elsewhere, together with details of the outcome.
            State::Computed(_) | State::Failed => Ok(()),
            state => unreachable!("a step that is {} is not settled", state.word()),
        }
    }
}

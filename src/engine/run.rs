//! The loop that brings every step of a plan to its end; the one owner of mutable state.

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
use crate::key::Key;
use crate::memo::Memo;
use crate::plan::{Plan, Selection, State};
use crate::pools::{Lease, Pools};
use crate::runlog::{self, RunLog};
use crate::store::{Store, lock_warning};
use contract::checkpoint::Checkpoints;
use contract::stage::{StopFlag, StopReason};
use petgraph::graph::NodeIndex;
use std::collections::{BTreeSet, HashMap};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

/// How long steps without checkpoints may take to end after a signal.
const PATIENCE: Duration = Duration::from_secs(4);
/// How long steps that keep checkpoints may take; SLURM kills 30 seconds after its first signal.
const PATIENCE_FOR_CHECKPOINTS: Duration = Duration::from_secs(22);
/// The wait before the first look at a lock that somebody else has; it doubles each time.
const FIRST_LOOK: Duration = Duration::from_millis(3);

/// How a run is to be done.
#[derive(Debug)]
pub struct Options {
    /// Which steps.
    pub selection: Selection,
    /// Go on with other steps after one failed.
    pub keep_going: bool,
    /// What steps may take of the machine.
    pub pools: Pools,
    /// The command line, for the record.
    pub arguments: Vec<String>,
}

/// Runs a graph. Every event goes to the run's record and to `sink`. Once the run has begun there is always
/// an account of it, beside how it ended.
pub fn run(
    graph: &Graph,
    store: &Store,
    options: Options,
    sink: &mut dyn Sink,
    stop: StopFlag,
    channel: (Sender<Message>, Receiver<Message>),
) -> Result<(Ended, Result<()>)> {
    let plan = Plan::new(graph, &options.selection);
    examine::check_files(&plan)?;
    check_gpus(&plan, &options.pools)?;
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
        executor: Local::new(store.clone(), stop.clone(), messages),
        inbox,
        pools: options.pools,
        keep_going: options.keep_going,
        stop,
        signal: None,
        due: HashMap::new(),
        queue: BTreeSet::new(),
        later: Vec::new(),
        running: HashMap::new(),
        rank: vec![0; graph.steps.node_count()],
        counts: Counts::default(),
        log,
        sink,
    };
    for (rank, node) in graph.order.iter().enumerate() {
        runner.rank[node.index()] = rank;
    }
    runner.begin(options.arguments)?;
    let result = runner.finish_all();
    if matches!(&result, Err(error) if error.exit_code() == 3) {
        runner.abandon();
    }
    runner.executor.close();
    let ended = runner.end()?;
    // Runs beside this one may have died since it began, and nobody else may come for what they left.
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

fn check_gpus(plan: &Plan<'_>, pools: &Pools) -> Result<()> {
    for node in plan.steps().filter(|node| plan.may_compute(*node)) {
        let step = &plan.graph().steps[node];
        if step.resources.gpus > pools.gpus() {
            return Err(Error::Device(format!(
                "the step {} asks for {} GPU(s), and this machine offers {}; give ids with --gpus, or lower `resources.gpus`",
                step.name,
                step.resources.gpus,
                pools.gpus()
            )));
        }
    }
    Ok(())
}

/// What has come of the steps so far.
#[derive(Debug, Default)]
struct Counts {
    computed: usize,
    cached: usize,
    skipped: usize,
    failed: usize,
}

/// A step whose artifact is not there.
struct Due {
    key: Key,
    recipe: String,
    /// Attempts begun.
    attempt: u32,
    /// How long to wait before the next look, while somebody else is making it.
    look: Duration,
    /// Whether the wait was told.
    told: bool,
    /// Whether the wait for a GPU was told.
    told_of_gpu: bool,
}

/// A step that is being computed.
struct Running {
    lease: Lease,
    checkpoints: Checkpoints,
}

struct Runner<'a> {
    graph: &'a Graph,
    store: &'a Store,
    plan: Plan<'a>,
    examiner: Examiner<'a>,
    /// Read when the first step turns out to be due.
    history: Option<History>,
    executor: Local,
    inbox: Receiver<Message>,
    pools: Pools,
    keep_going: bool,
    stop: StopFlag,
    /// The first signal, and when it came.
    signal: Option<(i32, Instant)>,
    due: HashMap<NodeIndex, Due>,
    /// Due steps that may start, by their place in the order.
    queue: BTreeSet<(usize, NodeIndex)>,
    /// Due steps that may start at a later time.
    later: Vec<(Instant, NodeIndex)>,
    running: HashMap<NodeIndex, Running>,
    rank: Vec<usize>,
    counts: Counts,
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
            // Settling one settles those after it.
            if !self.plan.state(node).settled() {
                self.settle(node, State::Skipped(why.to_owned()))?;
            }
        }
        let Counts { computed, cached, skipped, failed } = self.counts;
        let run = self.log.run().to_owned();
        let seconds = self.log.began().elapsed().as_secs_f64();
        let ended = Ended { run, computed, cached, skipped, failed, seconds };
        self.tell(Event::Ended(ended.clone()))?;
        self.log.flush()?;
        self.sink.flush()?;
        self.examiner.save()?;
        Ok(ended)
    }

    fn finish_all(&mut self) -> Result<()> {
        loop {
            if self.may_start() {
                self.examine_ready()?;
                self.start_due()?;
            }
            self.log.flush()?;
            self.sink.flush()?;
            let waits = self.may_start() && !(self.queue.is_empty() && self.later.is_empty());
            if self.running.is_empty() && !waits {
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
            None if self.counts.failed > 0 => Err(Error::Stage { failed: self.counts.failed }),
            None => Ok(()),
        }
    }

    /// Lets running steps end before the process does, so that they take their drafts with them.
    fn abandon(&mut self) {
        self.stop.raise();
        let since = Instant::now();
        while !self.running.is_empty() && since.elapsed() < PATIENCE {
            if let Ok(Message::Finished(node, _)) = self.inbox.recv_timeout(Duration::from_millis(20)) {
                self.running.remove(&node);
            }
        }
    }

    fn may_start(&self) -> bool {
        self.signal.is_none() && (self.keep_going || self.counts.failed == 0)
    }

    /// A stage that does not listen must not keep the process from ending.
    fn patience_is_over(&self) -> bool {
        let Some((_, since)) = self.signal else { return false };
        let saving = self.running.values().any(|running| running.checkpoints.in_use());
        since.elapsed() > if saving { PATIENCE_FOR_CHECKPOINTS } else { PATIENCE }
            || self.stop.reason() == Some(StopReason::Now)
    }

    /// Waits for the next message, or until some step may be looked at again.
    fn listen(&mut self) -> Result<()> {
        let next = self.later.iter().map(|(at, _)| at.saturating_duration_since(Instant::now())).min();
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

    /// Settles a step and what follows from it.
    fn settle(&mut self, node: NodeIndex, state: State) -> Result<()> {
        let followers = self.plan.set(node, state);
        self.due.remove(&node);
        for node in std::iter::once(node).chain(followers) {
            let step = self.name(node);
            match self.plan.state(node).clone() {
                State::Cached(artifact) => {
                    self.counts.cached += 1;
                    self.tell(Event::Cached { step, key: artifact.key })?;
                }
                State::Computed(_) => self.counts.computed += 1,
                State::Failed => self.counts.failed += 1,
                State::Skipped(why) => {
                    self.counts.skipped += 1;
                    self.tell(Event::Skipped { step, why })?;
                }
                State::Absent(hint) => {
                    self.counts.skipped += 1;
                    self.tell(Event::Absent { step, hint })?;
                }
                State::Out | State::Waiting | State::Ready | State::Due | State::Running => {
                    unreachable!("only settled states settle")
                }
            }
        }
        Ok(())
    }
}

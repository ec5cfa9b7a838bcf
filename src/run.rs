//! The loop that brings every step of a plan to its end; the one owner of mutable state.

use crate::clock;
use crate::error::{Error, Result};
use crate::event::{Begun, Ended, Event, Failed, Sink};
use crate::examine::{self, Examined, Examiner};
use crate::executor::local::Local;
use crate::executor::{Message, Outcome, Task};
use crate::graph::{Graph, Source};
use crate::history::History;
use crate::key::{Key, Reason};
use crate::memo::Memo;
use crate::plan::{Plan, Selection, State};
use crate::pools::{Lease, Pools};
use crate::runlog::{self, RunLog};
use crate::store::{Lookup, Store, lock_warning};
use petgraph::graph::NodeIndex;
use stages::checkpoint::Checkpoints;
use stages::stage::{Report, StopFlag, StopReason};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

/// How long steps without checkpoints may take to end after a signal.
const PATIENCE: Duration = Duration::from_secs(4);
/// How long steps that keep checkpoints may take; SLURM kills 30 seconds after its first signal.
const PATIENCE_FOR_CHECKPOINTS: Duration = Duration::from_secs(22);
/// The waits between looks at a lock that somebody else has.
const FIRST_LOOK: Duration = Duration::from_millis(3);
const LAST_LOOK: Duration = Duration::from_millis(200);
/// The wait before the first retry; it doubles each time.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(60);

/// How a run is to be done.
#[derive(Debug, Clone)]
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
    let ended = runner.end()?;
    runner.log.close()?;
    Ok((ended, result))
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
        self.log.hear(&event)?;
        self.sink.hear(&event)
    }

    fn name(&self, node: NodeIndex) -> String {
        self.graph.steps[node].name.clone()
    }

    fn begin(&mut self, arguments: Vec<String>) -> Result<()> {
        self.tell(Event::Begun(Begun {
            run: self.log.run().to_owned(),
            file: self.graph.file.clone(),
            name: self.graph.name.clone(),
            steps: self.plan.steps().count(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            arguments,
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            at: clock::unix_seconds(),
        }))?;
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
                self.start_due();
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

    /// Looks up every step that is ready, which may make others ready.
    fn examine_ready(&mut self) -> Result<()> {
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
        self.due.insert(node, Due { key, recipe: canonical, attempt: 0, look: FIRST_LOOK, told: false });
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
    fn start_due(&mut self) {
        let now = Instant::now();
        let queue = &mut self.queue;
        let rank = &self.rank;
        self.later.retain(|(at, node)| *at > now || !queue.insert((rank[node.index()], *node)));
        let mut started: Vec<(usize, NodeIndex, Lease)> = Vec::new();
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
            if let Some(lease) = self.pools.take(&self.graph.steps[node].resources) {
                started.push((rank, node, lease));
            } else if started.is_empty() && self.running.is_empty() {
                unreachable!("a step fits an idle machine: see check_gpus and Pools::take");
            }
        }
        for (rank, node, lease) in started {
            self.queue.remove(&(rank, node));
            self.start(node, lease);
        }
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
            on_gpu: step.kind.on_device,
            limit: step.timeout.or(step.resources.time),
            checkpoints: checkpoints.clone(),
            log: self.log.output_folder().join(file_name(&step.name)),
            run: self.log.run().to_owned(),
        });
        self.plan.set(node, State::Running);
        self.running.insert(node, Running { lease, checkpoints });
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

    fn hear(&mut self, message: Message) -> Result<()> {
        match message {
            Message::Started(node) => {
                let due = self.due.get_mut(&node).expect("only due steps are started");
                due.attempt += 1;
                let attempt = due.attempt;
                let gpus =
                    self.running.get(&node).map(|running| running.lease.gpus.clone()).unwrap_or_default();
                self.tell(Event::Started { step: self.name(node), attempt, gpus })
            }
            Message::Report(node, report) => self.report(node, report),
            Message::Finished(node, outcome) => {
                if let Some(Running { lease, .. }) = self.running.remove(&node) {
                    self.pools.give_back(lease);
                }
                self.finish(node, outcome)
            }
            Message::Signal(signal) => {
                if self.signal.is_none() {
                    self.signal = Some((signal, Instant::now()));
                    self.tell(Event::Stopping { signal })?;
                }
                Ok(())
            }
        }
    }

    fn report(&mut self, node: NodeIndex, report: Report) -> Result<()> {
        let step = self.name(node);
        self.tell(match report {
            Report::Note(text) => Event::Note { step, text },
            Report::Progress { done, total } => Event::Progress { step, done, total },
            Report::Warning(text) => Event::Warning { step: Some(step), text },
            Report::Log(_) => return Ok(()), // The worker writes it to the step's file.
        })
    }

    fn finish(&mut self, node: NodeIndex, outcome: Outcome) -> Result<()> {
        match outcome {
            Outcome::Computed { artifact, seconds, bytes, other } => {
                let step = self.name(node);
                if let Some(other) = other {
                    let text = format!(
                        "it is not reproducible: the same recipe gave {} and {}; the kind or its program depends on something outside its recipe",
                        artifact.digest.short(),
                        other.short()
                    );
                    self.tell(Event::Warning { step: Some(step.clone()), text })?;
                }
                self.tell(Event::Computed { step, key: artifact.key, seconds, bytes })?;
                self.settle(node, State::Computed(artifact))
            }
            Outcome::Hit(artifact) => self.settle(node, State::Cached(artifact)),
            Outcome::Busy(process) => self.wait_for_other(node, process),
            Outcome::Stopped(StopReason::Asked | StopReason::Now) => {
                self.settle(node, State::Skipped("stopped by a signal".to_owned()))
            }
            Outcome::Stopped(StopReason::Timeout(limit)) => {
                self.fail(node, format!("stopped after its time limit of {limit:?}"), Vec::new(), None)
            }
            Outcome::Failed { .. } if self.signal.is_some() => {
                self.settle(node, State::Skipped("stopped by a signal".to_owned()))
            }
            Outcome::Failed { why, tail, log } => self.fail(node, why, tail, log),
            Outcome::Refused(error) => Err(error),
        }
    }

    fn wait_for_other(&mut self, node: NodeIndex, process: Option<u32>) -> Result<()> {
        let due = self.due.get_mut(&node).expect("only due steps are started");
        let first = !std::mem::replace(&mut due.told, true);
        self.later.push((Instant::now() + due.look, node));
        due.look = (due.look * 2).min(LAST_LOOK);
        self.plan.set(node, State::Due);
        match first {
            true => self.tell(Event::Waiting { step: self.name(node), process }),
            false => Ok(()),
        }
    }

    fn fail(
        &mut self,
        node: NodeIndex,
        why: String,
        tail: Vec<String>,
        log: Option<std::path::PathBuf>,
    ) -> Result<()> {
        let attempt = self.due[&node].attempt;
        let again = attempt <= self.graph.steps[node].retries && self.signal.is_none();
        let wait = FIRST_RETRY.saturating_mul(1 << (attempt - 1).min(16)).min(LAST_RETRY);
        let retry_in = again.then_some(wait.as_secs_f64());
        self.tell(Event::Failed(Failed { step: self.name(node), why, tail, log, attempt, retry_in }))?;
        if again {
            self.later.push((Instant::now() + wait, node));
            self.plan.set(node, State::Due);
            return Ok(());
        }
        self.settle(node, State::Failed)
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

/// A step's name as a file name: no longer than file systems allow.
fn file_name(step: &str) -> String {
    let short: String = step.chars().take(100).collect();
    match short.len() == step.len() {
        true => format!("{step}.log"),
        false => format!("{short}-{}.log", crate::key::Digest::of(step.as_bytes()).short()),
    }
}

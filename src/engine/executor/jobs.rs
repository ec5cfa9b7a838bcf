//! Runs tasks as jobs of a scheduler.
//!
//! One call of [`Jobs::tick`] does everything that is due, on the calling thread and without waiting. What must not
//! be lost is on disk before the scheduler is asked (see batch.rs), so the engine may die between any two lines.

mod fate;
#[cfg(test)]
mod tests;

use super::Message;
use super::scheduler::{Job, Listing, Scheduler, Submission, Word};
use crate::assignment::Assignment;
use crate::batch::{self, Batch, Tries};
use crate::error::{Error, Result};
use crate::journal::{End, Reader, Remark};
use crate::key::Key;
use crate::profile::{Profile, Retries};
use crate::spec::Resources;
use crate::store::{Attempt, Store};
use crate::task::{Outcome, Task, Told};
use contract::checkpoint::Checkpoints;
use contract::stage::{Report, StopReason};
use fate::{Cause, Evidence, Fate};
use petgraph::graph::NodeIndex;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

/// The most steps of one batch: what schedulers take as one array by default.
const MOST_PLACES: usize = 1_000;
/// How long a batch that another machine wrote may be unsubmitted before this one submits it: longer than a program
/// of the scheduler is given to answer. On one machine, a lock tells whether such a program lives.
const FOREIGN: Duration = Duration::from_secs(120);
/// The longest delay before the scheduler is asked again about a submission; the first is that between two polls.
const LAST_TRY: Duration = Duration::from_secs(60);
/// How often in a row the scheduler may put off a batch while no other job of this run makes room.
const PUT_OFF: u32 = 5;
/// The longest interval between two polls, in shortest ones.
const SLOWEST: u32 = 30;
/// Journals are read at intervals of this much for each running job, and no more often than ten times a second.
const READ_EACH: Duration = Duration::from_millis(2);
const READ_ALL: Duration = Duration::from_millis(100);
/// After this many polls without an answer, a warning says so.
const SILENT_POLLS: u32 = 3;

/// The executor that runs tasks as jobs of a scheduler.
pub struct Jobs {
    store: Store,
    run: String,
    profile: Profile,
    scheduler: Box<dyn Scheduler>,
    /// Tasks that are in no batch yet.
    wanted: Vec<Wanted>,
    /// Tasks that are at a place of a batch.
    watched: BTreeMap<NodeIndex, Watch>,
    /// The open batches that this run has seen, by name.
    batches: HashMap<String, Held>,
    /// The names of batches seen so far.
    seen: HashSet<String>,
    /// Where each key of an open batch is.
    places: HashMap<Key, (String, usize)>,
    next_read: Duration,
    next_poll: Duration,
    interval: Duration,
    /// How many polls in a row were not answered.
    silent: u32,
    /// Why submissions are put off or jobs wait, as far as warnings have said so.
    told: HashSet<String>,
    messages: Vec<Message>,
}

/// A task that must be given to the scheduler.
struct Wanted {
    node: NodeIndex,
    task: Task,
    resources: Resources,
    tries: Tries,
}

/// A task whose job is awaited.
struct Watch {
    wanted: Wanted,
    batch: String,
    place: usize,
    journal: Reader,
    began: bool,
    end: Option<End>,
    word: Option<Word>,
    absences: u32,
    /// When any of this changed last.
    changed: Duration,
}

/// A batch that this run waits for.
struct Held {
    batch: Batch,
    submission: Submitted,
}

/// Whether the scheduler has a batch.
enum Submitted {
    /// Yes, under this id.
    Yes(String),
    /// Nobody knows.
    Unknown {
        /// Since when this run has known of the batch.
        since: Duration,
        /// When to try next.
        next: Duration,
        /// How often this run tried.
        tries: u32,
        /// How many answers of the scheduler in a row did not list it. A batch that this run has just made counts as
        /// absent: nobody else can have submitted it.
        absences: u32,
        /// How often the scheduler put it off because of a limit.
        put_off: u32,
    },
}

impl Jobs {
    /// An executor without jobs.
    pub fn new(store: Store, run: String, profile: Profile, scheduler: Box<dyn Scheduler>) -> Jobs {
        let interval = profile.poll;
        Jobs {
            store,
            run,
            profile,
            scheduler,
            wanted: Vec::new(),
            watched: BTreeMap::new(),
            batches: HashMap::new(),
            seen: HashSet::new(),
            places: HashMap::new(),
            next_read: Duration::ZERO,
            next_poll: Duration::ZERO,
            interval,
            silent: 0,
            told: HashSet::new(),
            messages: Vec::new(),
        }
    }

    /// Takes on the task of a step that asks for these resources.
    pub fn start(&mut self, node: NodeIndex, task: Task, asked: &Resources) {
        let resources = self.profile.resources_of(&task.recipe.kind, asked);
        self.wanted.push(Wanted { node, task, resources, tries: Tries::default() });
    }

    /// Does what is due. `now` is the time since any fixed moment.
    pub fn tick(&mut self, now: Duration) -> Result<Vec<Message>> {
        if !self.wanted.is_empty() {
            self.place(now)?;
        }
        self.submit(now)?;
        let polled =
            now >= self.next_poll && self.watched.values().any(|watch| self.id_of(&watch.batch).is_some());
        if polled {
            self.poll(now)?;
        }
        // What the scheduler says is newer than what was read before.
        if polled || now >= self.next_read {
            self.read_journals(now)?;
            let each = READ_EACH * u32::try_from(self.watched.len()).unwrap_or(u32::MAX);
            self.next_read = now + each.max(READ_ALL);
        }
        self.decide(now)?;
        Ok(std::mem::take(&mut self.messages))
    }

    /// Lets go of every task. Submitted jobs go on, and the next run finds them by their keys.
    pub fn leave(&mut self) -> Vec<Message> {
        let submitted = std::mem::take(&mut self.watched).into_keys().map(|node| (node, Outcome::Left));
        let others = std::mem::take(&mut self.wanted).into_iter();
        let others = others.map(|wanted| (wanted.node, Outcome::Stopped(StopReason::Asked)));
        submitted.chain(others).map(|(node, outcome)| Message::Finished(node, outcome)).collect()
    }

    /// Cancels every job that a task waits for, and lets go of the tasks.
    pub fn cancel(&mut self) -> Result<Vec<Message>> {
        let job = |watch: &Watch| Some(Job { id: self.id_of(&watch.batch)?, place: watch.place });
        let jobs: Vec<Job> = self.watched.values().filter_map(job).collect();
        if !jobs.is_empty()
            && let Err(why) = self.scheduler.cancel(&jobs)
        {
            let text = format!("the jobs were not cancelled ({why}); the next run takes them up again");
            return Ok(std::iter::once(Message::Warned(text)).chain(self.leave()).collect());
        }
        let mut messages = Vec::new();
        for (node, watch) in std::mem::take(&mut self.watched) {
            self.batches[&watch.batch].batch.settle(watch.place)?;
            messages.push(Message::Finished(node, Outcome::Stopped(StopReason::Asked)));
        }
        messages.extend(self.leave());
        Ok(messages)
    }

    fn id_of(&self, batch: &str) -> Option<String> {
        match &self.batches.get(batch)?.submission {
            Submitted::Yes(id) => Some(id.clone()),
            Submitted::Unknown { .. } => None,
        }
    }

    /// Finds each wanted task in an open batch, or makes batches of those that are in none.
    fn place(&mut self, now: Duration) -> Result<()> {
        let lock = self.store.lock_jobs()?;
        for batch in batch::open(&self.store, |name| self.seen.contains(name))? {
            self.hold(batch, now, false)?;
        }
        let mut groups: BTreeMap<(Vec<String>, [u32; 3]), Vec<Wanted>> = BTreeMap::new();
        for wanted in std::mem::take(&mut self.wanted) {
            let found = self.places.get(&wanted.task.key).cloned();
            match found.filter(|(batch, place)| !self.batches[batch].batch.settled(*place)) {
                Some((batch, place)) => self.watch(wanted, &batch, place, now),
                None => {
                    let Tries { memory, time, lost } = wanted.tries;
                    let options = self.scheduler.options(&wanted.task.recipe.kind, &wanted.resources);
                    groups.entry((options, [memory, time, lost])).or_default().push(wanted);
                }
            }
        }
        for ((options, _), mut group) in groups {
            while !group.is_empty() {
                let rest = group.split_off(group.len().min(MOST_PLACES));
                self.make_batch(options.clone(), std::mem::replace(&mut group, rest), now)?;
            }
        }
        Ok(lock.release()?)
    }

    fn make_batch(&mut self, options: Vec<String>, group: Vec<Wanted>, now: Duration) -> Result<()> {
        let (tries, resources) = (group[0].tries, group[0].resources.clone());
        let record = Batch::record(
            group.iter().map(|wanted| wanted.task.key).collect(),
            group.iter().map(|wanted| wanted.task.step.clone()).collect(),
            options,
            resources,
            tries,
        );
        let assignment = |wanted: &Wanted| {
            let task = Task { cpus: wanted.resources.cpus, ..wanted.task.clone() };
            let assignment = Assignment::new(task, self.store.root(), wanted.resources.gpus);
            let instructions = self.profile.instructions.clone().unwrap_or(assignment.instructions);
            Assignment { instructions, ..assignment }
        };
        let assignments: Vec<Assignment> = group.iter().map(assignment).collect();
        let script = |folder: &std::path::Path| self.scheduler.script(folder);
        match Batch::create(&self.store, &self.run, record, &assignments, script)? {
            Some(batch) => {
                let name = batch.name.clone();
                self.hold(batch, now, true)?;
                for (place, wanted) in group.into_iter().enumerate() {
                    self.watch(wanted, &name, place, now);
                }
            }
            // Locks do not reach the other run; its batch is found next time.
            None => self.wanted.extend(group),
        }
        Ok(())
    }

    fn hold(&mut self, batch: Batch, now: Duration, fresh: bool) -> Result<()> {
        for (place, key) in batch.record.keys.iter().enumerate() {
            self.places.insert(*key, (batch.name.clone(), place));
        }
        let submission = match batch.id()? {
            Some(id) => Submitted::Yes(id),
            None => {
                let absences = if fresh { fate::ABSENCES } else { 0 };
                Submitted::Unknown { since: now, next: now, tries: 0, absences, put_off: 0 }
            }
        };
        self.seen.insert(batch.name.clone());
        self.batches.insert(batch.name.clone(), Held { batch, submission });
        Ok(())
    }

    fn watch(&mut self, wanted: Wanted, name: &str, place: usize, now: Duration) {
        let batch = &self.batches[name].batch;
        let journal = Reader::new(batch.journal(place));
        // What was tried before may have been tried by an earlier run.
        let wanted =
            Wanted { tries: batch.record.tries, resources: batch.record.resources.clone(), ..wanted };
        self.next_read = now;
        self.next_poll = self.next_poll.min(now);
        self.interval = self.profile.poll;
        let node = wanted.node;
        let batch = name.to_owned();
        let (began, end, word, absences) = (false, None, None, 0);
        let watch = Watch { wanted, batch, place, journal, began, end, word, absences, changed: now };
        if let Some(id) = self.id_of(name) {
            self.messages
                .push(Message::Told(node, Told::Queued { job: format!("{id}_{place}"), adopted: true }));
        }
        self.watched.insert(node, watch);
    }

    /// Submits the batches that the scheduler does not have. A batch that was not made just now may have been
    /// submitted by an engine that was killed before it heard the answer, so the scheduler is asked first.
    fn submit(&mut self, now: Duration) -> Result<()> {
        let awaited: HashSet<&String> = self.watched.values().map(|watch| &watch.batch).collect();
        let due = |held: &&Held| match held.submission {
            Submitted::Yes(_) => false,
            Submitted::Unknown { next, .. } => next <= now && awaited.contains(&held.batch.name),
        };
        let names: Vec<String> =
            self.batches.values().filter(due).map(|held| held.batch.name.clone()).collect();
        let mut listing = None;
        for name in names {
            self.submit_one(&name, &mut listing, now)?;
        }
        Ok(())
    }

    fn submit_one(&mut self, name: &str, listing: &mut Option<Listing>, now: Duration) -> Result<()> {
        let Held { batch, submission } = &self.batches[name];
        let batch = batch.clone();
        let Submitted::Unknown { since, tries, absences, put_off, .. } = *submission else { return Ok(()) };
        let foreign = batch.record.host != batch::host() && now.saturating_sub(since) < FOREIGN;
        let lock = match batch.try_lock() {
            Ok(Attempt::Taken(lock)) => lock,
            Ok(Attempt::Busy(_)) => {
                self.try_later(name, now);
                return Ok(());
            }
            Err(_) if batch.closed() => {
                self.place_again(name);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        if batch.closed() {
            self.place_again(name);
            return Ok(());
        }
        if let Some(id) = batch.id()? {
            self.accept(name, id);
            return Ok(());
        }
        if tries > 0 || absences == 0 {
            if listing.is_none() {
                match self.scheduler.poll() {
                    Ok(found) => *listing = Some(found),
                    Err(why) => {
                        self.unanswered(&why);
                        self.try_later(name, now);
                        return Ok(());
                    }
                }
            }
            let jobs = listing.as_ref().and_then(|listing| listing.get(name)?.values().next());
            if let Some(said) = jobs {
                let id = said.id.clone();
                batch.write_id(&id)?;
                self.accept(name, id);
                return Ok(());
            }
            if foreign || absences < fate::ABSENCES {
                self.set_absences(name, absences + 1);
                self.try_later(name, now);
                return Ok(());
            }
        }
        match self.scheduler.submit(&batch, lock.share()?) {
            Submission::Accepted(id) => {
                batch.write_id(&id)?;
                self.accept(name, id);
            }
            Submission::Refused(why) => self.refuse(&batch, &why)?,
            Submission::Later(why) => {
                let alone =
                    self.batches.values().all(|held| matches!(held.submission, Submitted::Unknown { .. }));
                if alone && put_off >= PUT_OFF {
                    return self.refuse(&batch, &why);
                }
                if self.told.insert(why.clone()) {
                    let text =
                        format!("the scheduler takes no more jobs now ({why}); they are offered again later");
                    self.messages.push(Message::Warned(text));
                }
                self.try_later(name, now);
            }
            Submission::Unknown(why) => {
                self.set_absences(name, 0);
                self.unanswered(&why);
                self.try_later(name, now);
            }
        }
        Ok(())
    }

    /// Another run has closed the batch: its tasks are in none.
    fn place_again(&mut self, name: &str) {
        let (there, others) =
            std::mem::take(&mut self.watched).into_iter().partition(|(_, it)| it.batch == name);
        self.watched = others;
        let there: BTreeMap<NodeIndex, Watch> = there;
        self.wanted.extend(there.into_values().map(|watch| watch.wanted));
        self.batches.remove(name);
        self.places.retain(|_, (batch, _)| batch != name);
    }

    fn set_absences(&mut self, name: &str, count: u32) {
        if let Submitted::Unknown { absences, .. } = &mut self.held(name).submission {
            *absences = count;
        }
    }

    fn held(&mut self, name: &str) -> &mut Held {
        self.batches.get_mut(name).expect("a batch that is submitted is held")
    }

    fn try_later(&mut self, name: &str, now: Duration) {
        let first = self.profile.poll;
        if let Submitted::Unknown { next, tries, .. } = &mut self.held(name).submission {
            *next = now + first.saturating_mul(1 << (*tries).min(8)).min(LAST_TRY);
            *tries += 1;
        }
    }

    fn accept(&mut self, name: &str, id: String) {
        for (node, watch) in self.watched.iter().filter(|(_, watch)| watch.batch == name) {
            let job = format!("{id}_{}", watch.place);
            self.messages.push(Message::Told(*node, Told::Queued { job, adopted: false }));
        }
        self.held(name).submission = Submitted::Yes(id);
    }

    fn refuse(&mut self, batch: &Batch, why: &str) -> Result<()> {
        let nodes = self.watched.iter().filter(|(_, watch)| watch.batch == batch.name);
        let nodes: Vec<NodeIndex> = nodes.map(|(node, _)| *node).collect();
        for node in nodes {
            let why = format!("the scheduler refuses its job: {why}");
            self.finish(node, Outcome::Failed { why, tail: Vec::new(), log: None });
        }
        (0..batch.record.keys.len()).try_for_each(|place| batch.settle(place))?;
        self.batches.remove(&batch.name);
        self.places.retain(|_, (name, _)| *name != batch.name);
        Ok(())
    }

    fn finish(&mut self, node: NodeIndex, outcome: Outcome) {
        self.watched.remove(&node);
        self.messages.push(Message::Finished(node, outcome));
    }

    fn unanswered(&mut self, why: &str) {
        self.silent += 1;
        if self.silent == SILENT_POLLS {
            let text = format!("the scheduler does not answer ({why}); jobs go on, and it is asked again");
            self.messages.push(Message::Warned(text));
        }
    }

    fn read_journals(&mut self, now: Duration) -> Result<()> {
        for (node, watch) in &mut self.watched {
            let tell = |told| Message::Told(*node, told);
            for remark in watch.journal.news()? {
                watch.changed = now;
                match remark {
                    Remark::Began { gpus, .. } => {
                        (watch.began, watch.end) = (true, None);
                        let checkpoints = self.store.checkpoints(watch.wanted.task.key);
                        let checkpoints = Checkpoints::in_folder(checkpoints);
                        self.messages.push(tell(Told::Begun { checkpoints, gpus }));
                    }
                    Remark::Alive => {}
                    Remark::Note { text } => self.messages.push(tell(Told::Report(Report::Note(text)))),
                    Remark::Progress { done, total } => {
                        self.messages.push(tell(Told::Report(Report::Progress { done, total })));
                    }
                    Remark::Remark { text } => self.messages.push(tell(Told::Report(Report::Remark(text)))),
                    Remark::Warning { text } => self.messages.push(tell(Told::Report(Report::Warning(text)))),
                    Remark::Ended { end } => {
                        watch.end = Some(end);
                        // The scheduler's word belongs to it, and should not wait for a slow poll.
                        self.next_poll = self.next_poll.min(now + self.profile.poll);
                    }
                }
            }
        }
        Ok(())
    }

    fn poll(&mut self, now: Duration) -> Result<()> {
        let listing = match self.scheduler.poll() {
            Ok(listing) => listing,
            Err(why) => {
                self.unanswered(&why);
                self.grow_interval(now);
                return Ok(());
            }
        };
        self.silent = 0;
        let mut changed = false;
        for watch in self.watched.values_mut() {
            let Some(Held { submission: Submitted::Yes(_), .. }) = self.batches.get(&watch.batch) else {
                continue;
            };
            match listing.get(&watch.batch).and_then(|jobs| jobs.get(&watch.place)) {
                Some(said) => {
                    watch.absences = 0;
                    if watch.word.as_ref() != Some(&said.word) {
                        (watch.changed, changed) = (now, true);
                        if let Word::Queued(why) = &said.word
                            && !why.is_empty()
                            && self.told.insert(why.clone())
                        {
                            let text = format!("jobs wait in the queue; the scheduler's reason is {why}");
                            self.messages.push(Message::Warned(text));
                        }
                        watch.word = Some(said.word.clone());
                    }
                }
                None => {
                    if watch.absences == 0 {
                        (watch.changed, changed) = (now, true);
                    }
                    watch.absences += 1;
                }
            }
        }
        match changed {
            true => {
                self.interval = self.profile.poll;
                self.next_poll = now + self.interval;
            }
            false => self.grow_interval(now),
        }
        Ok(())
    }

    fn grow_interval(&mut self, now: Duration) {
        self.interval = (self.interval * 3 / 2).min(self.profile.poll * SLOWEST);
        self.next_poll = now + self.interval;
    }

    /// Decides the fate of every job.
    fn decide(&mut self, now: Duration) -> Result<()> {
        let nodes: Vec<NodeIndex> = self.watched.keys().copied().collect();
        for node in nodes {
            let Some(watch) = self.watched.get(&node) else { continue };
            let key = watch.wanted.task.key;
            let evidence = Evidence {
                end: watch.end.as_ref(),
                began: watch.began,
                word: watch.word.as_ref(),
                absences: watch.absences,
                quiet: now.saturating_sub(watch.changed),
            };
            // A step that is forced has an artifact already, which says nothing about the new one.
            let counts = !watch.wanted.task.anew || matches!(watch.end, Some(End::Computed { .. }));
            let arrived = || Ok(counts && self.store.arrived(key)?.is_some());
            match fate::decide(&evidence, arrived)? {
                Fate::Live => {}
                Fate::Done => self.done(node)?,
                Fate::Failed { why, tail, log } => {
                    self.batches[&watch.batch].batch.settle(watch.place)?;
                    self.finish(node, Outcome::Failed { why, tail, log });
                }
                Fate::Again(cause) => self.again(node, cause, now)?,
            }
        }
        Ok(())
    }

    fn done(&mut self, node: NodeIndex) -> Result<()> {
        let watch = &self.watched[&node];
        let key = watch.wanted.task.key;
        let artifact = self.store.arrived(key)?;
        let artifact =
            artifact.ok_or_else(|| Error::Device(format!("the artifact {} was removed", key.short())))?;
        let manifest = self.store.manifest(key)?;
        let outcome = match (&watch.end, manifest) {
            (Some(End::Computed { seconds, bytes, other }), _) => {
                Outcome::Computed { artifact, seconds: *seconds, bytes: *bytes, other: *other }
            }
            // Its worker was killed right after the commit, or its record is late.
            (None, Some(manifest)) if watch.began || manifest.run == self.run => Outcome::Computed {
                artifact,
                seconds: manifest.seconds,
                bytes: manifest.bytes(),
                other: None,
            },
            _ => Outcome::Hit(artifact),
        };
        self.batches[&watch.batch].batch.settle(watch.place)?;
        self.finish(node, outcome);
        Ok(())
    }

    /// Submits a step again, if the profile's rules allow it.
    fn again(&mut self, node: NodeIndex, cause: Cause, now: Duration) -> Result<()> {
        let watch = &self.watched[&node];
        let batch = self.batches[&watch.batch].batch.clone();
        let (place, tries, resources) = (watch.place, watch.wanted.tries, watch.wanted.resources.clone());
        let cause = match cause {
            Cause::Unknown => match self.scheduler.recall(&batch, place) {
                Some(word) => {
                    let watch = self.watched.get_mut(&node).expect("it was just there");
                    (watch.word, watch.changed, watch.absences) = (Some(word), now, 0);
                    return Ok(());
                }
                None => {
                    // If it does live, it must not do so beside another one.
                    let id = self.id_of(&batch.name);
                    let job = id.map(|id| Job { id, place });
                    if let Some(Err(why)) = job.map(|job| self.scheduler.cancel(&[job])) {
                        self.unanswered(&why);
                        return Ok(());
                    }
                    Cause::Lost("the scheduler does not know its job".to_owned())
                }
            },
            known => known,
        };
        match next_try(&cause, tries, &resources, &self.profile.retries) {
            Ok((tries, resources, text)) => {
                batch.settle(place)?;
                let watch = self.watched.remove(&node).expect("it was just there");
                self.messages.push(Message::Told(node, Told::Report(Report::Remark(text))));
                let Wanted { node, task, .. } = watch.wanted;
                self.wanted.push(Wanted { node, task, resources, tries });
            }
            Err(why) => {
                let tail = last_lines(&batch, place);
                batch.settle(place)?;
                self.finish(node, Outcome::Failed { why, tail, log: None });
            }
        }
        Ok(())
    }
}

/// What to ask for after a job ended for this cause, with a sentence about it; or why nothing helps.
fn next_try(
    cause: &Cause,
    tries: Tries,
    resources: &Resources,
    retries: &Retries,
) -> std::result::Result<(Tries, Resources, String), String> {
    let Resources { memory, time, .. } = resources;
    match cause {
        Cause::Memory => {
            let had = memory.map_or_else(String::new, |bytes| format!(" of {}", crate::text::bytes(bytes)));
            let more = memory.zip(retries.memory).filter(|_| tries.memory < retries.most);
            let Some((bytes, factor)) = more else {
                return Err(format!(
                    "its job ran out of memory{had}; raise `resources.memory`, or say `retries: {{memory: x2}}` in the profile"
                ));
            };
            let memory = (bytes as f64 * factor) as u64;
            let text = format!("out of memory{had}; submitted again with {}", crate::text::bytes(memory));
            let tries = Tries { memory: tries.memory + 1, ..tries };
            Ok((tries, Resources { memory: Some(memory), ..resources.clone() }, text))
        }
        Cause::Time => {
            let had = time.map_or_else(String::new, |time| format!(" of {}", crate::text::duration(time)));
            let more = time.zip(retries.time).filter(|_| tries.time < retries.most);
            let Some((limit, factor)) = more else {
                return Err(format!(
                    "its job ran out of its time{had}; raise `resources.time`, or say `retries: {{time: x2}}` in the profile"
                ));
            };
            let time = limit.mul_f64(factor);
            let text = format!("out of time{had}; submitted again with {}", crate::text::duration(time));
            let tries = Tries { time: tries.time + 1, ..tries };
            Ok((tries, Resources { time: Some(time), ..resources.clone() }, text))
        }
        Cause::Checkpoint => {
            let text = "out of time; submitted again to go on from its checkpoint".to_owned();
            Ok((tries, resources.clone(), text))
        }
        Cause::Lost(how) if tries.lost < retries.lost => {
            let tries = Tries { lost: tries.lost + 1, ..tries };
            Ok((tries, resources.clone(), format!("its job was lost ({how}); submitted again")))
        }
        Cause::Lost(how) => Err(format!("its job was lost ({how})")),
        Cause::Unknown => Err("its job was lost".to_owned()),
    }
}

/// The last lines of what a job printed outside its step.
fn last_lines(batch: &Batch, place: usize) -> Vec<String> {
    let bytes = contract::disk::read_if_there(&batch.output(place)).ok().flatten().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(12)..].iter().map(|line| (*line).to_owned()).collect()
}

//! Random schedules with a scheduler that forgets, hangs and lies, and an engine that is killed at any moment.

use super::super::scheduler::{Ending, Listing, Said};
use super::*;
use crate::hash::Seen;
use crate::key::{FORMAT, Recipe};
use crate::task::Filling;
use crate::worker::Worker;
use contract::stage::{Io, Kind, Mistake, Prepared, Slots, Stage, StopFlag};
use serde_json::{Value, json};
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex};

const STEPS: usize = 6;
/// More ticks than any schedule needs.
const TICKS: usize = 4_000;

/// Numbers that look random (SplitMix64).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn of(&mut self, count: u64) -> u64 {
        self.next() % count
    }

    fn percent(&mut self, percent: u64) -> bool {
        self.of(100) < percent
    }
}

/// The engine was killed by the test.
struct Killed;

#[derive(Clone, Copy, PartialEq)]
enum State {
    Pending,
    Running,
    /// Not listed for this many more answers, and then as before: the scheduler forgot it for a while.
    Over(u8),
}

struct Simulated {
    name: String,
    id: u64,
    place: usize,
    key: Key,
    folder: std::path::PathBuf,
    state: State,
    /// The word once it is over.
    ending: Ending,
    /// How many answers still list it.
    remembered: u32,
    memory: u64,
}

/// A cluster whose jobs are moved on by the test.
struct World {
    chance: Chance,
    store: Store,
    jobs: Vec<Simulated>,
    ids: u64,
    /// How many more commands go unanswered.
    down: u32,
    /// Whether engines may still be killed and commands fail.
    hostile: bool,
    computed: HashMap<Key, usize>,
    /// The keys that were submitted while a job of theirs was alive.
    twice: Vec<Key>,
    kills: usize,
}

impl World {
    fn is_down(&mut self) -> bool {
        if self.hostile && self.chance.percent(4) {
            self.down = 1 + self.chance.of(12) as u32;
        }
        self.down = self.down.saturating_sub(1);
        self.down > 0
    }

    /// Kills the engine in the middle of whatever it is doing.
    fn may_kill(&mut self, percent: u64) {
        if self.hostile && self.chance.percent(percent) {
            self.kills += 1;
            resume_unwind(Box::new(Killed));
        }
    }

    fn submit(&mut self, batch: &Batch) -> Submission {
        self.may_kill(8);
        let (down, accepted) = (self.is_down(), self.chance.percent(50));
        if down && !accepted {
            return Submission::Unknown("timed out".into());
        }
        if self.hostile && self.chance.percent(5) {
            return Submission::Later("submit limit".into());
        }
        self.ids += 1;
        for (place, key) in batch.record.keys.iter().enumerate() {
            let alive = |job: &&Simulated| job.key == *key && !matches!(job.state, State::Over(_));
            if self.jobs.iter().any(|job| alive(&job)) {
                self.twice.push(*key);
            }
            self.jobs.push(Simulated {
                name: batch.name.clone(),
                id: self.ids,
                place,
                key: *key,
                folder: batch.folder.clone(),
                state: State::Pending,
                ending: Ending::Well,
                remembered: 30,
                memory: batch.record.resources.memory.unwrap_or(0),
            });
        }
        self.may_kill(15);
        if down {
            Submission::Unknown("timed out".into())
        } else {
            Submission::Accepted(self.ids.to_string())
        }
    }

    fn list(&mut self) -> std::result::Result<Listing, String> {
        if self.is_down() {
            return Err("squeue gave no answer".into());
        }
        let mut listing = Listing::new();
        let hostile = self.hostile;
        for job in &mut self.jobs {
            let word = match job.state {
                State::Pending => Word::Queued(String::new()),
                State::Running => Word::Running("n1".into()),
                State::Over(_) if job.remembered == 0 => continue,
                State::Over(_) => Word::Ended(job.ending.clone()),
            };
            if matches!(job.state, State::Over(_)) {
                job.remembered -= 1;
            }
            // An answer may lack a job that is alive.
            if hostile && self.chance.percent(2) {
                continue;
            }
            let said = Said { id: job.id.to_string(), word };
            listing.entry(job.name.clone()).or_default().insert(job.place, said);
        }
        Ok(listing)
    }

    fn cancel(&mut self, jobs: &[Job]) -> std::result::Result<(), String> {
        if self.is_down() {
            return Err("scancel gave no answer".into());
        }
        for job in &mut self.jobs {
            if jobs.iter().any(|it| it.id == job.id.to_string() && it.place == job.place) {
                job.state = State::Over(0);
                job.ending = Ending::Cancelled;
            }
        }
        Ok(())
    }

    /// Moves every job on by one moment.
    fn go_on(&mut self) {
        for at in 0..self.jobs.len() {
            let job = &self.jobs[at];
            match job.state {
                State::Pending if self.chance.percent(30) => self.jobs[at].state = State::Running,
                State::Running if self.chance.percent(25) => self.run(at),
                // Its file is late, as on a network file system, or it was put back into the queue.
                _ => {}
            }
        }
    }

    /// Runs a job to one of its possible ends.
    fn run(&mut self, at: usize) {
        let (file, journal) = {
            let job = &self.jobs[at];
            let name = |ending| job.folder.join(format!("{}.{ending}", job.place));
            (name("json"), name("journal"))
        };
        // A worker that finds its batch closed ends at once.
        let Ok(assignment) = Assignment::read(&file) else {
            return self.end(at, Ending::Badly("exit code 2".into()));
        };
        let journal = crate::journal::Journal::append_to(&journal).unwrap();
        let say = |remark| journal.say(&remark).unwrap();
        let began = Remark::Began { host: "n1".into(), process: 1, job: None, gpus: Vec::new(), at: 0 };
        let chosen = if self.hostile { self.chance.of(100) } else { 0 };
        match chosen {
            // Killed before its first word.
            86..89 => return self.end(at, Ending::Lost("NODE_FAIL".into())),
            // Preempted: put back into the queue under its id.
            89..92 => {
                say(began);
                self.jobs[at].state = State::Pending;
                return;
            }
            // Killed in the middle.
            92..95 => {
                say(began);
                return self.end(at, Ending::Lost("NODE_FAIL".into()));
            }
            // Gone without a trace.
            95..97 => {
                self.jobs.remove(at);
                // Removing moves the others; the next moment goes on with them.
                self.jobs.push(Simulated::nobody());
                return;
            }
            _ => {}
        }
        say(began);
        if self.jobs[at].memory < 4 && assignment.task.step.ends_with('0') {
            return self.end(at, Ending::OutOfMemory);
        }
        let worker = Worker::new(self.store.clone(), &[KIND], StopFlag::default());
        let number = self.chance.next();
        let draft = format!("{}~{}~{number}.0", self.jobs[at].name, self.jobs[at].place);
        let outcome = worker.run(Task { draft, ..assignment.task.clone() }, |_| ());
        worker.close();
        let end = match outcome {
            Outcome::Computed { seconds, bytes, other, .. } => {
                *self.computed.entry(assignment.task.key).or_default() += 1;
                End::Computed { seconds, bytes, other }
            }
            Outcome::Hit(_) => End::Hit,
            Outcome::Failed { why, .. } => panic!("{why}"),
            Outcome::Refused(error) => panic!("{error}"),
            _ => unreachable!("nobody stops it"),
        };
        // Killed between its commit and its record.
        if !(80..86).contains(&chosen) {
            say(Remark::Ended { end });
        }
        self.end(
            at,
            if (70..80).contains(&chosen) { Ending::Badly("exit code 1".into()) } else { Ending::Well },
        );
    }

    fn end(&mut self, at: usize, ending: Ending) {
        let remembered = if self.hostile { self.chance.of(20) as u32 } else { 20 };
        let job = &mut self.jobs[at];
        (job.state, job.ending, job.remembered) = (State::Over(0), ending, remembered);
    }
}

impl Simulated {
    /// Takes the place of a job that is gone.
    fn nobody() -> Simulated {
        Simulated {
            name: String::new(),
            id: 0,
            place: 0,
            key: Key::from_bytes([0; 32]),
            folder: std::path::PathBuf::new(),
            state: State::Over(0),
            ending: Ending::Well,
            remembered: 0,
            memory: 0,
        }
    }
}

/// The cluster in the engine's eyes.
struct Stand(Arc<Mutex<World>>);

impl Stand {
    fn world(&self) -> std::sync::MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Scheduler for Stand {
    fn options(&self, _: &str, resources: &Resources) -> Vec<String> {
        vec![format!("{:?}", resources.memory)]
    }

    fn script(&self, _: &Path) -> String {
        String::new()
    }

    fn submit(&mut self, batch: &Batch, _: File) -> Submission {
        self.world().submit(batch)
    }

    fn poll(&mut self) -> std::result::Result<Listing, String> {
        self.world().list()
    }

    fn recall(&mut self, _: &Batch, _: usize) -> Option<Word> {
        None
    }

    fn cancel(&mut self, jobs: &[Job]) -> std::result::Result<(), String> {
        self.world().cancel(jobs)
    }
}

struct Write(String);

impl Stage for Write {
    fn run(&self, io: &Io) -> anyhow::Result<()> {
        Ok(contract::disk::write(&io.out("text"), self.0.as_bytes())?)
    }

    fn only_waits(&self) -> bool {
        true
    }
}

fn prepare(written: &Value) -> std::result::Result<Prepared, Mistake> {
    let text = written.as_str().unwrap_or_default().to_owned();
    Ok(Prepared { params: written.clone(), stage: Arc::new(Write(text)) })
}

const KIND: Kind = Kind { name: "write", prepare, slots: Slots::Any, ..command::KIND };

fn task(store: &Store, number: usize, draft: &str) -> Task {
    let with = json!(format!("text {number}"));
    let recipe = Recipe {
        format: FORMAT,
        kind: "write".into(),
        code: BTreeMap::new(),
        params: with.clone(),
        device: None,
        inputs: BTreeMap::new(),
        platform: BTreeMap::new(),
    };
    let none: Vec<Seen> = Vec::new();
    Task {
        step: format!("step{number}"),
        run: "run".into(),
        key: Recipe::key(&recipe.canonical()),
        recipe,
        with,
        inputs: BTreeMap::<String, Filling>::new(),
        watched: none.into_iter().map(|seen| crate::task::Watched { seen, settled: true }).collect(),
        anew: false,
        draft: draft.into(),
        root: store.root().to_owned(),
        cpus: 1,
        gpus: Vec::new(),
        limit: None,
        log: store.root().join("log"),
    }
}

fn profile() -> Profile {
    let yaml = "executor: slurm\nresources: {memory: 1B}\nretries: {memory: x2, lost: 1000}\npoll: 2s\n";
    let value = crate::yaml::PipelineText::new(Path::new("p.yaml"), yaml.into()).parse().unwrap();
    serde_json::from_value(value).unwrap()
}

/// Runs one schedule to its end. Returns how often the engine was killed.
fn schedule(seed: u64) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::at(folder.path());
    store.prepare().unwrap();
    let world = World {
        chance: Chance(seed),
        store: store.clone(),
        jobs: Vec::new(),
        ids: 0,
        down: 0,
        hostile: true,
        computed: HashMap::new(),
        twice: Vec::new(),
        kills: 0,
    };
    let world = Arc::new(Mutex::new(world));
    let lock = || world.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let engine = || Jobs::new(store.clone(), "run".into(), profile(), Box::new(Stand(Arc::clone(&world))));
    let (mut jobs, mut handed, mut done) = (engine(), HashSet::new(), HashSet::new());
    let mut now = Duration::ZERO;
    for tick in 0.. {
        assert!(tick < TICKS, "seed {seed}: {} of {STEPS} steps are done", done.len());
        if done.len() == STEPS {
            break;
        }
        lock().hostile = tick < TICKS / 2;
        // Steps become due one after another.
        for number in (0..STEPS).filter(|number| number * 5 <= tick) {
            if !done.contains(&number) && handed.insert(number) {
                let asked = Resources::default();
                jobs.start(NodeIndex::new(number), task(&store, number, "run.0.0"), &asked);
            }
        }
        now += Duration::from_millis(700);
        let ticked = catch_unwind(AssertUnwindSafe(|| jobs.tick(now)));
        let killed = ticked.is_err();
        for message in ticked.map_or_else(|_| Vec::new(), |messages| messages.unwrap()) {
            let Message::Finished(node, outcome) = message else { continue };
            handed.remove(&node.index());
            match outcome {
                Outcome::Computed { .. } | Outcome::Hit(_) => drop(done.insert(node.index())),
                Outcome::Failed { why, .. } => panic!("seed {seed}: step{} failed: {why}", node.index()),
                _ => panic!("seed {seed}: another end"),
            }
        }
        if killed || (lock().hostile && lock().chance.percent(1)) {
            lock().kills += usize::from(!killed);
            (jobs, now) = (engine(), Duration::ZERO);
            handed.clear();
        }
        lock().go_on();
    }
    let world = lock();
    assert_eq!(world.twice, [], "seed {seed}: submitted although a job was alive");
    for number in 0..STEPS {
        let key = task(&store, number, "run.0.0").key;
        assert!(world.computed[&key] >= 1, "seed {seed}");
        let artifact = store.arrived(key).unwrap().unwrap();
        let text = std::fs::read_to_string(artifact.folder().join("text")).unwrap();
        assert_eq!(text, format!("text {number}"), "seed {seed}");
    }
    world.kills
}

/// `PIPELINE_SCHEDULES` sets how many.
#[test]
fn nothing_is_lost_wrong_or_submitted_beside_a_live_job() {
    let count = std::env::var("PIPELINE_SCHEDULES").ok().and_then(|count| count.parse().ok()).unwrap_or(60);
    let kills: usize = (0..count).map(schedule).sum();
    assert!(kills as u64 > count, "{kills} kills in {count} schedules are too few to show anything");
}

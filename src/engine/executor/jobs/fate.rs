//! The fate of a job, decided from evidence: first its artifact, then its own record, then the scheduler's word.
//! Silence is never a failure.

use super::super::scheduler::{Ending, Word};
use crate::error::Result;
use crate::journal::End;
use std::path::PathBuf;
use std::time::Duration;

/// How long a record or an artifact may stay out of sight after the scheduler says that its job has ended, as
/// files do on a network file system.
pub const LATE: Duration = Duration::from_secs(10);
/// How long the artifact may stay out of sight after the worker says that it is there.
const VERY_LATE: Duration = Duration::from_secs(300);
/// How long the scheduler must not know a job that never began before the job counts as lost.
const GONE: Duration = Duration::from_secs(30);
/// The same for one that began: several of the intervals at which a live worker writes to its journal.
const GONE_SILENT: Duration = Duration::from_secs(150);
/// How many answers in a row must lack the job.
pub const ABSENCES: u32 = 3;

/// What is known about a job.
#[derive(Debug)]
pub struct Evidence<'a> {
    /// How its latest attempt ended, by its own record.
    pub end: Option<&'a End>,
    /// Whether some attempt began.
    pub began: bool,
    /// The scheduler's latest word; `None` if it was never heard.
    pub word: Option<&'a Word>,
    /// How many of its latest answers did not list the job.
    pub absences: u32,
    /// For how long all of this has not changed.
    pub quiet: Duration,
}

/// What becomes of a step.
#[derive(Debug, Clone, PartialEq)]
pub enum Fate {
    /// Its job is alive, or may be.
    Live,
    /// Its artifact is there.
    Done,
    /// It failed.
    Failed {
        /// What went wrong.
        why: String,
        /// The last lines of its output.
        tail: Vec<String>,
        /// Where all of its output is.
        log: Option<PathBuf>,
    },
    /// Its job ended without a result, for a reason that a new job may not meet.
    Again(Cause),
}

/// Why a job ended without a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// It needed more memory.
    Memory,
    /// It needed more time, and left nothing to go on from.
    Time,
    /// It needed more time, and left a checkpoint.
    Checkpoint,
    /// It was lost, as described; the scheduler has said so.
    Lost(String),
    /// The scheduler does not know it.
    Unknown,
}

/// Decides. `arrived` looks for the artifact, and is asked only if it may be there.
pub fn decide(evidence: &Evidence<'_>, arrived: impl FnOnce() -> Result<bool>) -> Result<Fate> {
    let Evidence { end, began, word, absences, quiet } = evidence;
    let gone = if *began { GONE_SILENT } else { GONE };
    let absent = *absences >= ABSENCES && *quiet >= gone;
    let ended = match word {
        Some(Word::Ended(ending)) => Some(ending),
        _ => None,
    };
    if end.is_none() && ended.is_none() && !absent {
        return Ok(Fate::Live);
    }
    if arrived()? {
        return Ok(Fate::Done);
    }
    let failed = |why: &str| Fate::Failed { why: why.to_owned(), tail: Vec::new(), log: None };
    let lost = |why: &str| Fate::Again(Cause::Lost(why.to_owned()));
    let by_word = || match ended {
        None if absent => Fate::Again(Cause::Unknown),
        None => Fate::Live,
        Some(_) if end.is_none() && *quiet < LATE => Fate::Live,
        Some(Ending::Well) => lost("its job ended without a result or a record"),
        Some(Ending::Badly(how) | Ending::Lost(how)) => lost(how),
        Some(Ending::Cancelled) => failed("its job was cancelled"),
        Some(Ending::OutOfTime) => Fate::Again(Cause::Time),
        Some(Ending::OutOfMemory) => Fate::Again(Cause::Memory),
    };
    Ok(match end {
        Some(End::Computed { .. } | End::Hit) if *quiet < VERY_LATE => Fate::Live,
        Some(End::Computed { .. } | End::Hit) => lost("its artifact never came into sight"),
        // What was killed for its memory may have been a program of the step and not the worker.
        Some(End::Failed { .. }) if ended == Some(&Ending::OutOfMemory) => Fate::Again(Cause::Memory),
        Some(End::Failed { .. }) if ended.is_none() && *quiet < LATE => Fate::Live,
        Some(End::Failed { why, tail, log }) => {
            Fate::Failed { why: why.clone(), tail: tail.clone(), log: log.clone() }
        }
        Some(End::OutOfTime) => match by_word() {
            Fate::Again(_) => Fate::Again(Cause::Checkpoint),
            other => other,
        },
        Some(End::Stopped) | None => by_word(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Evidence<'_> =
        Evidence { end: None, began: true, word: None, absences: 0, quiet: Duration::from_secs(100_000) };

    fn fate(evidence: Evidence<'_>, arrived: bool) -> Fate {
        decide(&evidence, || Ok(arrived)).unwrap()
    }

    fn ended(ending: Ending) -> Word {
        Word::Ended(ending)
    }

    #[test]
    fn silence_is_no_failure() {
        assert_eq!(fate(NOTHING, false), Fate::Live);
        for word in [Word::Queued("Resources".into()), Word::Running("n1".into())] {
            assert_eq!(fate(Evidence { word: Some(&word), ..NOTHING }, false), Fate::Live);
        }
    }

    #[test]
    fn an_artifact_outweighs_every_other_word() {
        let (bad, failed) = (ended(Ending::Badly("exit code 1".into())), ended(Ending::OutOfMemory));
        let end = End::Failed { why: "no".into(), tail: Vec::new(), log: None };
        for word in [&bad, &failed] {
            assert_eq!(fate(Evidence { word: Some(word), ..NOTHING }, true), Fate::Done);
            assert_eq!(fate(Evidence { word: Some(word), end: Some(&end), ..NOTHING }, true), Fate::Done);
        }
        assert_eq!(fate(Evidence { absences: 3, ..NOTHING }, true), Fate::Done);
    }

    #[test]
    fn a_record_outweighs_the_scheduler() {
        let end = End::Failed { why: "no cells".into(), tail: Vec::new(), log: None };
        let word = ended(Ending::Well);
        let Fate::Failed { why, .. } =
            fate(Evidence { word: Some(&word), end: Some(&end), ..NOTHING }, false)
        else {
            panic!("it failed by its own record");
        };
        assert_eq!(why, "no cells");
        let computed = End::Computed { seconds: 1.0, bytes: 1, other: None };
        let early = Evidence { end: Some(&computed), quiet: LATE, word: Some(&word), ..NOTHING };
        assert_eq!(fate(early, false), Fate::Live, "its files may come late");
    }

    #[test]
    fn an_end_without_a_record_is_believed_only_when_files_had_time_to_come() {
        let word = ended(Ending::Lost("NODE_FAIL".into()));
        let early = Evidence { word: Some(&word), quiet: LATE / 2, ..NOTHING };
        assert_eq!(fate(early, false), Fate::Live);
        let late = Evidence { word: Some(&word), ..NOTHING };
        assert_eq!(fate(late, false), Fate::Again(Cause::Lost("NODE_FAIL".into())));
        let memory = ended(Ending::OutOfMemory);
        assert_eq!(fate(Evidence { word: Some(&memory), ..NOTHING }, false), Fate::Again(Cause::Memory));
    }

    #[test]
    fn a_job_that_was_cancelled_is_not_started_again() {
        let word = ended(Ending::Cancelled);
        let end = End::Stopped;
        for end in [None, Some(&end)] {
            assert!(matches!(
                fate(Evidence { word: Some(&word), end, ..NOTHING }, false),
                Fate::Failed { .. }
            ));
        }
    }

    #[test]
    fn a_job_out_of_time_goes_on_only_after_it_has_left_the_queue() {
        let saved = End::OutOfTime;
        let running = Word::Running("n1".into());
        let word = ended(Ending::Badly("exit code 75".into()));
        let of = |word| fate(Evidence { word: Some(word), end: Some(&saved), ..NOTHING }, false);
        assert_eq!(of(&running), Fate::Live);
        let back = Word::Queued("BeginTime".into());
        assert_eq!(of(&back), Fate::Live, "it was put back into the queue");
        assert_eq!(of(&word), Fate::Again(Cause::Checkpoint));
        assert_eq!(
            fate(Evidence { word: Some(&word), ..NOTHING }, false),
            Fate::Again(Cause::Lost("exit code 75".into()))
        );
    }

    #[test]
    fn a_job_that_one_answer_lacks_is_not_lost() {
        let young = Evidence { absences: 3, began: false, quiet: GONE / 2, ..NOTHING };
        assert_eq!(fate(young, false), Fate::Live);
        assert_eq!(fate(Evidence { absences: 2, began: false, ..NOTHING }, false), Fate::Live);
        let alive = Evidence { absences: 9, quiet: GONE, ..NOTHING };
        assert_eq!(fate(alive, false), Fate::Live, "its journal moved not long ago");
        assert_eq!(
            fate(Evidence { absences: 3, began: false, quiet: GONE, ..NOTHING }, false),
            Fate::Again(Cause::Unknown)
        );
    }
}

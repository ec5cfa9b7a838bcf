//! SLURM, through its own programs: sbatch, squeue, scancel, and sacct where there is one.

use super::ask::{Answer, ask};
use super::scheduler::{Ending, Job, Listing, Said, Scheduler, Submission, Word};
use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::profile::{Profile, Request};
use crate::spec::Resources;
use std::fs::File;
use std::path::Path;
use std::process::Command;

/// The fields of one line of squeue: name, place in the array, id of the array, state, reason, node.
const FIELDS: &str = "%j|%K|%F|%T|%r|%N";
/// What sbatch says if nobody knows whether it was heard.
const UNHEARD: [&str; 9] = [
    "Unable to contact",
    "connect failure",
    "Connection refused",
    "timed out",
    "Zero Bytes",
    "Unexpected message",
    "Protocol authentication",
    "Invalid authentication",
    "munge",
];
/// What it says if a limit stands in the way.
const LIMITS: [&str; 5] = ["submit limit", "MaxSubmit", "MaxJob", "temporarily unable", "try again"];
/// What squeue gives as the reason of an ordinary wait.
const ORDINARY: [&str; 4] = ["None", "Priority", "Resources", "BeginTime"];

/// SLURM as this user sees it.
#[derive(Debug)]
pub struct Slurm {
    profile: Profile,
    /// The worker's program.
    program: String,
    /// Whether sacct has answered that there is no accounting.
    no_accounting: bool,
}

impl Slurm {
    /// Refuses where there is no SLURM.
    pub fn new(profile: &Profile) -> Result<Slurm> {
        let mut version = Command::new("sbatch");
        version.arg("--version");
        if let Err(why) = ask(version, None) {
            let hint = "run on a machine from which `sbatch` works, or without --profile";
            return Err(Error::Device(format!("{why}; {hint}")));
        }
        let program = std::env::current_exe()
            .map_err(|error| Error::Device(format!("this program's own path is not known: {error}")))?;
        let program = program.to_string_lossy().into_owned();
        Ok(Slurm { profile: profile.clone(), program, no_accounting: false })
    }
}

impl Scheduler for Slurm {
    fn options(&self, kind: &str, resources: &Resources) -> Vec<String> {
        let Resources { cpus, memory, gpus, time } = resources;
        let Request { partition, account, qos, flags, resources: _ } = self.profile.request_of(kind);
        let named = [("partition", partition), ("account", account), ("qos", qos)];
        let named = named.into_iter().filter_map(|(name, value)| Some(format!("--{name}={}", value?)));
        let mut options: Vec<String> = named.collect();
        options.push(format!("--cpus-per-task={cpus}"));
        options.extend(memory.map(|bytes| format!("--mem={}M", bytes.div_ceil(1 << 20))));
        options.extend((*gpus > 0).then(|| format!("--gres=gpu:{gpus}")));
        if let Some(time) = time {
            let minutes = time.as_secs().div_ceil(60).max(1);
            options.push(format!("--time={minutes}"));
            // A warning that came right at the start would leave no time to compute anything.
            let warning = self.profile.warning.as_secs().min(30 * minutes);
            options.push(format!("--signal=B:USR1@{warning}"));
        }
        options.extend(flags);
        options
    }

    fn script(&self, folder: &Path) -> String {
        let setup = self.profile.setup.iter().map(|line| format!("{line}\n")).collect::<String>();
        let (program, folder) = (quoted(&self.program), quoted(&folder.to_string_lossy()));
        // The worker takes the shell's place, so that signals for the job reach it.
        format!("#!/bin/bash\n{setup}exec {program} worker {folder}/\"$SLURM_ARRAY_TASK_ID\".json\n")
    }

    fn submit(&mut self, batch: &Batch, lock: File) -> Submission {
        let last = batch.record.keys.len() - 1;
        let mut command = Command::new("sbatch");
        command
            .arg("--parsable")
            .arg(format!("--job-name={}", batch.name))
            .arg(format!("--array=0-{last}"))
            .arg(format!("--output={}/%a.out", batch.folder.display()))
            .args(["--open-mode=append", "--requeue"])
            .arg(format!("--chdir={}", batch.folder.display()))
            .args(&batch.record.options)
            .arg(batch.script());
        match ask(command, Some(lock)) {
            Err(why) => Submission::Unknown(why),
            Ok(answer) => heard(&answer),
        }
    }

    fn poll(&mut self) -> std::result::Result<Listing, String> {
        let user = rustix::process::getuid().as_raw().to_string();
        let mut command = Command::new("squeue");
        command.args(["--noheader", "--array", "--states=all", "--user", &user, "--format", FIELDS]);
        let answer = ask(command, None)?;
        match answer.code {
            Some(0) => Ok(listing(&answer.output)),
            _ => Err(answer.why()),
        }
    }

    fn recall(&mut self, batch: &Batch, place: usize) -> Option<Word> {
        if self.no_accounting {
            return None;
        }
        let id = batch.id().ok().flatten()?;
        let mut command = Command::new("sacct");
        command.args(["-nPX", "-o", "State,ExitCode", "-j"]).arg(format!("{id}_{place}"));
        let answer = ask(command, None).ok()?;
        self.no_accounting = answer.code != Some(0);
        let line = answer.output.lines().last()?;
        let (state, code) = line.split_once('|')?;
        // An accounting that knows no end knows nothing: the job was not in the queue any more.
        word(state, &format!("exit code {code}"), "").filter(|word| matches!(word, Word::Ended(_)))
    }

    fn cancel(&mut self, jobs: &[Job]) -> std::result::Result<(), String> {
        let mut command = Command::new("scancel");
        command.args(jobs.iter().map(|Job { id, place }| format!("{id}_{place}")));
        let answer = ask(command, None)?;
        match answer.code {
            Some(0) => Ok(()),
            _ => Err(answer.why()),
        }
    }
}

/// The answer of sbatch.
fn heard(answer: &Answer) -> Submission {
    let says = |texts: &[&str]| texts.iter().any(|text| answer.complaint.contains(text));
    let id = answer.output.lines().last().and_then(|line| line.split(';').next()).unwrap_or_default().trim();
    match answer.code {
        Some(0) if !id.is_empty() => Submission::Accepted(id.to_owned()),
        Some(0) | None => Submission::Unknown("sbatch gave no id".to_owned()),
        Some(_) if says(&UNHEARD) => Submission::Unknown(answer.why()),
        Some(_) if says(&LIMITS) => Submission::Later(answer.why()),
        Some(_) => Submission::Refused(answer.why()),
    }
}

fn listing(output: &str) -> Listing {
    let mut listing = Listing::new();
    for line in output.lines() {
        let fields: Vec<&str> = line.split('|').collect();
        let &[name, place, id, state, reason, node] = fields.as_slice() else { continue };
        let (Ok(place), Some(word)) = (place.parse(), word(state, reason, node)) else { continue };
        let said = Said { id: id.to_owned(), word };
        listing.entry(name.to_owned()).or_default().insert(place, said);
    }
    listing
}

/// A state of SLURM's; `None` if it is not known.
fn word(state: &str, reason: &str, node: &str) -> Option<Word> {
    let how = || match reason {
        "None" | "" => state.to_owned(),
        reason => format!("{state}, {reason}"),
    };
    // Accounting says `CANCELLED by 1000`.
    Some(match state.split(' ').next().unwrap_or_default() {
        "PENDING" | "CONFIGURING" | "REQUEUED" | "REQUEUE_FED" | "RESV_DEL_HOLD" => {
            let ordinary = ORDINARY.contains(&reason);
            Word::Queued(if ordinary { String::new() } else { reason.to_owned() })
        }
        "REQUEUE_HOLD" | "SPECIAL_EXIT" => Word::Queued(how()),
        "RUNNING" | "COMPLETING" | "SUSPENDED" | "STOPPED" | "SIGNALING" | "STAGE_OUT" | "RESIZING" => {
            Word::Running(node.to_owned())
        }
        "COMPLETED" => Word::Ended(Ending::Well),
        "FAILED" => Word::Ended(Ending::Badly(how())),
        "CANCELLED" => Word::Ended(Ending::Cancelled),
        "TIMEOUT" | "DEADLINE" => Word::Ended(Ending::OutOfTime),
        "OUT_OF_MEMORY" => Word::Ended(Ending::OutOfMemory),
        "NODE_FAIL" | "BOOT_FAIL" | "PREEMPTED" => Word::Ended(Ending::Lost(how())),
        _ => return None,
    })
}

/// A text as one word of the shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sbatch(code: i32, output: &str, complaint: &str) -> Submission {
        heard(&Answer { code: Some(code), output: output.into(), complaint: complaint.into() })
    }

    #[test]
    fn an_answer_of_sbatch_is_an_id_a_refusal_a_limit_or_nothing() {
        assert_eq!(sbatch(0, "12\n", ""), Submission::Accepted("12".into()));
        assert_eq!(sbatch(0, "12;north\n", ""), Submission::Accepted("12".into()));
        let down = "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)";
        let Submission::Unknown(why) = sbatch(1, "", down) else { panic!("it may have been heard") };
        assert_eq!(why, "Batch job submission failed: Unable to contact slurm controller (connect failure)");
        let limit = "sbatch: error: QOSMaxSubmitJobPerUserLimit\nsbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)";
        assert!(matches!(sbatch(1, "", limit), Submission::Later(_)));
        let never =
            "sbatch: error: Batch job submission failed: Requested node configuration is not available";
        let why = "Batch job submission failed: Requested node configuration is not available";
        assert_eq!(sbatch(1, "", never), Submission::Refused(why.into()));
    }

    #[test]
    fn a_listing_knows_its_jobs_by_name_and_place() {
        let output = "pipeline-1f-1|0|7|RUNNING|None|n1\npipeline-1f-1|1|7|PENDING|Resources|\npipeline-1f-1|2|7|PENDING|JobHeldUser|\npipeline-1f-1|3|7|NODE_FAIL|NodeDown|\nother|N/A|9|RUNNING|None|n2\n";
        let listing = listing(output);
        assert_eq!(listing.len(), 1);
        let said = |place| listing["pipeline-1f-1"][&place].clone();
        assert_eq!(said(0), Said { id: "7".into(), word: Word::Running("n1".into()) });
        assert_eq!(said(1).word, Word::Queued(String::new()));
        assert_eq!(said(2).word, Word::Queued("JobHeldUser".into()));
        assert_eq!(said(3).word, Word::Ended(Ending::Lost("NODE_FAIL, NodeDown".into())));
        assert_eq!(word("CANCELLED by 0", "exit code 0:9", ""), Some(Word::Ended(Ending::Cancelled)));
    }
}

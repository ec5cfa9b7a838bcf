//! `command`: an external program, run by `sh`.

use anyhow::{Context, bail};
use contract::bounds::not_blank;
use contract::disk::{self, Tree};
use contract::stage::{Io, Kind, Mistake, Need, Report, Slots, Stage, StopReason, Stopped, Wires};
use contract::warden::{Heard, Job, Warden};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::{Component, Path};
use std::time::Duration;

/// The kind. Its code is the user's program, so no code of ours enters the key.
pub const KIND: Kind = Kind::of::<Command>(
    "command",
    "an external program: a shell command line, Python, R, anything",
    Slots::Any,
    &[],
);

/// Always passed through, and never in a key: they say where things are, not what they are.
const WHEREABOUTS: [&str; 4] = ["PATH", "HOME", "USER", "TMPDIR"];
/// How often to check whether to stop.
const TICK: Duration = Duration::from_millis(50);

/// An external program, run by `sh -eu` in a private folder with a clean environment.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Command {
    /// The command line. It reads `$PIPELINE_IN_<SLOT>` and writes into `$PIPELINE_OUT`.
    run: String,
    /// Files whose content affects the result, relative to the pipeline file; at run time they are below
    /// `$PIPELINE_ROOT`.
    #[serde(default)]
    scripts: Vec<String>,
    /// The files it must write, and no others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    outputs: Option<Vec<OutputName>>,
    /// Environment variables to pass through; their values enter the key.
    #[serde(default)]
    env: Vec<String>,
    /// Provides `$PIPELINE_CHECKPOINT`, a folder that is kept across kills until the step is done.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    checkpoint: bool,
    /// Allows it to write nothing at all.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    allow_empty: bool,
}

/// A path that stays inside its folder.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
struct OutputName(String);

impl TryFrom<String> for OutputName {
    type Error = String;

    fn try_from(name: String) -> Result<OutputName, String> {
        let plain = Path::new(&name).components().all(|part| matches!(part, Component::Normal(_)));
        if name.is_empty() || name.contains('\0') || !plain || Path::new(&name).components().count() == 0 {
            return Err(format!(
                "the output name `{}` leaves the stage's folder; give a plain relative path",
                name.escape_debug()
            ));
        }
        Ok(OutputName(name))
    }
}

impl Stage for Command {
    fn check(&self, _wires: Wires<'_>) -> Result<(), Mistake> {
        not_blank("run", &self.run)?;
        for (i, script) in self.scripts.iter().enumerate() {
            not_blank(&format!("scripts.{i}"), script)?;
        }
        for (i, name) in self.env.iter().enumerate() {
            if name.is_empty() || name.contains(['=', '\0']) {
                let message =
                    format!("`{}` cannot be the name of an environment variable", name.escape_debug());
                return Err(Mistake::param(&format!("env.{i}"), message));
            }
        }
        Ok(())
    }

    fn only_waits(&self) -> bool {
        true
    }

    fn needs(&self) -> Vec<Need> {
        let scripts = self.scripts.iter().cloned().map(Need::File);
        let variables = self.env.iter().filter(|name| !WHEREABOUTS.contains(&name.as_str()));
        scripts.chain(variables.cloned().map(Need::Variable)).collect()
    }

    fn run(&self, io: &Io) -> anyhow::Result<()> {
        let job = self.job(io)?;
        let mut warden = io.wardens.start(&job).context("starting `sh`")?;
        let (code, stopped) = listen(io, &mut warden).context("waiting for `sh`")?;
        if code.is_some() {
            io.wardens.keep(warden);
        }
        if let Some(reason) = stopped {
            return Err(Stopped(reason).into());
        }
        self.check_code(code)?;
        self.check_outputs(io)
    }
}

/// Forwards the program's output until it ends. Returns its exit code, or `None` if its warden was lost; and
/// why it was stopped, if it was.
fn listen(io: &Io, warden: &mut Warden) -> std::io::Result<(Option<i32>, Option<StopReason>)> {
    let mut told: Option<StopReason> = None;
    loop {
        match warden.listen(TICK)? {
            Heard::Nothing => {}
            Heard::Output(bytes) => (io.listener)(Report::Log(bytes.to_vec())),
            Heard::Ended(code, rest) => {
                if !rest.is_empty() {
                    (io.listener)(Report::Log(rest));
                }
                return Ok((Some(code), told));
            }
            Heard::Lost => return Ok((None, told)),
        }
        let reason = io.stop_reason();
        let hurry = told.is_some_and(|before| before != StopReason::Now) && reason == Some(StopReason::Now);
        if hurry || (told.is_none() && reason.is_some()) {
            warden.stop();
            told = if hurry { Some(StopReason::Now) } else { reason };
        }
    }
}

impl Command {
    fn job(&self, io: &Io) -> anyhow::Result<Job> {
        let mut job = Job::new(&self.run, &io.work)?;
        let named = self.env.iter().map(String::as_str).filter(|name| *name != "PATH");
        for name in std::iter::once("PATH").chain(named) {
            if let Some(value) = std::env::var_os(name) {
                job.set(name, value)?;
            }
        }
        job.set("PIPELINE_ROOT", &io.root)?;
        job.set("PIPELINE_OUT", &io.out)?;
        job.set("PIPELINE_CPUS", io.cpus.to_string())?;
        job.set("TMPDIR", &io.work)?;
        for (slot, path) in &io.inputs {
            job.set(&format!("PIPELINE_IN_{}", slot.to_uppercase()), path)?;
        }
        if self.checkpoint {
            job.set("PIPELINE_CHECKPOINT", io.checkpoints.program_folder()?)?;
        }
        if !io.gpus.is_empty() {
            let ids: Vec<String> = io.gpus.iter().map(u32::to_string).collect();
            job.set("CUDA_VISIBLE_DEVICES", ids.join(","))?;
        }
        Ok(job)
    }

    fn check_code(&self, code: Option<i32>) -> anyhow::Result<()> {
        match code {
            Some(0) => Ok(()),
            Some(137) => {
                bail!(
                    "the command was killed (exit code 137); often that is the machine running out of memory"
                )
            }
            Some(code) => {
                // The program does not run in the folder of its scripts, as users often expect.
                let misplaced = |script: &&String| {
                    self.run.contains(script.as_str()) && !self.run.contains("PIPELINE_ROOT")
                };
                let hint = self.scripts.iter().find(misplaced).map_or_else(String::new, |script| {
                    format!(
                        "; it runs in a folder of its own, from where {script} is \"$PIPELINE_ROOT/{script}\""
                    )
                });
                bail!("the command ended with exit code {code}{hint}")
            }
            None => bail!("the command's warden was killed"),
        }
    }

    /// Checks that exactly the files in `outputs` were written or, without `outputs`, any at all.
    fn check_outputs(&self, io: &Io) -> anyhow::Result<()> {
        let Tree { files, others, folders: _ } = disk::walk(&io.out)?;
        let written: Vec<String> =
            files.iter().chain(&others).map(|path| path.to_string_lossy().into_owned()).collect();
        let Some(outputs) = &self.outputs else {
            if written.is_empty() && !self.allow_empty {
                bail!("{}", nothing_written(io)?);
            }
            return Ok(());
        };
        let names = |name: &str, file: &String| file == name || file.starts_with(&format!("{name}/"));
        let missing: Vec<&str> = outputs
            .iter()
            .map(|name| name.0.as_str())
            .filter(|name| !written.iter().any(|file| names(name, file)))
            .collect();
        if !missing.is_empty() {
            bail!(
                "the command did not write `{}` into $PIPELINE_OUT, which `outputs` names",
                missing.join("`, `")
            );
        }
        let extra: Vec<&String> =
            written.iter().filter(|file| !outputs.iter().any(|name| names(&name.0, file))).collect();
        match extra.as_slice() {
            [] => Ok(()),
            [first, ..] => {
                bail!("the command wrote `{first}` into $PIPELINE_OUT, which `outputs` does not name")
            }
        }
    }
}

/// Why a step without output fails, and where the command wrote instead if that can be seen.
fn nothing_written(io: &Io) -> anyhow::Result<String> {
    const NAMED: usize = 3;
    let Tree { files, .. } = disk::walk(&io.work)?;
    let names: Vec<String> =
        files.iter().take(NAMED).map(|path| format!("`{}`", path.to_string_lossy().escape_debug())).collect();
    let otherwise = "say `allow_empty: true` if it has no results";
    let Some(first) = files.first() else {
        return Ok(format!(
            "the command wrote nothing into $PIPELINE_OUT; write its results there, as in `… > \"$PIPELINE_OUT/result.txt\"`, or {otherwise}"
        ));
    };
    let more = files.len() - names.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Ok(format!(
        "the command wrote nothing into $PIPELINE_OUT, but {}{more} into its working folder, which is removed; write to \"$PIPELINE_OUT/{}\", or {otherwise}",
        names.join(", "),
        first.to_string_lossy().escape_debug()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_names_stay_in_their_folder() {
        for name in ["", ".", "..", "/etc/x", "a/../b", "../x", "a\0b"] {
            assert!(OutputName::try_from(name.to_owned()).is_err(), "{name:?}");
        }
        for name in ["a", "a/b.txt", "..a", "a..b"] {
            assert!(OutputName::try_from(name.to_owned()).is_ok(), "{name:?}");
        }
    }
}

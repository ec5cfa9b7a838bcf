//! `command`: an external program, run by `sh`.

use crate::disk::{self, Tree};
use crate::stage::{Io, Kind, Need, Report, Slots, Stage, StopReason, Stopped};
use crate::warden;
use anyhow::{Context, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::io::{PipeReader, Read};
use std::path::{Component, Path};
use std::process::{Child, ExitStatus, Stdio};

/// The kind itself. Its code is what the user brings, so none of ours enters the key.
pub const KIND: Kind = Kind::of::<Command>(
    "command",
    "an external program: a shell command line, Python, R, anything",
    Slots::Any,
    &[],
);

/// Always let through, and never in a key: they say where things are, not what they are.
const WHEREABOUTS: [&str; 4] = ["PATH", "HOME", "USER", "TMPDIR"];
const POLL: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// An external program, run by `sh -eu` in a private folder with a clean environment.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Command {
    /// The command line. It reads `$PIPELINE_IN_<SLOT>` and writes into `$PIPELINE_OUT`.
    run: String,
    /// Files whose content decides the result, relative to the pipeline file; below `$PIPELINE_ROOT` when it runs.
    #[serde(default)]
    scripts: Vec<String>,
    /// The files it must write, and no others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    outputs: Option<Vec<OutputName>>,
    /// Environment variables that it may see; their values decide the result.
    #[serde(default)]
    env: Vec<String>,
    /// Gives it `$PIPELINE_CHECKPOINT`, a folder that outlives kills until the step is done.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    checkpoint: bool,
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
    fn needs(&self) -> Vec<Need> {
        let scripts = self.scripts.iter().cloned().map(Need::File);
        let variables = self.env.iter().filter(|name| !WHEREABOUTS.contains(&name.as_str()));
        scripts.chain(variables.cloned().map(Need::Variable)).collect()
    }

    fn run(&self, io: &Io) -> anyhow::Result<()> {
        let (reader, writer) = std::io::pipe().context("making a pipe")?;
        let mut command = warden::command("sh");
        command.args(["-euc", &self.run, "sh"]).current_dir(&io.work).env_clear();
        for name in WHEREABOUTS
            .iter()
            .filter(|name| **name == "PATH")
            .copied()
            .chain(self.env.iter().map(String::as_str))
        {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command
            .env("PIPELINE_ROOT", &io.root)
            .env("PIPELINE_OUT", &io.out)
            .env("PIPELINE_CPUS", io.cpus.to_string());
        command.env("TMPDIR", &io.work);
        for (slot, path) in &io.inputs {
            command.env(format!("PIPELINE_IN_{}", slot.to_uppercase()), path);
        }
        if self.checkpoint {
            command.env("PIPELINE_CHECKPOINT", io.checkpoints.program_folder()?);
        }
        if !io.gpus.is_empty() {
            let ids: Vec<String> = io.gpus.iter().map(u32::to_string).collect();
            command.env("CUDA_VISIBLE_DEVICES", ids.join(","));
        }
        command.stdin(Stdio::null()).stdout(writer.try_clone().context("making a pipe")?).stderr(writer);
        let mut child = command.spawn().context("starting `sh`")?;
        drop(command); // Its copies of the pipe's writing end would keep the reading end open.
        let stopped = listen(io, reader, &mut child)?;
        let status = child.wait().context("waiting for `sh`")?;
        if let Some(reason) = stopped {
            return Err(Stopped(reason).into());
        }
        check_status(status)?;
        self.check_outputs(io)
    }
}

/// Passes the program's output on until it ends; returns why it was stopped, if it was.
fn listen(io: &Io, mut reader: PipeReader, child: &mut Child) -> anyhow::Result<Option<StopReason>> {
    let mut buffer = vec![0; 1 << 16];
    let mut told: Option<StopReason> = None;
    loop {
        let ready = {
            let mut polled = [PollFd::new(&reader, PollFlags::IN)];
            match poll(&mut polled, Some(&POLL)) {
                Err(rustix::io::Errno::INTR) => 0,
                other => other.context("waiting for output")?,
            }
        };
        if ready > 0 {
            match reader.read(&mut buffer).context("reading output")? {
                0 => return Ok(told),
                n => (io.listener)(Report::Log(buffer[..n].to_vec())),
            }
        } else if child.try_wait().context("waiting for `sh`")?.is_some() {
            return Ok(told); // The warden was killed, and something below it holds the pipe.
        }
        let reason = io.stop_reason();
        let hurry = told.is_some_and(|before| before != StopReason::Now) && reason == Some(StopReason::Now);
        if hurry || (told.is_none() && reason.is_some()) {
            warden::stop(child);
            told = if hurry { Some(StopReason::Now) } else { reason };
        }
    }
}

fn check_status(status: ExitStatus) -> anyhow::Result<()> {
    match status.code() {
        Some(0) => Ok(()),
        Some(137) => {
            bail!("the command was killed (exit code 137); often that is the machine running out of memory")
        }
        Some(code) => bail!("the command ended with exit code {code}"),
        None => bail!("the command's warden was killed ({status})"),
    }
}

impl Command {
    /// What `outputs` names must be there, and nothing else.
    fn check_outputs(&self, io: &Io) -> anyhow::Result<()> {
        let Tree { files, others, folders: _ } = disk::walk(&io.out)?;
        let written: Vec<String> =
            files.iter().chain(&others).map(|path| path.to_string_lossy().into_owned()).collect();
        let Some(outputs) = &self.outputs else {
            if written.is_empty() {
                io.warn("wrote nothing into $PIPELINE_OUT");
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

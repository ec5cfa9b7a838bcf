//! Asks a program of the scheduler, which may hang.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// How long a program may take. Those of SLURM give up by themselves after about ten seconds.
const PATIENCE: Duration = Duration::from_secs(60);
/// The interval at which a program is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// What a program answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its exit code; `None` if it was killed.
    pub code: Option<i32>,
    /// Its standard output.
    pub output: String,
    /// Its standard error.
    pub complaint: String,
}

impl Answer {
    /// The first line of what it complained of, without its own name.
    pub fn why(&self) -> String {
        let lines = self.complaint.lines().map(str::trim).filter(|line| !line.is_empty());
        match lines.last() {
            Some(line) => line.split_once("error: ").map_or(line, |(_, rest)| rest).to_owned(),
            None => format!("it ended with exit code {}", self.code.unwrap_or(-1)),
        }
    }
}

/// Runs a program to its end. `held` is kept open by the program itself, as its standard input, so that a lock on
/// it outlives this process. The error says why there is no answer.
pub fn ask(mut command: Command, held: Option<File>) -> Result<Answer, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.stdin(held.map_or_else(Stdio::null, Stdio::from)).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| match error.kind() {
        ErrorKind::NotFound => format!("there is no program `{name}` on this machine"),
        _ => format!("`{name}` cannot be started: {error}"),
    })?;
    let output = child.stdout.take().map(collect);
    let complaint = child.stderr.take().map(collect);
    let Some(code) = wait(&mut child) else {
        // Nothing can be done about an error here.
        let _ = child.kill();
        let _ = child.wait();
        return Err(format!("`{name}` gave no answer in {} seconds", PATIENCE.as_secs()));
    };
    let read = |text: Option<Receiver<String>>| text.and_then(|text| text.recv().ok()).unwrap_or_default();
    Ok(Answer { code: code.code(), output: read(output), complaint: read(complaint) })
}

fn wait(child: &mut Child) -> Option<std::process::ExitStatus> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if let Ok(Some(code)) = child.try_wait() {
            return Some(code);
        }
        std::thread::sleep(LOOK);
    }
    None
}

/// Reads a stream on a thread of its own, because a program that fills two pipes waits for both to be read.
fn collect(mut from: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error is still worth something.
        let _ = from.read_to_end(&mut bytes);
        drop(sender.send(String::from_utf8_lossy(&bytes).into_owned()));
    });
    receiver
}

//! Asks a program of the scheduler, which may hang.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a program may take. Those of SLURM give up by themselves after about ten seconds.
const PATIENCE: Duration = Duration::from_secs(60);
/// The interval at which a program is looked at.
const LOOK: Duration = Duration::from_millis(5);
/// How long the end of its output is waited for after it has ended.
const LEFT_OPEN: Duration = Duration::from_secs(1);

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
    /// The last line of what it complained of, without its own name.
    pub fn why(&self) -> String {
        let mut lines = self.complaint.lines().map(str::trim).filter(|line| !line.is_empty());
        match lines.next_back() {
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
    let output = child.stdout.take().map(Stream::of);
    let complaint = child.stderr.take().map(Stream::of);
    let Some(code) = wait(&mut child) else {
        // Nothing can be done about an error here.
        let _ = child.kill();
        let _ = child.wait();
        return Err(format!("`{name}` gave no answer in {} seconds", PATIENCE.as_secs()));
    };
    let text = |stream: Option<Stream>| stream.map(Stream::text).unwrap_or_default();
    Ok(Answer { code: code.code(), output: text(output), complaint: text(complaint) })
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

/// A stream that is read on a thread of its own, because a program that fills two pipes waits for both to be read.
struct Stream {
    bytes: Arc<Mutex<Vec<u8>>>,
    ended: Receiver<()>,
}

impl Stream {
    fn of(mut from: impl Read + Send + 'static) -> Stream {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let (sender, ended) = channel();
        let kept = Arc::clone(&bytes);
        std::thread::spawn(move || {
            let mut buffer = vec![0; 1 << 16];
            while let Ok(count @ 1..) = from.read(&mut buffer) {
                kept.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&buffer[..count]);
            }
            let _ = sender.send(());
        });
        Stream { bytes, ended }
    }

    /// What has come, once the program has ended. A program that it left behind may hold the stream open.
    fn text(self) -> String {
        let _ = self.ended.recv_timeout(LEFT_OPEN);
        String::from_utf8_lossy(&self.bytes.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_leaves_another_behind_is_not_waited_for() {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 30 & echo 12; echo no >&2; exit 3"]);
        let began = Instant::now();
        let answer = ask(command, None).unwrap();
        assert_eq!((answer.code, &*answer.output, &*answer.why()), (Some(3), "12\n", "no"));
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    }

    #[test]
    fn long_answers_are_read_whole() {
        let mut command = Command::new("sh");
        command.args(["-c", "seq 100000; seq 100000 >&2"]);
        let answer = ask(command, None).unwrap();
        assert_eq!((answer.output.lines().count(), answer.complaint.lines().count()), (100_000, 100_000));
    }
}

//! Small processes between the engine and external programs that let nothing outlive either.
//!
//! A death signal reaches one process, not what that process started, and a process group can be left
//! with `setsid`. A warden is a subreaper: whatever its program starts, and whatever that starts, stays
//! below it. When the program ends, when the engine dies, or when the engine says so, it kills all that is
//! left. It is this same executable, started again, because `prctl` must be called inside the new process
//! and the standard library offers no safe way to do that between fork and exec. Starting it costs more
//! than a short step does, so that one warden serves one step after another.
//!
//! | through | from | what |
//! |---|---|---|
//! | its standard input | the engine | a job, or "stop"; its end: the engine is gone |
//! | its standard output | the warden | the exit code of the job, once nothing of it is left |
//! | its standard error | the program | all output |

mod guard;

pub use guard::main;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::ffi::OsStr;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The first argument that makes this executable a warden.
pub const ARGUMENT: &str = "warden";
/// A message without fields: stop.
const STOP: [u8; 4] = [0; 4];

/// The wardens of a run that have nothing to do; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Wardens(Arc<Mutex<Vec<Warden>>>);

impl Wardens {
    /// Gives a job to an idle warden, or to a new one.
    pub fn start(&self, job: &Job) -> io::Result<Warden> {
        loop {
            let idle = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(mut warden) = idle else { break };
            if warden.start(job).is_ok() {
                return Ok(warden);
            } // It was killed while it had nothing to do.
        }
        let mut warden = Warden::new()?;
        warden.start(job)?;
        Ok(warden)
    }

    /// Keeps a warden whose job is done for the next one.
    pub fn keep(&self, warden: Warden) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(warden);
    }

    /// Ends the idle wardens.
    pub fn dismiss(&self) {
        let idle = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let processes: Vec<Child> = idle.into_iter().map(|warden| warden.process).collect();
        for mut process in processes {
            // Whatever it says, there is nothing left to do about it.
            let _ = process.wait();
        }
    }
}

/// A shell's command line, where it runs and what it sees.
#[derive(Debug)]
pub struct Job {
    /// The message to the warden but for its length: folder, command line and variables, each ended by a zero.
    fields: Vec<u8>,
}

impl Job {
    /// Runs `line` in `folder` with an empty environment.
    pub fn new(line: &str, folder: &Path) -> io::Result<Job> {
        let mut job = Job { fields: Vec::new() };
        job.add(&[folder.as_os_str()])?;
        job.add(&[OsStr::new(line)])?;
        Ok(job)
    }

    /// Adds a variable to its environment.
    pub fn set(&mut self, name: &str, value: impl AsRef<OsStr>) -> io::Result<()> {
        self.add(&[OsStr::new(name), OsStr::new("="), value.as_ref()])
    }

    fn add(&mut self, parts: &[&OsStr]) -> io::Result<()> {
        for part in parts {
            if part.as_bytes().contains(&0) {
                let why = format!("{part:?} has a zero byte, which no program can be given");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
            }
            self.fields.extend_from_slice(part.as_bytes());
        }
        self.fields.push(0);
        Ok(())
    }
}

/// What a warden has to tell.
#[derive(Debug)]
pub enum Heard<'a> {
    /// Nothing yet.
    Nothing,
    /// Output, as it came.
    Output(&'a [u8]),
    /// The exit code of the job, and its last output.
    Ended(i32, Vec<u8>),
    /// The warden itself was killed.
    Lost,
}

/// One process that runs jobs, one at a time. Dropped, it kills what it runs.
#[derive(Debug)]
pub struct Warden {
    process: Child,
    requests: PipeWriter,
    codes: PipeReader,
    output: PipeReader,
    buffer: Vec<u8>,
}

impl Warden {
    fn new() -> io::Result<Warden> {
        let (theirs, requests) = io::pipe()?;
        let (codes, code_writer) = io::pipe()?;
        let (output, output_writer) = io::pipe()?;
        let process = Command::new("/proc/self/exe")
            .arg0("pipeline")
            .arg(ARGUMENT)
            .process_group(0)
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::from(code_writer))
            .stderr(Stdio::from(output_writer))
            .spawn()?;
        Ok(Warden { process, requests, codes, output, buffer: vec![0; 1 << 16] })
    }

    fn start(&mut self, job: &Job) -> io::Result<()> {
        let length = u32::try_from(job.fields.len())
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "the command line is too long"))?;
        self.requests.write_all(&[&length.to_le_bytes(), job.fields.as_slice()].concat())
    }

    /// Asks the program to stop; asked twice, it is killed at once.
    pub fn stop(&mut self) {
        // The only refusal possible is that it is gone, which is what was wanted.
        let _ = self.requests.write_all(&STOP);
    }

    /// Waits for something to tell, no longer than `limit`.
    pub fn listen(&mut self, limit: Duration) -> io::Result<Heard<'_>> {
        let (output, code) = ready(&self.output, &self.codes, limit)?;
        if output {
            let count = self.output.read(&mut self.buffer)?;
            if count > 0 {
                return Ok(Heard::Output(&self.buffer[..count]));
            }
        }
        if !code {
            return Ok(Heard::Nothing);
        }
        let mut code = [0; 4];
        if self.codes.read_exact(&mut code).is_err() {
            return Ok(Heard::Lost);
        }
        // All that wrote is gone, so that what the pipe holds now is the end of it.
        let mut rest = Vec::new();
        while ready(&self.output, &self.codes, Duration::ZERO)?.0 {
            match self.output.read(&mut self.buffer)? {
                0 => break,
                count => rest.extend_from_slice(&self.buffer[..count]),
            }
        }
        Ok(Heard::Ended(i32::from_le_bytes(code), rest))
    }
}

/// Which of two pipes can be read, or has ended, within a time.
fn ready(first: &PipeReader, second: &PipeReader, limit: Duration) -> io::Result<(bool, bool)> {
    let limit = Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: limit.subsec_nanos().into() };
    let mut polled = [PollFd::new(first, PollFlags::IN), PollFd::new(second, PollFlags::IN)];
    match poll(&mut polled, Some(&limit)) {
        Err(rustix::io::Errno::INTR) => return Ok((false, false)),
        other => other?,
    };
    let [first, second] = polled.map(|polled| !polled.revents().is_empty());
    Ok((first, second))
}

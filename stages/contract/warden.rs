//! Small processes between the engine and external programs, which make sure that no program outlives its
//! step or the engine.
//!
//! A death signal reaches only one process, not its children, and `setsid` leaves a process group. A warden
//! is a subreaper: every descendant of its program stays below it. When the program ends, when the engine
//! dies, or when the engine says so, the warden kills all remaining descendants. It is this same executable,
//! started again, because `prctl` must be called inside the new process and the standard library offers no
//! safe way to do that between fork and exec. Starting a warden costs more than a short step, so one warden
//! serves one step after another.
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

/// The idle wardens of a run; clones share them.
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
            } // It was killed while idle.
        }
        let mut warden = Warden::new()?;
        warden.start(job)?;
        Ok(warden)
    }

    /// Keeps an idle warden for the next job.
    pub fn keep(&self, warden: Warden) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(warden);
    }

    /// Ends the idle wardens.
    pub fn dismiss(&self) {
        let idle = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let processes: Vec<Child> = idle.into_iter().map(|warden| warden.process).collect();
        for mut process in processes {
            // Nothing can be done about an error here.
            let _ = process.wait();
        }
    }
}

/// A shell command line with its folder and environment.
#[derive(Debug)]
pub struct Job {
    /// The message to the warden, without its length: folder, command line and variables, each terminated by
    /// a zero byte.
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

/// A message from a warden.
#[derive(Debug)]
pub enum Heard<'a> {
    /// Nothing yet.
    Nothing,
    /// Output of the job, as it came.
    Output(&'a [u8]),
    /// The exit code of the job, and its last output.
    Ended(i32, Vec<u8>),
    /// The warden itself was killed.
    Lost,
}

/// A process that runs jobs, one at a time. When dropped, it kills its job.
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

    /// Asks the program to stop; a second call kills it at once.
    pub fn stop(&mut self) {
        // A write can only fail if the warden is gone, and then there is nothing to stop.
        let _ = self.requests.write_all(&STOP);
    }

    /// Waits for a message, no longer than `limit`.
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
        // All writers are gone, so the pipe holds the end of the output.
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

/// Which of two pipes becomes readable or ends within the time limit.
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

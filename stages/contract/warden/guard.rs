//! The warden process: starts programs for the engine, and kills whatever they leave behind.

use super::STOP;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, set_child_subreaper};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a program may take to stop once asked.
const GRACE: Duration = Duration::from_secs(3);
/// The shell's exit code for "could not be started".
const NOT_STARTED: i32 = 127;
/// The shell's exit code for "killed".
const KILLED: i32 = 128 + Signal::KILL.as_raw();

/// Serves the engine at the other end of the standard streams until the engine is gone.
pub fn main() -> ExitCode {
    match Guard::new().and_then(Guard::serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE, // The engine notices that the warden is lost; nobody else reads the status.
    }
}

struct Guard {
    requests: File,
    codes: File,
    /// Becomes readable when a descendant has ended.
    ended: UnixStream,
}

/// A message from the engine.
enum Request {
    Job(Vec<u8>),
    Stop,
    /// The engine is gone.
    End,
}

impl Guard {
    fn new() -> io::Result<Guard> {
        set_child_subreaper(Some(rustix::process::getpid()))?; // Any process id turns it on.
        let (ended, notice) = UnixStream::pair()?;
        ended.set_nonblocking(true)?;
        signal_hook::low_level::pipe::register(SIGCHLD, notice)?;
        for signal in [SIGTERM, SIGINT, SIGHUP] {
            // Ignored and not passed on: whoever signals all processes of a job also signals the engine,
            // which decides what happens to the program.
            signal_hook::flag::register(signal, Arc::default())?;
        }
        // Unbuffered, because the standard library's buffers would hide messages from `poll`.
        let requests = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        let codes = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        Ok(Guard { requests, codes, ended })
    }

    fn serve(mut self) -> io::Result<()> {
        loop {
            match self.request()? {
                Request::Job(fields) => match self.job(&fields) {
                    Some(code) => self.codes.write_all(&code.to_le_bytes())?,
                    None => return Ok(()),
                },
                Request::Stop => {} // A late stop for a job that has just ended.
                Request::End => return Ok(()),
            }
        }
    }

    fn request(&mut self) -> io::Result<Request> {
        let mut length = STOP;
        match self.requests.read_exact(&mut length) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Request::End),
            other => other?,
        }
        if length == STOP {
            return Ok(Request::Stop);
        }
        let mut fields = vec![0; u32::from_le_bytes(length) as usize];
        self.requests.read_exact(&mut fields)?;
        Ok(Request::Job(fields))
    }

    /// Runs a job to its end and kills what it left behind; `None` if the engine is gone.
    fn job(&mut self, fields: &[u8]) -> Option<i32> {
        let code = match start(fields) {
            Ok(child) => self.guard(child),
            Err(error) => {
                eprintln!("starting `sh`: {error}");
                Some(NOT_STARTED)
            }
        };
        kill_all();
        code
    }

    fn guard(&mut self, child: Pid) -> Option<i32> {
        let mut deadline: Option<Instant> = None;
        loop {
            let (request, ended) = self.wait(deadline);
            if ended {
                while matches!(self.ended.read(&mut [0; 64]), Ok(1..)) {}
                if let Some(code) = reap(child) {
                    return Some(code);
                }
            }
            if request {
                match (self.request(), deadline) {
                    (Ok(Request::Stop), None) => {
                        deadline = Some(Instant::now() + GRACE);
                        signal_all(Signal::TERM);
                    }
                    (Ok(Request::Stop), Some(_)) => return Some(KILLED),
                    _ => return None,
                }
            }
            if deadline.is_some_and(|at| Instant::now() >= at) {
                return Some(KILLED);
            }
        }
    }

    /// Waits for a request or for the end of a process; returns which of them came.
    fn wait(&self, deadline: Option<Instant>) -> (bool, bool) {
        let limit = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        let limit = limit
            .map(|limit| Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: limit.subsec_nanos().into() });
        let mut polled =
            [PollFd::new(&self.requests, PollFlags::IN), PollFd::new(&self.ended, PollFlags::IN)];
        match poll(&mut polled, limit.as_ref()) {
            Ok(_) => polled.map(|polled| !polled.revents().is_empty()).into(),
            Err(_) => (false, true), // Interrupted by a signal: SIGCHLD, or one that is ignored.
        }
    }
}

/// Starts `sh` with the command line of a job, in its own process group.
fn start(fields: &[u8]) -> io::Result<Pid> {
    let mut fields = fields.split(|byte| *byte == 0).map(OsStr::from_bytes);
    let (folder, line) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
    let variables = fields.filter_map(|field| {
        let at = field.as_bytes().iter().position(|byte| *byte == b'=')?;
        Some((OsStr::from_bytes(&field.as_bytes()[..at]), OsStr::from_bytes(&field.as_bytes()[at + 1..])))
    });
    let child = Command::new("/bin/sh")
        .arg0("sh")
        .arg("-euc")
        .arg(line)
        .arg("sh")
        .current_dir(folder)
        .env_clear()
        .envs(variables)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(io::stderr().as_fd().try_clone_to_owned()?)
        .spawn()?;
    Ok(Pid::from_child(&child))
}

/// Reaps all processes that have ended; returns the exit code of `child` if it is among them.
fn reap(child: Pid) -> Option<i32> {
    let mut code = None;
    while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
        if pid == child {
            code = status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal));
        }
    }
    code
}

/// Kills all descendants, until none is left.
fn kill_all() {
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Err(_) => return, // No child is left, hence no descendant: orphans become our children.
            Ok(Some(_)) => continue,
            Ok(None) => {}
        }
        signal_all(Signal::KILL);
        std::thread::sleep(Duration::from_micros(500));
    }
}

fn signal_all(signal: Signal) {
    for pid in descendants() {
        let _ = kill_process(pid, signal);
    }
}

/// Every process below this one.
fn descendants() -> Vec<Pid> {
    let parents = parents();
    let mut found = vec![std::process::id() as i32];
    let mut next = 0;
    while next < found.len() {
        let parent = found[next];
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    found.into_iter().skip(1).filter_map(Pid::from_raw).collect()
}

/// The pid and parent pid of every process on the machine.
fn parents() -> Vec<(i32, i32)> {
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    processes
        .filter_map(|process| {
            let process = process.ok()?;
            let pid = process.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(process.path().join("stat")).ok()?;
            // The name, in parentheses, may contain anything; state and parent follow the last `)`.
            let parent = stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()?;
            Some((pid, parent))
        })
        .collect()
}

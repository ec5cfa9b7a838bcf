//! A small process between the engine and an external program that lets nothing outlive either.
//!
//! A death signal reaches one process, not what that process started, and a process group can be left
//! with `setsid`. The warden is a subreaper: whatever its program starts, and whatever that starts,
//! stays below it. When the program ends, when the engine dies, or when the engine says so, it kills
//! all that is left. It is this same executable, started again, because `prctl` must be called inside
//! the new process and the standard library offers no safe way to do that between fork and exec.
//!
//! | signal | from | what it does |
//! |---|---|---|
//! | SIGUSR1 | the kernel, when the engine died | kills everything now |
//! | SIGTERM | the engine | passes it on, kills everything after the grace period; a second one: now |

use rustix::process::{
    Pid, Signal, WaitOptions, kill_process, set_child_subreaper, set_parent_process_death_signal,
};
use signal_hook::consts::{SIGCHLD, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// The first argument that makes this executable a warden.
pub const ARGUMENT: &str = "warden";
/// How long a program that was asked to stop may take.
const GRACE: Duration = Duration::from_secs(3);
const TICK: Duration = Duration::from_millis(10);
/// As a shell says "could not be started".
const NOT_STARTED: i32 = 127;

/// The command that runs `program` under a warden of the calling process.
pub fn command(program: &str) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("pipeline").arg(ARGUMENT).arg(std::process::id().to_string()).arg(program).process_group(0);
    command
}

/// Asks the program under a warden to stop; asked twice, it is killed at once.
pub fn stop(warden: &Child) {
    // The only refusal possible is that it is gone, which is what was wanted.
    let _ = kill_process(Pid::from_child(warden), Signal::TERM);
}

/// Runs `arguments` (the engine's process id, the program, its arguments); returns its exit code.
pub fn main(arguments: &[OsString]) -> i32 {
    let [engine, program, rest @ ..] = arguments else { return NOT_STARTED };
    match guard(engine, program, rest) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("starting {}: {error}", program.display());
            NOT_STARTED
        }
    }
}

fn guard(engine: &OsString, program: &OsString, arguments: &[OsString]) -> std::io::Result<i32> {
    let mut signals = Signals::new([SIGCHLD, SIGTERM, SIGINT, SIGUSR1])?;
    set_child_subreaper(Some(rustix::process::getpid()))?; // Any process id turns it on.
    set_parent_process_death_signal(Some(Signal::USR1))?;
    let parent = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().to_string());
    if parent.as_deref() != engine.to_str() {
        return Ok(NOT_STARTED); // The engine died before its death signal was asked for.
    }
    let child = Command::new(program).args(arguments).spawn()?;
    let child = Pid::from_child(&child);
    let mut deadline: Option<Instant> = None;
    let mut code = None;
    loop {
        let arrived: Vec<i32> = match deadline {
            None => signals.wait().collect(),
            Some(_) => {
                std::thread::sleep(TICK);
                signals.pending().collect()
            }
        };
        let mut now = false;
        for signal in arrived {
            match signal {
                SIGCHLD => {}
                SIGUSR1 => now = true,
                _ if deadline.is_some() => now = true,
                _ => {
                    deadline = Some(Instant::now() + GRACE);
                    signal_all(Signal::TERM);
                }
            }
        }
        code = reap(child).or(code);
        if let Some(code) = code {
            kill_all();
            return Ok(code);
        }
        if now || deadline.is_some_and(|at| Instant::now() >= at) {
            kill_all();
            return Ok(128 + Signal::KILL.as_raw());
        }
    }
}

/// Collects every process that ended; returns the exit code of `child` if it is among them.
fn reap(child: Pid) -> Option<i32> {
    let mut code = None;
    while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
        if pid == child {
            code = status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal));
        }
    }
    code
}

/// Kills until nothing is left below this process.
fn kill_all() {
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Err(_) => return, // No child is left, so no descendant is: orphans become our children.
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

/// Each process on this machine beside its parent.
fn parents() -> Vec<(i32, i32)> {
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    processes
        .filter_map(|process| {
            let process = process.ok()?;
            let pid = process.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(process.path().join("stat")).ok()?;
            // The name, in brackets, may hold anything; state and parent follow the last one.
            let parent = stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()?;
            Some((pid, parent))
        })
        .collect()
}

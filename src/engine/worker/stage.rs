//! Runs a stage on the calling thread and keeps its output. Knows neither the graph nor the cache.

use contract::disk::{self, fault};
use contract::stage::{Io, Refusal, Report, Stage, Stopped};
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How many of the last lines of output a failure shows.
const TAIL_LINES: usize = 12;
const TAIL_LINE_CHARACTERS: usize = 400;
/// The minimum interval between notes or progress reports; a redraw more often is not worth it.
const THROTTLE: Duration = Duration::from_millis(50);

/// Why a step did not succeed.
#[derive(Debug)]
pub enum Failure {
    /// It was told to stop, and did.
    Stopped(Stopped),
    /// The machine lacks something that it needs.
    Refused(Refusal),
    /// It failed.
    Failed {
        /// The error with its chain of causes.
        why: String,
        /// The last lines of its output.
        tail: Vec<String>,
        /// Where all of its output is, if there was any.
        log: Option<PathBuf>,
    },
}

/// Runs `stage`. The listener of `io` is replaced: output goes to the file `log`, which is created with the
/// first output; everything else goes to `tell`.
pub fn run(
    stage: &dyn Stage,
    mut io: Io,
    crews: &Crews,
    log: PathBuf,
    tell: impl Fn(Report) + Send + Sync + 'static,
) -> Result<(), Failure> {
    let output = Arc::new(Mutex::new(Output::to(log)));
    let heard = Arc::clone(&output);
    io.listener = Box::new(move |report| {
        let mut output = heard.lock().unwrap_or_else(PoisonError::into_inner);
        match report {
            Report::Log(bytes) => {
                output.take(&bytes);
                if output.noted.is_time()
                    && let Some(line) = output.tail.back()
                {
                    tell(Report::Note(line.clone()));
                }
            }
            Report::Note(_) if !output.noted.is_time() => {}
            Report::Progress { .. } if !output.progressed.is_time() => {}
            report => tell(report),
        }
    });
    let result = match stage.only_waits() {
        true => catch_unwind(AssertUnwindSafe(|| stage.run(&io))),
        false => crews.run(io.cpus, || stage.run(&io)),
    };
    drop(io);
    let mut output = output.lock().unwrap_or_else(PoisonError::into_inner);
    let refused = output.close().err();
    let why = match result {
        Ok(Ok(())) => match refused {
            None => return Ok(()),
            Some(fault) => fault.to_string(),
        },
        Ok(Err(error)) => {
            if let Some(stopped) = error.downcast_ref::<Stopped>() {
                return Err(Failure::Stopped(*stopped));
            }
            if let Some(refusal) = error.downcast_ref::<Refusal>() {
                return Err(Failure::Refused(refusal.clone()));
            }
            format!("{error:#}")
        }
        Err(panic) => format!("the stage panicked: {}", panic_text(&*panic)),
    };
    let log = output.path.exists().then(|| output.path.clone());
    Err(Failure::Failed { why, tail: output.last_lines(), log })
}

/// Idle thread pools for parallel loops; clones share them. Starting threads costs more than a short step, so
/// a pool is reused by one step after another.
#[derive(Debug, Clone, Default)]
pub struct Crews(Arc<Mutex<Vec<ThreadPool>>>);

impl Crews {
    /// Runs a stage inside a pool with exactly as many threads as the step was given.
    fn run(
        &self,
        count: usize,
        run: impl FnOnce() -> anyhow::Result<()> + Send,
    ) -> std::thread::Result<anyhow::Result<()>> {
        let idle = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fitting = |idle: &mut Vec<ThreadPool>| {
            let place = idle.iter().position(|crew| crew.current_num_threads() == count)?;
            Some(idle.swap_remove(place))
        };
        let kept = fitting(&mut idle());
        let crew = match kept.map_or_else(|| ThreadPoolBuilder::new().num_threads(count).build(), Ok) {
            Ok(crew) => crew,
            Err(error) => return Ok(Err(error.into())),
        };
        let result = catch_unwind(AssertUnwindSafe(|| crew.install(run)));
        idle().push(crew);
        result
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

/// The output of an external program: all of it in a file, the last lines in memory.
struct Output {
    path: PathBuf,
    file: Option<File>,
    /// The first error while writing the file.
    refused: Option<disk::Fault>,
    tail: VecDeque<String>,
    /// The last line, while it is incomplete.
    partial: Vec<u8>,
    noted: Told,
    progressed: Told,
}

/// When something was last reported.
#[derive(Default)]
struct Told(Option<Instant>);

impl Told {
    /// Whether to report again now; if so, the time is reset.
    fn is_time(&mut self) -> bool {
        let time = self.0.is_none_or(|told| told.elapsed() >= THROTTLE);
        if time {
            self.0 = Some(Instant::now());
        }
        time
    }
}

impl Output {
    fn to(path: PathBuf) -> Output {
        Output {
            path,
            file: None,
            refused: None,
            tail: VecDeque::new(),
            partial: Vec::new(),
            noted: Told::default(),
            progressed: Told::default(),
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        if self.refused.is_none() {
            self.refused = self.write(bytes).err();
        }
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            // Bounded, because a program may never end its line.
            let room = (4 * TAIL_LINE_CHARACTERS).saturating_sub(self.partial.len());
            self.partial.extend_from_slice(&piece[..piece.len().min(room)]);
            if piece.ends_with(b"\n") {
                self.end_line();
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> disk::Result<()> {
        if self.file.is_none() {
            if let Some(folder) = self.path.parent() {
                disk::create_folders(folder)?;
            }
            let opened = File::options().append(true).create(true).open(&self.path);
            self.file = Some(opened.map_err(|error| fault("creating", &self.path, error))?);
        }
        let file = self.file.as_mut().expect("it was just opened");
        file.write_all(bytes).map_err(|error| fault("writing", &self.path, error))
    }

    fn end_line(&mut self) {
        let line = String::from_utf8_lossy(&self.partial);
        // Of a line that a progress bar redrew, keep only the last state.
        let line = line.trim_end_matches(['\n', '\r']).rsplit('\r').next().unwrap_or_default();
        // A program's control characters must not reach the terminal.
        let line: String =
            line.chars().filter(|c| !c.is_control() || *c == '\t').take(TAIL_LINE_CHARACTERS).collect();
        self.partial.clear();
        if !line.trim().is_empty() {
            self.tail.push_back(line);
        }
        if self.tail.len() > TAIL_LINES {
            self.tail.pop_front();
        }
    }

    fn last_lines(&mut self) -> Vec<String> {
        self.end_line();
        self.tail.iter().cloned().collect()
    }

    fn close(&mut self) -> disk::Result<()> {
        let closed = self.file.take().map_or(Ok(()), |file| disk::close(file, &self.path));
        self.refused.take().map_or(closed, Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_what_a_person_would_have_seen_last() {
        let folder = tempfile::tempdir().unwrap();
        let mut output = Output::to(folder.path().join("logs/step.log"));
        output.take(b"one\n10 %\r50 %\r100 %\n\n\x1b[31mred\x1b[0m\nlast without an end");
        assert_eq!(output.last_lines(), ["one", "100 %", "[31mred[0m", "last without an end"]);
        output.close().unwrap();
        let all = std::fs::read(folder.path().join("logs/step.log")).unwrap();
        assert!(all.ends_with(b"last without an end"), "the file holds every byte");
    }

    #[test]
    fn a_line_without_end_takes_no_memory() {
        let folder = tempfile::tempdir().unwrap();
        let mut output = Output::to(folder.path().join("log"));
        for _ in 0..100 {
            output.take(&[b'x'; 100_000]);
        }
        assert!(output.partial.len() <= 4 * TAIL_LINE_CHARACTERS);
    }
}

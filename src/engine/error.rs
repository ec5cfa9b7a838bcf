//! Whose fault it is, where, and what to do.

use crate::complaint::Complaint;
use crate::text;
use std::path::PathBuf;

/// Everything that ends a command early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The pipeline file cannot be used.
    #[error("{0}")]
    Pipeline(Box<Complaint>),
    /// The command line, or something else that the user gave, cannot be used.
    #[error("{0}")]
    Usage(String),
    /// A stage failed; the console has said which and why.
    #[error("{} failed", text::count(*.failed, "step"))]
    Stage {
        /// How many.
        failed: usize,
    },
    /// The machine refused something.
    #[error("{0}")]
    Machine(#[from] contract::disk::Fault),
    /// The cache was written by a newer version.
    #[error(
        "{path}: the cache has format {found}, this program reads format {expected}; use the newer program, or another --cache"
    )]
    Newer {
        /// The file that says so.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// Ours.
        expected: u32,
    },
    /// The machine lacks something, or failed in a way that names no file.
    #[error("{0}")]
    Device(String),
    /// Whoever read standard output has gone; not an error of anybody's.
    #[error("nobody reads standard output")]
    NobodyReads,
    /// A signal ended the run.
    #[error("stopped by {}", signal_name(*.0))]
    Signal(i32),
}

/// The result of anything that can end a command.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// 0 nothing to complain of, 1 a stage, 2 the user's input, 3 the machine, 128 + n a signal.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Stage { .. } => 1,
            Error::Pipeline(_) | Error::Usage(_) => 2,
            Error::Machine(_) | Error::Newer { .. } | Error::Device(_) => 3,
            Error::NobodyReads => 0,
            Error::Signal(number) => 128u8.saturating_add(*number as u8),
        }
    }
}

impl From<Complaint> for Error {
    fn from(complaint: Complaint) -> Error {
        Error::Pipeline(Box::new(complaint))
    }
}

fn signal_name(number: i32) -> &'static str {
    match number {
        2 => "SIGINT",
        15 => "SIGTERM",
        _ => "a signal",
    }
}

//! The engine's errors: who is at fault, where, and what to do.

use crate::complaint::Complaint;
use crate::text;
use std::path::PathBuf;

/// Every error that can end a command.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The pipeline file cannot be used.
    #[error("{0}")]
    Pipeline(Box<Complaint>),
    /// The command line, or some other input from the user, cannot be used.
    #[error("{0}")]
    Usage(String),
    /// Steps failed; the console has already reported which and why.
    #[error("{} failed", text::count(*.failed, "step"))]
    Stage {
        /// The number of failed steps.
        failed: usize,
    },
    /// A file operation failed.
    #[error("{0}")]
    Machine(#[from] contract::disk::Fault),
    /// The cache was written by a newer version.
    #[error(
        "{path}: the cache has format {found}, this program reads format {expected}; use the newer program, or another --cache"
    )]
    Newer {
        /// The file with the newer format.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format this program reads.
        expected: u32,
    },
    /// The machine lacks something, or failed in a way that names no file.
    #[error("{0}")]
    Device(String),
    /// The reader of standard output has closed it (broken pipe). Not treated as a failure of anyone.
    #[error("nobody reads standard output")]
    NobodyReads,
    /// A signal ended the run.
    #[error("stopped by {}", signal_name(*.0))]
    Signal(i32),
}

/// The result of anything that can end a command.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// 0: no fault; 1: a stage; 2: the user's input; 3: the machine; 128 + n: signal n.
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

//! `completions`: what a shell needs to complete the command line.

use crate::error::Result;
use crate::output;
use clap::Args;
use clap_complete::Shell;

/// Print what a shell needs to complete the command line
#[derive(Args)]
pub struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub fn run(self) -> Result<u8> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut super::command(), "pipeline", &mut script);
        output::write(&String::from_utf8_lossy(&script))?;
        Ok(0)
    }
}

//! `completions`: prints completion scripts for shells.

use clap::Args;
use clap_complete::Shell;
use engine::error::Result;
use results::output;
use serde_json::json;

/// Print a completion script for a shell
#[derive(Args)]
pub struct Completions {
    /// The shell
    shell: Shell,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Completions {
    pub fn run(self) -> Result<u8> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut super::command(), "pipeline", &mut script);
        let script = String::from_utf8_lossy(&script);
        match self.json {
            true => output::write_json(&json!({"shell": self.shell.to_string(), "script": script}))?,
            false => output::write(&script)?,
        }
        Ok(0)
    }
}

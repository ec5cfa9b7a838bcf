//! `man`: prints or writes the manual pages.

use clap::Args;
use contract::disk::fault;
use engine::error::Result;
use results::output;
use serde_json::json;
use std::path::PathBuf;

/// Print the manual page, or write a page for each command
#[derive(Args)]
pub struct Man {
    /// Write `pipeline.1`, `pipeline-run.1` and the others into this folder
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Man {
    pub fn run(self) -> Result<u8> {
        let command = super::command();
        let mut page = Vec::new();
        match &self.dir {
            Some(folder) => {
                clap_mangen::generate_to(command, folder)
                    .map_err(|error| fault("writing pages to", folder, error))?;
            }
            None => clap_mangen::Man::new(command).render(&mut page).expect("memory takes every byte"),
        }
        let page = String::from_utf8_lossy(&page);
        match self.json {
            true => output::write_json(&json!({"folder": self.dir, "page": page}))?,
            false => output::write(&page)?,
        }
        Ok(0)
    }
}

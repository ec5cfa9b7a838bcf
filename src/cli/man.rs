//! `man`: the manual pages.

use crate::error::Result;
use crate::output;
use clap::Args;
use stages::disk::fault;
use std::path::PathBuf;

/// Print the manual page, or write a page for each command
#[derive(Args)]
pub struct Man {
    /// Write `pipeline.1`, `pipeline-run.1` and the others into this folder
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Man {
    pub fn run(self) -> Result<u8> {
        let command = super::command();
        match self.dir {
            Some(folder) => {
                clap_mangen::generate_to(command, &folder)
                    .map_err(|error| fault("writing pages to", &folder, error))?;
            }
            None => {
                let mut page = Vec::new();
                let rendered = clap_mangen::Man::new(command).render(&mut page);
                rendered.expect("memory takes every byte");
                output::write(&String::from_utf8_lossy(&page))?;
            }
        }
        Ok(0)
    }
}

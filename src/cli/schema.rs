//! `schema`: the JSON Schema of pipeline files, for editors.

use crate::error::Result;
use crate::{output, spec};
use clap::Args;
use stages::stage::Kind;

/// Print the JSON Schema of pipeline files, for editors
#[derive(Args)]
pub struct Schema {
    /// Print JSON, which is what a schema is
    #[arg(long)]
    json: bool,
}

impl Schema {
    pub fn run(self, kinds: &[Kind]) -> Result<u8> {
        let Schema { json: _ } = self;
        output::write_json(&spec::schema(kinds))?;
        Ok(0)
    }
}

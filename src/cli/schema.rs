//! `schema`: prints the JSON Schema of pipeline files, for editors.

use clap::Args;
use contract::stage::Kind;
use engine::error::Result;
use engine::spec;
use results::output;

/// Print the JSON Schema of pipeline files, for editors
#[derive(Args)]
pub struct Schema {
    /// Print JSON, which a schema always is
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

//! `merge`: combines the tokens of several data sets.

use anyhow::{Result, bail};
use contract::code;
use contract::stage::{At, Io, Kind, Mistake, Slots, Stage, Wires, always};
use data::tokens::{self, About, TokenReader, TokenWriter};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The kind itself.
pub const KIND: Kind = Kind::of::<Merge>(
    "merge",
    "the tokens of several data sets, made for one vocabulary, as one; cells are named after their input",
    Slots::Each(tokens::ARTIFACT),
    code!(),
)
.makes(&[always(tokens::FILE), always(tokens::ABOUT), always(tokens::VOCABULARY)]);

/// Concatenates the cells of all inputs, in the order of the inputs' names.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Merge {}

impl Stage for Merge {
    fn check(&self, wires: Wires<'_>) -> Result<(), Mistake> {
        match wires.is_empty() {
            true => Err(Mistake {
                at: At::Wires,
                message: "there is nothing to merge; give it inputs".to_owned(),
            }),
            false => Ok(()),
        }
    }

    fn run(&self, io: &Io) -> Result<()> {
        let mut first: Option<(About, Vec<String>, &str)> = None;
        let mut writer = TokenWriter::create(&io.out(tokens::FILE))?;
        for (slot, folder) in &io.inputs {
            let (about, vocabulary) = About::read(folder)?;
            match &first {
                Some((of_first, names, name)) if (about, &vocabulary) != (*of_first, names) => {
                    bail!(
                        "the inputs `{name}` and `{slot}` have other tokens or genes; give both `tokenise` stages the same \
                         params and the same `vocabulary`"
                    )
                }
                Some(_) => {}
                None => first = Some((about, vocabulary, slot)),
            }
            for batch in TokenReader::open(folder, about)? {
                io.check_stop()?;
                for (id, genes, tokens) in batch?.cells() {
                    writer.push(&format!("{slot}/{id}"), genes, tokens)?;
                }
            }
        }
        writer.finish()?;
        let Some((about, vocabulary, _)) = first else { bail!("there is nothing to merge; give it inputs") };
        about.write(&io.out, &vocabulary)
    }
}

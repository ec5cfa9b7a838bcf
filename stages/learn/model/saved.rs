//! A model as an artifact: `config.json`, `model.safetensors`, and the vocabulary that its positions stand for.
//!
//! The first two follow the layout of Hugging Face's libraries, with the original's PyTorch names.

use super::parameters;
use super::performer::{Config, Performer, Tables};
use super::weights;
use anyhow::{Context, Result, ensure};
use contract::disk;
use contract::stage::Takes;
use data::genes;
use data::tokens::{About, VOCABULARY, Zeros};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use tensor::Device;

/// The model's configuration in an artifact.
pub const CONFIG: &str = "config.json";

/// The folder for a transformer inside the artifact of a model that it was trained together with.
pub const FOLDER: &str = "transformer";
/// The artifacts that a slot for a model accepts: a model, or an artifact with a model in `transformer`.
pub const ARTIFACT: Takes = Takes::OneOf(&[&[CONFIG, weights::FILE, VOCABULARY], &[FOLDER]]);

const MODEL_TYPE: &str = "performer";

/// The contents of `config.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Card {
    /// Tells other programs what kind of model this is.
    model_type: String,
    /// The highest token of a gene; the mask token is the next one.
    pub bins: u8,
    /// The number of tokens and of positions.
    #[serde(flatten)]
    tables: Tables,
    /// The sizes.
    pub performer: Config,
    /// How the weights were made, oldest step first.
    pub history: Vec<String>,
    /// The licence that applies to the weights, if known.
    pub license: Option<String>,
}

/// A model with everything needed to use it.
pub struct Saved {
    /// Its configuration and history.
    pub card: Card,
    /// The genes of all positions but the last.
    pub vocabulary: Vec<String>,
    /// The weights.
    pub model: Performer,
}

/// The folder of an artifact that holds the model.
pub fn locate(artifact: &Path) -> PathBuf {
    let below = artifact.join(FOLDER);
    if below.is_dir() { below } else { artifact.to_owned() }
}

impl Saved {
    /// An untrained model.
    pub fn new(device: &Device, config: Config, about: About, vocabulary: Vec<String>, seed: u64) -> Saved {
        let tables = Tables { tokens: about.classes, positions: about.genes + 1 };
        let model = Performer::new(device, config.clone(), tables, seed);
        let card = Card {
            model_type: MODEL_TYPE.to_owned(),
            bins: about.bins,
            tables,
            performer: config,
            history: Vec::new(),
            license: None,
        };
        Saved { card, vocabulary, model }
    }

    /// Writes the artifact.
    pub fn write(&mut self, folder: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(&self.card)?;
        disk::write(&folder.join(CONFIG), format!("{text}\n").as_bytes())?;
        weights::write(&folder.join(weights::FILE), &weights::of_tensors(self.model.tensors()))?;
        genes::write(&folder.join(VOCABULARY), &self.vocabulary)
    }

    /// Reads an artifact.
    pub fn read(device: &Device, artifact: &Path) -> Result<Saved> {
        let folder = locate(artifact);
        let vocabulary = genes::read(&folder.join(VOCABULARY))?;
        Saved::read_with(device, &folder, vocabulary)
    }

    /// Reads a folder whose vocabulary was read elsewhere.
    pub fn read_with(device: &Device, folder: &Path, vocabulary: Vec<String>) -> Result<Saved> {
        let path = folder.join(CONFIG);
        let card: Card = serde_json::from_slice(&disk::read(&path)?)
            .with_context(|| format!("reading {}", path.display()))?;
        card.performer.check().with_context(|| format!("reading {}", path.display()))?;
        let about = About::new(card.bins.min(u8::MAX - 1), vocabulary.len(), Zeros::Keep);
        let fits = card.tables == Tables { tokens: about.classes, positions: about.genes + 1 };
        ensure!(
            fits,
            "{}: its tables do not fit the {} genes of its vocabulary",
            path.display(),
            about.genes
        );
        let path = folder.join(weights::FILE);
        let mut arrays = weights::read(&path)?;
        let mut model = Performer::new(device, card.performer.clone(), card.tables, 0);
        parameters::load(model.tensors(), |name| {
            arrays.remove(name).map(|array| (array.shape, array.values))
        })
        .with_context(|| format!("reading {}", path.display()))?;
        Ok(Saved { card, vocabulary, model })
    }

    /// Rejects tokens that were made with another vocabulary or other bins.
    pub fn check(&self, about: About, vocabulary: &[String]) -> Result<()> {
        let model = &self.vocabulary;
        ensure!(
            model == vocabulary,
            "the model knows {} genes and the tokens are of {}, not the same in the same order; give `tokenise` the model \
             in its input `vocabulary`",
            model.len(),
            vocabulary.len()
        );
        ensure!(
            self.card.bins == about.bins,
            "the model knows {} bins and the tokens have {}; tokenise with `bins: {}`",
            self.card.bins,
            about.bins,
            self.card.bins
        );
        Ok(())
    }
}

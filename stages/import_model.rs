//! `import-model`: imports weights that were trained elsewhere.

use anyhow::{Context, Result, bail, ensure};
use contract::bounds::not_blank;
use contract::code;
use contract::stage::{Io, Kind, Mistake, Slot, Slots, Stage, Takes, Wires, sometimes};
use data::embeddings::{self, Embeddings};
use data::formats::{self, npy};
use data::genes;
use data::tokens::{About, VOCABULARY, Zeros};
use learn::model::classifier::{self, Classifier};
use learn::model::parameters;
use learn::model::performer::Config;
use learn::model::saved::{CONFIG, Saved};
use learn::model::torch;
use learn::model::weights::{self, Array, Arrays};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::Path;
use tensor::Device;
use tensor::ops::favor::Stabiliser;

/// The kind itself.
pub const KIND: Kind = Kind::of::<ImportModel>(
    "import-model",
    "weights from elsewhere: scBERT's `.pth`, safetensors, or gene2vec's `.npy`; nothing in them is executed",
    Slots::Named(&[
        Slot {
            name: "weights",
            about: "a file `.pth`, `.safetensors` or `.npy`, or a folder that `export` wrote",
            required: true, takes: WEIGHTS
        },
        Slot {
            name: "vocabulary",
            about: "the genes of the model in its order, one a line; a folder has its own",
            required: false, takes: Takes::OneOf(&[&[VOCABULARY]])
        },
        Slot {
            name: "types",
            about: "the types that a model tells apart in its order, one a line; they are numbered without it",
            required: false, takes: Takes::File
        },
    ]),
    code!(),
)
.makes(&[
    sometimes(CONFIG),
    sometimes(weights::FILE),
    sometimes(VOCABULARY),
    sometimes(classifier::FILE),
    sometimes(embeddings::FILE),
]);

/// The licence of scBERT's weights, which also covers everything derived from them.
const GPL: &str = "GPL-3.0";

/// A folder written by `export`, or a model's artifact.
const WEIGHTS: Takes =
    Takes::OneOf(&[&[CONFIG, weights::FILE, "vocab.txt"], &[CONFIG, weights::FILE, VOCABULARY]]);
/// Extensions of weight files.
const FILES: [&str; 5] = ["npy", "safetensors", "pth", "pt", "bin"];

/// Imports weights. The model's sizes follow from their shapes.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct ImportModel {
    /// The range of the keys' stabiliser: `batch` is scBERT's, `row` makes a cell's vectors independent of its batch.
    stabiliser: Stabiliser,
    /// The licence of the weights. By default that of scBERT's weights if the file is a `.pth`.
    #[serde(skip_serializing_if = "Option::is_none")]
    license: Option<String>,
}

impl Default for ImportModel {
    fn default() -> ImportModel {
        ImportModel { stabiliser: Stabiliser::Row, license: None }
    }
}

impl Stage for ImportModel {
    fn check(&self, wires: Wires<'_>) -> Result<(), Mistake> {
        if let Some(license) = &self.license {
            not_blank("license", license)?;
        }
        // A folder may have any name and contains its own vocabulary.
        let is_file =
            wires.file("weights").map(Path::new).and_then(Path::extension).is_some_and(|extension| {
                extension.to_str().is_some_and(|extension| FILES.contains(&extension))
            });
        if is_file && !wires.has("vocabulary") {
            let message = "the weights do not name their genes; list them in the input `vocabulary`";
            return Err(Mistake::slot("vocabulary", message));
        }
        Ok(())
    }

    fn run(&self, io: &Io) -> Result<()> {
        let path = io.input("weights")?;
        if path.is_dir() {
            return self.folder(path, io);
        }
        let vocabulary = vocabulary(io)?;
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("npy") => positions(path, vocabulary, io),
            Some("safetensors") => {
                self.model(weights::read(path)?, vocabulary, self.license.clone(), path, io)
            }
            Some("pth" | "pt" | "bin") => {
                let license = self.license.clone().unwrap_or_else(|| {
                    io.warn(format!(
                        "scBERT's weights are under {GPL}, and so is what is made of them; if these are others, say so with `license`"
                    ));
                    GPL.to_owned()
                });
                self.model(torch::read(path)?, vocabulary, Some(license), path, io)
            }
            _ => bail!("{}: its name does not end in .pth, .safetensors or .npy", path.display()),
        }
    }
}

fn vocabulary(io: &Io) -> Result<Vec<String>> {
    match io.optional_input("vocabulary") {
        Some(folder) if folder.is_dir() => genes::read(&folder.join(VOCABULARY)),
        Some(file) => formats::read_list(file),
        None => bail!("the weights do not name their genes; list them in the input `vocabulary`"),
    }
}

/// The names of the types that a head predicts.
fn type_names(count: usize, io: &Io) -> Result<Vec<String>> {
    match io.optional_input("types") {
        Some(file) => formats::read_list(file),
        None => {
            io.warn("nothing names the types that the weights tell apart: they are numbered; see the input `types`");
            Ok((0..count).map(|number| number.to_string()).collect())
        }
    }
}

/// Imports `gene2vec`'s table, which has a row for each gene.
fn positions(path: &Path, names: Vec<String>, io: &Io) -> Result<()> {
    let array = npy::read(path)?;
    let [rows, dimensions] = array.shape[..] else {
        bail!("{}: has the shape {:?}; a table of genes has two axes", path.display(), array.shape)
    };
    ensure!(
        rows == names.len(),
        "{}: has {rows} rows and the vocabulary {} genes",
        path.display(),
        names.len()
    );
    let values = array.floats();
    ensure!(values.iter().all(|value| value.is_finite()), "{}: holds what is no number", path.display());
    Embeddings { names, dimensions, values }.write(&io.out(embeddings::FILE))
}

impl ImportModel {
    /// Imports a folder written by `export`.
    fn folder(&self, folder: &Path, io: &Io) -> Result<()> {
        let list = folder.join("vocab.txt");
        let vocabulary = match io.optional_input("vocabulary") {
            Some(_) => vocabulary(io)?,
            None if list.exists() => formats::read_list(&list)?,
            None => genes::read(&folder.join(VOCABULARY))?,
        };
        let mut saved = Saved::read_with(&Device::cpu(), folder, vocabulary)
            .with_context(|| format!("{}: no folder with `{CONFIG}` and weights", folder.display()))?;
        if self.license.is_some() {
            saved.card.license.clone_from(&self.license);
        }
        if let Some((mut head, types)) = Classifier::read(&Device::cpu(), folder)? {
            head.check(&saved.model).with_context(|| format!("reading {}", folder.display()))?;
            head.write(&io.out, &types)?;
        }
        saved.write(&io.out)
    }

    fn model(
        &self,
        mut arrays: Arrays,
        vocabulary: Vec<String>,
        license: Option<String>,
        path: &Path,
        io: &Io,
    ) -> Result<()> {
        let (config, about) =
            self.sizes(&arrays, vocabulary.len()).with_context(|| format!("reading {}", path.display()))?;
        let mut saved = Saved::new(&Device::cpu(), config, about, vocabulary, 0);
        let mut fresh = Vec::new();
        for named in saved.model.tensors() {
            let name = named.name.clone();
            match arrays.remove(&name) {
                Some(array) => {
                    parameters::load(vec![named], |_| Some((array.shape.clone(), array.values.clone())))
                        .with_context(|| format!("reading {}", path.display()))?;
                }
                // A fine-tuning checkpoint has another head.
                None if name.starts_with("to_out.") => fresh.push(name),
                None => bail!("{}: the weights lack `{name}`", path.display()),
            }
        }
        if let Some(mut head) = Classifier::take(&Device::cpu(), &mut arrays)
            .with_context(|| format!("reading {}", path.display()))?
        {
            head.check(&saved.model).with_context(|| format!("reading {}", path.display()))?;
            head.write(&io.out, &type_names(head.sizes().classes, io)?)?;
        }
        if !fresh.is_empty() {
            io.warn(format!("the weights lack {}, which guess hidden genes and start anew", list(&fresh)));
        }
        // A counter of the original, not needed here.
        arrays.retain(|name, _| !name.ends_with("calls_since_last_redraw"));
        if !arrays.is_empty() {
            let names: Vec<String> = arrays.into_keys().collect();
            io.warn(format!("the model has no place for {}", list(&names)));
        }
        let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        saved.card.history.push(format!("imported from {file}"));
        saved.card.license = license;
        saved.write(&io.out)
    }

    /// Derives the sizes of a model from the shapes of its weights.
    fn sizes(&self, arrays: &Arrays, genes: usize) -> Result<(Config, About)> {
        let shape = |name: &str| -> Result<(usize, usize)> {
            match arrays.get(name).map(|Array { shape, .. }| &shape[..]) {
                Some([rows, columns]) => Ok((*rows, *columns)),
                Some(shape) => bail!("`{name}` has the shape {shape:?}, expected two axes"),
                None => bail!("the weights lack `{name}`: no Performer as scBERT has it"),
            }
        };
        let layer = |index: usize, name: &str| format!("performer.net.layers.{index}.{name}");
        let (tokens, width) = shape("token_emb.weight")?;
        let (positions, _) = shape("pos_emb.emb.weight")?;
        let depth = (0..).take_while(|index| arrays.contains_key(&layer(*index, "0.fn.to_q.weight"))).count();
        let (features, head_width) = shape(&layer(0, "0.fn.fast_attention.projection_matrix"))?;
        let (inner, _) = shape(&layer(0, "0.fn.to_q.weight"))?;
        let (feed, _) = shape(&layer(0, "1.fn.fn.w1.weight"))?;
        ensure!(
            positions == genes + 1,
            "the weights are of {} genes and the vocabulary has {genes}",
            positions.saturating_sub(1)
        );
        let whole = |of: usize, by: usize| of.checked_div(by).filter(|share| share * by == of && *share > 0);
        let config = Config {
            width,
            depth,
            heads: whole(inner, head_width).context("the heads do not share the queries evenly")?,
            head_width,
            features: Some(features),
            feed_factor: whole(feed, width).context("the feed-forward layer is no multiple of the width")?,
            cell_width: None,
            train_positions: false,
            stabiliser: self.stabiliser,
        };
        config.check()?;
        let bins = tokens
            .checked_sub(2)
            .and_then(|bins| u8::try_from(bins).ok())
            .filter(|bins| (1..=60).contains(bins));
        let bins =
            bins.with_context(|| format!("the weights are of {tokens} tokens; a model has 3 to 62"))?;
        Ok((config, About::new(bins, genes, Zeros::Keep)))
    }
}

/// The first few of a list of names.
fn list(names: &[String]) -> String {
    let shown: Vec<String> = names.iter().take(3).map(|name| format!("`{name}`")).collect();
    match names.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

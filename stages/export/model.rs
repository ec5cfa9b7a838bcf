//! Exports a model as a repository for Hugging Face's hub.

use anyhow::Result;
use contract::disk;
use contract::stage::Io;
use learn::model::saved::{self, CONFIG, Card, Saved};
use learn::model::{classifier, weights};
use std::fmt::Write;
use tensor::Device;

/// Writes the four files, and the cell type head if there is one.
pub fn huggingface(io: &Io) -> Result<()> {
    let folder = saved::locate(io.input("model")?);
    // Read in full, so that a damaged model is not exported.
    let saved = Saved::read(&Device::cpu(), &folder)?;
    for file in [CONFIG, weights::FILE] {
        disk::write(&io.out(file), &disk::read(&folder.join(file))?)?;
    }
    if folder.join(classifier::FILE).exists() {
        disk::write(&io.out(classifier::FILE), &disk::read(&folder.join(classifier::FILE))?)?;
    }
    let mut names = saved.vocabulary.join("\n");
    names.push('\n');
    disk::write(&io.out("vocab.txt"), names.as_bytes())?;
    Ok(disk::write(&io.out("README.md"), card(&saved)?.as_bytes())?)
}

/// The model card: what the model is, how it was made, and its licence.
fn card(saved: &Saved) -> Result<String> {
    let Card { bins, performer, history, license, .. } = &saved.card;
    let mut text = String::from("---\nlibrary_name: safetensors\n");
    if let Some(license) = license {
        writeln!(text, "license: {}", license.to_lowercase())?;
    }
    text.push_str("tags: [single-cell, gene-expression, performer]\n---\n\n# Performer over genes\n\n");
    writeln!(
        text,
        "A transformer over all genes of a cell, with the linear attention FAVOR+ (Choromanski et al. 2021), as scBERT has it (Yang et \
         al. 2022). It guesses the expression bins of hidden genes; its encodings of genes are vectors for other models.\n"
    )?;
    writeln!(text, "| | |\n|---|---|\n| genes | {} |", saved.vocabulary.len())?;
    writeln!(text, "| tokens | 0 to {bins} for expression, {} hides a gene |", bins + 1)?;
    writeln!(text, "| width, depth | {}, {} |", performer.width, performer.depth)?;
    writeln!(
        text,
        "| heads | {} of {}, {} random features |",
        performer.heads,
        performer.head_width,
        performer.features()
    )?;
    writeln!(text, "\n## How it came to be\n")?;
    for event in history {
        writeln!(text, "- {event}")?;
    }
    writeln!(text, "\n## Input\n")?;
    writeln!(
        text,
        "One token for each gene of `vocab.txt`, in that order, and a last 0: counts per ten thousand, floor(log2(1 + x)), at most {bins}. \
         Tensors have the names that PyTorch gives them in scBERT."
    )?;
    writeln!(text, "\n## Licence\n")?;
    let licence = match license.as_deref() {
        Some("GPL-3.0") => {
            "GPL-3.0: these weights are scBERT's or were made from them, and scBERT's are under GPL-3.0; what is made of them is too."
        }
        Some(other) => other,
        None => "None is recorded: that of the data and of whoever trained it.",
    };
    writeln!(text, "{licence}")?;
    Ok(text)
}

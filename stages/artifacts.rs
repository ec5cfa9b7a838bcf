//! What slots take of artifacts, by the files in them.

use crate::kit::model::saved::{CONFIG, FOLDER};
use crate::kit::model::weights;
use crate::kit::{cells, embeddings, genes, network, pairs, scores, tokens, types};
use crate::stage::Takes;

/// Cells and their genes.
pub const EXPRESSION: Takes = Takes::OneOf(&[&[cells::FILE, genes::FILE]]);
/// Genes and a network of them.
pub const NETWORK: Takes = Takes::OneOf(&[&[genes::FILE, network::FILE]]);
/// Labelled pairs in parts.
pub const PAIRS: Takes = Takes::OneOf(&[&[pairs::FILE]]);
/// Scored pairs.
pub const SCORES: Takes = Takes::OneOf(&[&[scores::FILE]]);
/// A vector for each gene, or for each cell.
pub const VECTORS: Takes = Takes::OneOf(&[&[embeddings::FILE]]);
/// The same, or a vector for each gene in each cell.
pub const ANY_VECTORS: Takes = Takes::OneOf(&[&[embeddings::FILE], &[embeddings::BY_CELL]]);
/// Tokens of cells.
pub const TOKENS: Takes = Takes::OneOf(&[&[tokens::FILE, tokens::ABOUT, tokens::VOCABULARY]]);
/// A transformer: the artifact itself, or the folder of one within it.
pub const MODEL: Takes = Takes::OneOf(&[&[CONFIG, weights::FILE, tokens::VOCABULARY], &[FOLDER]]);
/// A transformer as `import-model` reads it.
pub const WEIGHTS: Takes =
    Takes::OneOf(&[&[CONFIG, weights::FILE, "vocab.txt"], &[CONFIG, weights::FILE, tokens::VOCABULARY]]);
/// The genes of a model.
pub const VOCABULARY: Takes = Takes::OneOf(&[&[tokens::VOCABULARY]]);
/// Cells with their types.
pub const TYPES: Takes = Takes::OneOf(&[&[types::FILE]]);
/// The published files of a split.
pub const PUBLISHED: Takes = Takes::OneOf(&[&["Train_set.csv", "Test_set.csv"]]);
/// A folder that `dataset` can tell the format of.
pub const DATA: Takes = Takes::OneOf(&[
    &[cells::FILE, genes::FILE],
    &["ExpressionData.csv"],
    &["BL--network.csv"],
    &["BL--ExpressionData.csv"],
    &["matrix.mtx"],
    &["matrix.mtx.gz"],
]);

//! Products of matrices.

use super::Memory;
use crate::device::Precision;

/// A row-major matrix in a card's memory, or a batch of them.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    pub(super) memory: &'a Memory,
    /// The offset of the first matrix, in words.
    pub(super) start: usize,
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// The distance between rows.
    pub(super) stride: usize,
    /// The distance between matrices of a batch.
    pub(super) step: usize,
    /// Whether the matrix is transposed.
    pub(super) turned: bool,
}

impl<'a> Matrix<'a> {
    /// Sets the offset of the first word.
    pub fn starting(self, start: usize) -> Matrix<'a> {
        Matrix { start, ..self }
    }

    /// Sets the distance between rows.
    pub fn stride(self, stride: usize) -> Matrix<'a> {
        Matrix { stride, ..self }
    }

    /// Sets the distance between matrices of a batch.
    pub fn step(self, step: usize) -> Matrix<'a> {
        Matrix { step, ..self }
    }

    /// The transposed matrix.
    pub fn turned(self) -> Matrix<'a> {
        Matrix { turned: !self.turned, ..self }
    }

    pub(super) fn size(&self) -> (usize, usize) {
        if self.turned { (self.columns, self.rows) } else { (self.rows, self.columns) }
    }

    pub(super) fn check(&self, batch: usize) {
        let Matrix { memory, start, rows, columns, stride, step, .. } = *self;
        let last = start + (batch - 1) * step + (rows.max(1) - 1) * stride + columns;
        assert!(columns <= stride.max(1) && last <= memory.length, "a matrix ends inside its memory");
    }
}

/// A matrix product to compute: out = keep · out + factor · left · right.
#[derive(Debug)]
pub struct Product<'a> {
    /// Where the result goes. Work runs in order, so nothing else uses that memory meanwhile.
    pub out: Matrix<'a>,
    /// The left factor.
    pub left: Matrix<'a>,
    /// The right factor.
    pub right: Matrix<'a>,
    /// The factor of the old contents of `out`.
    pub keep: f32,
    /// The factor of the product.
    pub factor: f32,
    /// The number of matrices in the batch.
    pub batch: usize,
}

impl<'a> Product<'a> {
    /// out = left · right.
    pub fn new(out: Matrix<'a>, left: Matrix<'a>, right: Matrix<'a>) -> Product<'a> {
        Product { out, left, right, keep: 0.0, factor: 1.0, batch: 1 }
    }

    /// out += left · right.
    pub fn add(self) -> Product<'a> {
        Product { keep: 1.0, ..self }
    }

    /// Computes one product for each matrix of a batch.
    pub fn batch(self, batch: usize) -> Product<'a> {
        Product { batch, ..self }
    }
}

/// A product whose sizes were checked.
#[derive(Debug)]
#[cfg_attr(
    not(any(feature = "cuda", feature = "emulator")),
    expect(dead_code, reason = "nobody but an engine reads them, and there is none")
)]
pub(super) struct Raw<'a> {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) inner: usize,
    pub(super) keep: f32,
    pub(super) factor: f32,
    pub(super) batch: usize,
    pub(super) precision: Precision,
    pub(super) out: Matrix<'a>,
    pub(super) left: Matrix<'a>,
    pub(super) right: Matrix<'a>,
}

impl Matrix<'_> {
    /// The address of its first element.
    #[cfg_attr(
        not(any(feature = "cuda", feature = "emulator")),
        expect(dead_code, reason = "nobody but an engine reads them, and there is none")
    )]
    pub(super) fn address(&self) -> u64 {
        self.memory.at(self.start).into()
    }
}

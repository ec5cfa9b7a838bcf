//! Gather and scatter on a GPU.

use crate::kit::tensor::card::kernels::{Lists, word};
use crate::kit::tensor::card::{Card, Memory, arguments};
use crate::kit::tensor::tape::{Tape, record_on_card};
use crate::kit::tensor::{Tensor, shape};

/// The rows that one thread sums up on the way back.
const PIECE: u32 = 128;

/// y_i = table_{r_i}. Prereq: each is a row of the table.
pub fn gather<T: Tape>(card: &Card, table: Tensor, tape: T, rows: &[u32]) -> Tensor<T> {
    let (height, columns) = shape(&table);
    let count = rows.len() * columns;
    let (y, on_card) = (card.scratch(count), card.upload_words(rows));
    card.launch_each("gather", count, arguments![&y, table.memory(), &on_card, count, word(columns)]);
    let back = T::OWNS_TAPE.then(|| Scatter::new(rows, height));
    record_on_card(tape, y, (rows.len(), columns), move |flowing, _, gradients| {
        let mut sums = gradients.take_memory(&table);
        back.expect("a tape keeps what it needs").add(&mut sums, flowing, columns);
        gradients.put_memory(&table, sums);
    })
}

/// The rows of dy that go to each row of the table: few rows may be taken very often, as tokens are, so their lists are
/// cut and the sums of the pieces summed up again.
struct Scatter {
    /// Rows of dy, by the row of the table that they go to.
    order: Vec<u32>,
    /// Where each piece begins in `order`.
    pieces: Vec<u32>,
    /// Where the pieces of each row of the table begin.
    rows: Vec<u32>,
}

impl Scatter {
    fn new(rows: &[u32], height: usize) -> Scatter {
        let mut next = vec![0u32; height + 1];
        rows.iter().for_each(|row| next[*row as usize + 1] += 1);
        let (mut pieces, mut of_rows, mut start) = (Vec::new(), vec![0u32], 0);
        for count in &mut next[1..] {
            pieces.extend((start..start + *count).step_by(PIECE as usize));
            of_rows.push(pieces.len() as u32);
            start += *count;
            *count = start;
        }
        pieces.push(start);
        let mut order = vec![0u32; rows.len()];
        for (number, row) in (0..).zip(rows) {
            let place = &mut next[*row as usize];
            order[*place as usize] = number;
            *place += 1;
        }
        Scatter { order, pieces, rows: of_rows }
    }

    fn add(&self, sums: &mut Memory, dy: &Memory, columns: usize) {
        let (card, pieces) = (dy.card(), self.pieces.len() - 1);
        let mut of_pieces = card.zeros(pieces * columns);
        Lists::new(card, &self.order, &self.pieces).sum(&mut of_pieces, dy, columns);
        let all: Vec<u32> = (0..pieces as u32).collect();
        Lists::new(card, &all, &self.rows).sum(sums, &of_pieces, columns);
    }
}

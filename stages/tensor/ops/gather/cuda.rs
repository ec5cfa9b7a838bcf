//! Gather and scatter on a GPU.

use crate::card::kernels::word;
use crate::card::lists::Lists;
use crate::card::{Card, arguments};
use crate::tape::{Tape, record_on_card};
use crate::{Tensor, shape};

/// y_i = table_{r_i}. Prereq: each index is a row of the table.
pub fn gather<T: Tape>(card: &Card, table: Tensor, tape: T, rows: &[u32]) -> Tensor<T> {
    let (height, columns) = shape(&table);
    let count = rows.len() * columns;
    let (y, on_card) = (card.scratch(count), card.upload_words(rows));
    card.launch_each("gather", count, arguments![&y, table.memory(), &on_card, count, word(columns)]);
    let back = T::OWNS_TAPE.then(|| {
        let (order, starts) = order(rows, height);
        Lists::new(card, &order, &starts)
    });
    record_on_card(tape, y, (rows.len(), columns), move |flowing, _, gradients| {
        let lists = back.expect("a tape keeps what it needs");
        gradients.change(&table, |sums| lists.sum(sums, flowing, columns));
    })
}

/// The rows of dy sorted by the table row that they go to, and where each table row's entries begin.
fn order(rows: &[u32], height: usize) -> (Vec<u32>, Vec<u32>) {
    let mut starts = vec![0u32; height + 1];
    rows.iter().for_each(|row| starts[*row as usize + 1] += 1);
    for row in 0..height {
        starts[row + 1] += starts[row];
    }
    let (mut next, mut order) = (starts.clone(), vec![0u32; rows.len()]);
    for (number, row) in (0..).zip(rows) {
        let place = &mut next[*row as usize];
        order[*place as usize] = number;
        *place += 1;
    }
    (order, starts)
}

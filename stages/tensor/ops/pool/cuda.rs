//! Attention pooling on a GPU: one warp per group or per member.

use crate::card::kernels::word;
use crate::card::lists::entries;
use crate::card::{Card, arguments};
use crate::tape::{Tape, record_on_card};
use crate::{Tensor, shape};

/// One vector per group. With `constant`, the vectors need no gradient.
pub fn pool<T: Tape>(
    card: &Card,
    scores: Tensor,
    vectors: Tensor,
    starts: &[usize],
    tape: T,
    constant: bool,
) -> Tensor<T> {
    let ((members, columns), groups) = (shape(&vectors), starts.len() - 1);
    let (shares, starts) = (scores.memory().copy(), card.upload_words(&entries(starts)));
    card.launch_rows("pool_shares", groups, arguments![&shares, &starts, groups]);
    let y = card.scratch(groups * columns);
    let all = arguments![&y, &shares, vectors.memory(), &starts, groups, word(columns)];
    card.launch_each("pool", groups * columns, all);
    record_on_card(tape, y, (groups, columns), move |flowing, _, gradients| {
        let card = flowing.card();
        if !constant {
            gradients.change(&vectors, |dh| {
                let all = arguments![dh, &shares, flowing, &starts, groups, members, word(columns)];
                card.launch_rows("pool_to_vectors", members, all);
            });
        }
        let products = card.scratch(members);
        let vectors = vectors.memory();
        let all = arguments![&products, vectors, flowing, &starts, groups, members, word(columns)];
        card.launch_rows("pool_products", members, all);
        gradients.change(&scores, |ds| {
            card.launch_rows("pool_to_scores", groups, arguments![ds, &products, &shares, &starts, groups]);
        });
    })
}

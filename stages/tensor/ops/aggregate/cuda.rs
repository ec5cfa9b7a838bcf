//! Sums over neighbours on a GPU.

use super::Weighted;
use crate::card::lists::Lists;
use crate::card::{Card, Memory};
use crate::tape::{Tape, record_on_card};
use crate::{Tensor, shape};
use std::sync::Arc;

/// A weighted graph on a card: incoming and outgoing edges, each with their weights.
#[derive(Debug)]
pub struct OnCard {
    heard: (Lists, Memory),
    hearers: (Lists, Memory),
}

impl OnCard {
    fn new(card: &Card, Weighted { graph, weights, by_heard, on_card: _ }: &Weighted) -> OnCard {
        OnCard {
            heard: (Lists::of_graph(card, graph.heard()), card.upload(weights)),
            hearers: (Lists::of_graph(card, graph.hearers()), card.upload(by_heard)),
        }
    }
}

/// Sums the weighted features of each node's incoming neighbours.
pub fn aggregate<T: Tape>(card: &Card, x: Tensor, tape: T, weighted: &Arc<Weighted>) -> Tensor<T> {
    let (rows, columns) = shape(&x);
    let weighted = weighted.clone();
    let (lists, weights) = &weighted.on_card.get_or_init(|| OnCard::new(card, &weighted)).heard;
    let y = card.zeros(rows * columns);
    lists.sum_weighted(&y, x.memory(), columns, weights, 1);
    record_on_card(tape, y, (rows, columns), move |flowing, _, gradients| {
        let (lists, weights) = &weighted.on_card.get().expect("it was made on the way there").hearers;
        gradients.change(&x, |dx| lists.sum_weighted(dx, flowing, columns, weights, 1));
    })
}

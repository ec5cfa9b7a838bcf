//! Attention over neighbours on a GPU: one warp per head of a node or of an edge.

use super::{Alone, Attention, Unweighted};
use crate::card::kernels::{add_column_sums, add_from, add_pieces, add_to_rows, cut_rows, word};
use crate::card::lists::{Lists, entries};
use crate::card::{Card, Memory, arguments};
use crate::ops::dropout;
use crate::tape::{Tape, record_on_card};
use crate::{Gradients, Tensor, shape};
use std::sync::Arc;

/// A graph on a card.
#[derive(Debug)]
pub struct OnCard {
    /// The nodes that each node hears.
    heard: Lists,
    /// The nodes that hear each node.
    hearers: Lists,
    /// The edges through which each node is heard.
    edges: Lists,
}

impl OnCard {
    fn new(card: &Card, unweighted: &Unweighted) -> OnCard {
        let (graph, of) = (&unweighted.graph, |lists| Lists::of_graph(card, lists));
        let starts = entries(graph.hearers().starts());
        OnCard {
            heard: of(graph.heard()),
            hearers: of(graph.hearers()),
            edges: Lists::new(card, graph.edges_by_heard(), &starts),
        }
    }
}

/// Attends to each node's incoming neighbours.
pub fn graph_attention<T: Tape>(
    card: &Card,
    inputs: [Tensor; 3],
    tape: T,
    graph: &Arc<Unweighted>,
    attention: Attention,
) -> Tensor<T> {
    let size = shape(&inputs[0]);
    let attended = Attended::new(card, inputs, graph.clone(), attention);
    let y = attended.forward();
    record_on_card(tape, y, size, move |flowing, _, gradients| attended.backward(flowing, gradients))
}

/// An attention with what the backward pass needs from the forward pass.
struct Attended {
    /// h, and the attention vectors for source nodes and for target nodes.
    inputs: [Tensor; 3],
    graph: Arc<Unweighted>,
    attention: Attention,
    nodes: usize,
    columns: usize,
    /// The rows of scores: one per node and head, with the heads of a node consecutive.
    rows: usize,
    scores: [Memory; 2],
    alpha: Memory,
}

impl Attended {
    fn new(card: &Card, inputs: [Tensor; 3], graph: Arc<Unweighted>, attention: Attention) -> Attended {
        let ((nodes, columns), heads) = (shape(&inputs[0]), attention.heads);
        let rows = nodes * heads;
        let scores = [card.scratch(rows), card.scratch(rows)];
        let [h, from, to] = inputs.each_ref().map(Tensor::memory);
        let sizes = [heads, columns / heads].map(word);
        let each = arguments![&scores[0], &scores[1], h, from, to, rows, sizes[0], sizes[1]];
        card.launch_rows("attention_scores", rows, each);
        let OnCard { heard, .. } = graph.on_card.get_or_init(|| OnCard::new(card, &graph));
        let alpha = card.scratch(graph.graph.edges() * heads);
        let (named, starts) = (&heard.named, &heard.starts);
        let each =
            arguments![&alpha, &scores[0], &scores[1], named, starts, rows, word(heads), attention.slope];
        card.launch_rows("attention_shares", rows, each);
        Attended { inputs, graph, attention, nodes, columns, rows, scores, alpha }
    }

    fn card(&self) -> &Card {
        self.alpha.card()
    }

    fn on_card(&self) -> &OnCard {
        self.graph.on_card.get().expect("it was made with the attention")
    }

    /// Applies dropout to α or its gradient; `None` if the rate is zero.
    fn drop(&self, of_edges: &Memory) -> Option<Memory> {
        let (rate, key) = self.attention.dropout;
        (rate > 0.0).then(|| {
            let kept = self.card().zeros(of_edges.length());
            dropout::add_kept_on_card(&kept, of_edges, rate, key);
            kept
        })
    }

    fn forward(&self) -> Memory {
        let Attended { inputs: [h, ..], attention, nodes, columns, .. } = self;
        let (card, heard) = (self.card(), &self.on_card().heard);
        let y = card.zeros(nodes * columns);
        let kept = self.drop(&self.alpha);
        heard.sum_weighted(&y, h.memory(), *columns, kept.as_ref().unwrap_or(&self.alpha), attention.heads);
        if attention.alone == Alone::Everyone {
            let mut sums = card.zeros(*columns);
            add_column_sums(&mut sums, h.memory());
            let each = arguments![&y, &sums, &heard.starts, *nodes, word(*columns)];
            card.launch_each("hear_everyone", nodes * columns, each);
        }
        y
    }

    fn backward(&self, dy: &Memory, gradients: &mut Gradients) {
        let Attended { inputs: [h, from, to], attention, nodes, columns, rows, .. } = self;
        let (card, OnCard { hearers, edges, heard }) = (self.card(), self.on_card());
        let (heads, width) = (attention.heads, columns / attention.heads);
        let (slopes, to_slopes) = self.slopes(dy);
        let from_slopes = card.zeros(*rows);
        edges.sum(&from_slopes, &slopes, heads);
        let (kept, count) = (self.drop(&self.alpha), self.alpha.length());
        let by_heard = card.scratch(count);
        let alpha = kept.as_ref().unwrap_or(&self.alpha);
        card.launch_each("gather", count, arguments![&by_heard, alpha, &edges.named, count, word(heads)]);
        gradients.change(h, |dh| {
            hearers.sum_weighted(dh, dy, *columns, &by_heard, heads);
            let vectors = [from.memory(), to.memory()];
            let (count, sizes) = (nodes * columns, [*columns, width].map(word));
            let each = arguments![
                &*dh,
                &from_slopes,
                &to_slopes,
                vectors[0],
                vectors[1],
                count,
                sizes[0],
                sizes[1],
            ];
            card.launch_each("attention_to_vectors", count, each);
            if attention.alone == Alone::Everyone {
                let (of_all, mut sums) = (card.scratch(count), card.zeros(*columns));
                let each = arguments![&of_all, dy, &heard.starts, *nodes, sizes[0]];
                card.launch_each("of_everyone", count, each);
                add_column_sums(&mut sums, &of_all);
                add_to_rows(dh, &sums);
            }
        });
        // The sums for both vectors lie side by side.
        let (pieces, piece) = cut_rows(*nodes);
        let of_pieces = card.scratch(pieces * 2 * columns);
        let sizes = [*columns, width, piece].map(word);
        let h = h.memory();
        let cut = arguments![
            &of_pieces,
            h,
            &from_slopes,
            &to_slopes,
            *nodes,
            sizes[0],
            sizes[1],
            pieces,
            sizes[2],
        ];
        card.launch_each("attention_pieces", pieces * columns, cut);
        let mut both = card.zeros(2 * columns);
        add_pieces(&mut both, &of_pieces, pieces);
        for (vector, start) in [(from, 0), (to, *columns)] {
            gradients.change(vector, |da| add_from(da, &both, start));
        }
    }

    /// de of every edge, and its sums over each node's incoming edges.
    fn slopes(&self, dy: &Memory) -> (Memory, Memory) {
        let Attended { inputs: [h, ..], attention, nodes, columns, rows, scores, alpha, .. } = self;
        let (card, heard) = (self.card(), &self.on_card().heard);
        let (named, starts) = (&heard.named, &heard.starts);
        let sizes = [attention.heads, columns / attention.heads].map(word);
        let products = card.scratch(alpha.length());
        let (h, count) = (h.memory(), products.length());
        let each = arguments![&products, h, dy, named, starts, *nodes, count, sizes[0], sizes[1]];
        card.launch_rows("attention_products", count, each);
        let (slopes, sums) = (self.drop(&products).unwrap_or(products), card.scratch(*rows));
        let each = arguments![
            &slopes,
            &sums,
            alpha,
            &scores[0],
            &scores[1],
            named,
            starts,
            *rows,
            sizes[0],
            attention.slope,
        ];
        card.launch_rows("attention_slopes", *rows, each);
        (slopes, sums)
    }
}

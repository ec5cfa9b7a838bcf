//! Attention over the neighbours in a graph (Veličković et al. 2018), all heads at once.
//!
//! For node i that hears node j, in each head: e_ij = leaky(a_from · h_j + a_to · h_i), α_i = softmax_j(e_i),
//! y_i = Σ_j α_ij h_j. In training, dropout may be applied to α, as in [`super::dropout`].
//! Backward, with g_ij = dy_i · h_j: de_ij = α_ij (g_ij - Σ_k α_ik g_ik) leaky'; dh_j = Σ_i α_ij dy_i + a_from Σ_i de_ij;
//! dh_i += a_to Σ_j de_ij; da_from = Σ_ij de_ij h_j, da_to = Σ_ij de_ij h_i.

mod cpu;
mod cuda;

use crate::graph::Graph;
use crate::sparse::sum_neighbours;
use crate::tape::{Tape, put, record, take};
use crate::{Tensor, buffer, shape, values};
use std::sync::{Arc, OnceLock};

/// The settings of an attention.
#[derive(Debug, Clone, Copy)]
pub struct Attention {
    /// The number of heads; their columns lie side by side.
    pub heads: usize,
    /// The slope of the leaky ReLU below zero.
    pub slope: f32,
    /// The dropout rate of the attention weights, and the key of its draws.
    pub dropout: (f32, u64),
    /// What a node without neighbours receives.
    pub alone: Alone,
}

/// What a node without neighbours receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alone {
    /// Zeros.
    Silence,
    /// The mean over all nodes, which is what a dense softmax over a fully masked row gives.
    Everyone,
}

/// A graph without edge weights.
#[derive(Debug)]
pub struct Unweighted {
    graph: Graph,
    /// The graph on a card, uploaded on first use.
    on_card: OnceLock<cuda::OnCard>,
}

impl Unweighted {
    /// Wraps a graph for any number of attention layers over it.
    pub fn new(graph: Graph) -> Unweighted {
        Unweighted { graph, on_card: OnceLock::new() }
    }
}

/// Attends to each node's incoming neighbours. Prereq: one row of `h` per node; `from` and `to` are 1 x columns.
pub fn graph_attention<T: Tape>(
    h: Tensor<T>,
    from: &Tensor,
    to: &Tensor,
    unweighted: &Arc<Unweighted>,
    attention: Attention,
) -> Tensor<T> {
    let (nodes, columns) = shape(&h);
    assert_eq!(nodes, unweighted.graph.nodes(), "the nodes of a graph");
    assert!(columns.is_multiple_of(attention.heads), "{columns} columns of {} heads", attention.heads);
    assert!([from, to].iter().all(|a| shape(a) == (1, columns)), "the vectors of an attention");
    let (h, tape) = h.split_tape();
    let device = h.device().clone();
    let (from, to, unweighted) = (from.clone(), to.clone(), unweighted.clone());
    if let Some(card) = device.card() {
        return cuda::graph_attention(card, [h, from, to], tape, &unweighted, attention);
    }
    let graph = &unweighted.graph;
    let heads = attention.heads;
    let scores = |a: &Tensor| {
        let mut scores = buffer::zeros(&device, nodes * heads);
        cpu::scores(&mut scores, values(&h), values(a), heads);
        scores
    };
    let (from_scores, to_scores) = (scores(&from), scores(&to));
    let mut alpha = buffer::zeros(&device, graph.edges() * heads);
    cpu::softmax(&mut alpha, graph, &from_scores, &to_scores, attention);
    let mut y = buffer::zeros(&device, nodes * columns);
    {
        let kept = cpu::drop(&alpha, attention.dropout);
        sum_neighbours(&mut y, graph.heard(), &kept, heads, values(&h));
    }
    if attention.alone == Alone::Everyone {
        cpu::hear_everyone(&mut y, values(&h), graph);
    }
    record(&device, tape, y, (nodes, columns), move |flowing, gradients| {
        let graph = &unweighted.graph;
        let mut dh = take(gradients, &h);
        let (mut da_from, mut da_to) = (take(gradients, &from), take(gradients, &to));
        let device = h.device();
        let mut slopes = buffer::zeros(device, alpha.len());
        let mut to_slopes = buffer::zeros(device, nodes * heads);
        let scores = cpu::Scores { from: &from_scores, to: &to_scores };
        cpu::slopes(&mut slopes, &mut to_slopes, &alpha, scores, values(&h), flowing, graph, attention);
        let kept = graph.by_heard(&cpu::drop(&alpha, attention.dropout), heads);
        sum_neighbours(&mut dh, graph.hearers(), &kept, heads, flowing);
        let mut from_slopes = buffer::zeros(device, nodes * heads);
        cpu::sum_heads(&mut from_slopes, &graph.by_heard(&slopes, heads), graph.hearers(), heads);
        for (slopes, a, da) in [(&from_slopes, &from, &mut da_from), (&to_slopes, &to, &mut da_to)] {
            cpu::scores_backward(&mut dh, da, slopes, values(&h), values(a), heads);
        }
        if attention.alone == Alone::Everyone {
            cpu::hear_everyone_backward(&mut dh, flowing, graph);
        }
        put(gradients, &h, dh);
        put(gradients, &from, da_from);
        put(gradients, &to, da_to);
        for buffer in [alpha, slopes, from_scores, to_scores, from_slopes, to_slopes] {
            buffer::recycle(h.device(), buffer);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::{Alone, Attention, Unweighted, graph_attention};
    use crate::graph::Graph;
    use crate::testing::{check_gradients, difference, normal, weighted_sum};
    use crate::{device, tensor, values};
    use std::sync::Arc;

    const NODES: usize = 7;

    /// Node 6 hears no other node; node 5 is heard by nodes 0 to 5.
    fn graph() -> Graph {
        let edges = (0..6).flat_map(|to| [(5, to), ((to * to + 1) % 7, to), (to, to)]);
        Graph::new(NODES, edges)
    }

    fn attention(heads: usize, alone: Alone) -> Attention {
        Attention { heads, slope: 0.2, dropout: (0.0, 0), alone }
    }

    #[test]
    fn values_are_those_of_the_formula() {
        let (device, graph) = (device(), graph());
        let unweighted = Arc::new(Unweighted::new(graph.clone()));
        let (h, from, to) = (normal(NODES * 6, 0), normal(6, 1), normal(6, 2));
        let dot = |a: &[f32], b: &[f32]| -> f64 {
            a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
        };
        let part = |values: &[f32], row: usize, head: usize| values[row * 6 + head * 3..][..3].to_vec();
        for alone in [Alone::Silence, Alone::Everyone] {
            let mut expected = vec![0.0f32; NODES * 6];
            for node in 0..NODES {
                let mut heard = graph.heard().neighbours()[graph.heard().range(node)].to_vec();
                let everyone = heard.is_empty() && alone == Alone::Everyone;
                if everyone {
                    heard = (0..NODES as u32).collect();
                }
                for head in 0..2 {
                    let e = |j: &u32| {
                        let j = part(&h, *j as usize, head);
                        let e =
                            dot(&part(&from, 0, head), &j) + dot(&part(&to, 0, head), &part(&h, node, head));
                        if everyone { 1.0 } else { libm::exp(e.max(0.2 * e)) }
                    };
                    let total: f64 = heard.iter().map(e).sum();
                    for j in &heard {
                        let alpha = e(j) / total;
                        for column in 0..3 {
                            expected[node * 6 + head * 3 + column] +=
                                (alpha * f64::from(h[*j as usize * 6 + head * 3 + column])) as f32;
                        }
                    }
                }
            }
            let row = |values: &[f32]| tensor(&device, values.to_vec(), 1, 6);
            let h = tensor(&device, h.clone(), NODES, 6);
            let y = graph_attention(h, &row(&from), &row(&to), &unweighted, attention(2, alone));
            assert!(difference(values(&y), &expected) < 2e-6, "{alone:?}");
        }
    }

    #[test]
    fn gradients_are_those_of_differences() {
        for (alone, dropout) in
            [(Alone::Silence, (0.0, 0)), (Alone::Everyone, (0.0, 0)), (Alone::Silence, (0.4, 3))]
        {
            let attention = Attention { dropout, ..attention(2, alone) };
            let graph = Arc::new(Unweighted::new(graph()));
            check_gradients(&[(NODES, 6), (1, 6), (1, 6)], 3e-3, |t| {
                weighted_sum(graph_attention(t[0].retaped(), &t[1], &t[2], &graph, attention))
            });
        }
    }

    #[test]
    fn a_share_of_the_attention_is_dropped_and_the_mean_is_kept() {
        let edges = (0..4_000).flat_map(|to| (0..25).map(move |i| ((to + i * 7) % 4_000, to)));
        let graph = Arc::new(Unweighted::new(Graph::new(4_000, edges)));
        let device = device();
        let zero = tensor(&device, vec![0.0], 1, 1);
        let ones = tensor(&device, vec![1.0; 4_000], 4_000, 1);
        let attention = Attention { dropout: (0.5, 1), ..attention(1, Alone::Silence) };
        let y = graph_attention(ones, &zero, &zero, &graph, attention);
        let mean = values(&y).iter().sum::<f32>() / 4_000.0;
        // Five standard errors of 100,000 draws.
        assert!((mean - 1.0).abs() < 0.016, "{mean}");
        assert!(values(&y).iter().any(|y| (y - 1.0).abs() > 0.1));
    }
}

//! Sums over the neighbours in a graph, with fixed edge weights.
//!
//! y_i = Σ w_e x_j over the edges e from j to i. Backward: dx_j = Σ w_e dy_i over the edges from j.

mod cuda;

use crate::graph::Graph;
use crate::sparse::sum_neighbours;
use crate::tape::{Tape, put, record, take};
use crate::{Tensor, buffer, shape, values};
use std::sync::{Arc, OnceLock};

/// A graph with a weight for each edge.
#[derive(Debug)]
pub struct Weighted {
    graph: Graph,
    weights: Vec<f32>,
    /// The weights in the order of [`Graph::hearers`].
    by_heard: Vec<f32>,
    /// The graph on a card, uploaded on first use.
    on_card: OnceLock<cuda::OnCard>,
}

impl Weighted {
    /// Prereq: as many weights as edges, in the order of [`Graph::heard`].
    pub fn new(graph: Graph, weights: Vec<f32>) -> Weighted {
        let by_heard = graph.by_heard(&weights, 1);
        Weighted { graph, weights, by_heard, on_card: OnceLock::new() }
    }
}

/// Sums the weighted features of each node's incoming neighbours. Prereq: one row for each node.
pub fn aggregate<T: Tape>(x: Tensor<T>, weighted: &Arc<Weighted>) -> Tensor<T> {
    let (rows, columns) = shape(&x);
    assert_eq!(rows, weighted.graph.nodes(), "the nodes of a graph");
    let (x, tape) = x.split_tape();
    let device = x.device().clone();
    if let Some(card) = device.card() {
        return cuda::aggregate(card, x, tape, weighted);
    }
    let weighted = weighted.clone();
    let mut y = buffer::zeros(&device, rows * columns);
    sum_neighbours(&mut y, weighted.graph.heard(), &weighted.weights, 1, values(&x));
    record(&device, tape, y, (rows, columns), move |flowing, gradients| {
        let mut dx = take(gradients, &x);
        sum_neighbours(&mut dx, weighted.graph.hearers(), &weighted.by_heard, 1, flowing);
        put(gradients, &x, dx);
    })
}

#[cfg(test)]
mod tests {
    use super::{Weighted, aggregate};
    use crate::graph::Graph;
    use crate::testing::{check_gradients, difference, normal, weighted_sum};
    use crate::{device, tensor, values};
    use data::random::Random;
    use std::sync::Arc;

    fn random_graph(nodes: usize, edges: usize) -> Graph {
        let mut random = Random::new(5, 0);
        // Half of the edges point to the first node, making it a hub.
        let mut node = move |i: usize| if i % 2 == 1 { 0 } else { random.below(nodes) as u32 };
        Graph::new(nodes, (0..edges).map(move |i| (node(0), node(i))))
    }

    #[test]
    fn each_node_sums_up_what_it_hears() {
        for columns in [1, 16, 70, 130] {
            let graph = random_graph(50, 400);
            let weights = normal(graph.edges(), 1);
            let x = normal(50 * columns, 0);
            let mut expected = vec![0.0f32; 50 * columns];
            for node in 0..50 {
                for edge in graph.heard().range(node) {
                    let heard = graph.heard().neighbours()[edge] as usize;
                    for column in 0..columns {
                        expected[node * columns + column] += weights[edge] * x[heard * columns + column];
                    }
                }
            }
            let weighted = Arc::new(Weighted::new(graph, weights));
            let y = aggregate(tensor(&device(), x, 50, columns), &weighted);
            assert!(difference(values(&y), &expected) < 1e-5, "{columns}");
        }
    }

    #[test]
    fn sums_are_the_same_bits_on_any_number_of_threads() {
        let graph = random_graph(3_000, 40_000);
        let weights = normal(graph.edges(), 1);
        let weighted = Arc::new(Weighted::new(graph, weights));
        let x = tensor(&device(), normal(3_000 * 20, 0), 3_000, 20);
        let sum = || values(&aggregate(x.clone(), &weighted)).to_vec();
        let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool");
        assert_eq!(one.install(sum), sum());
    }

    #[test]
    fn gradients_are_those_of_differences() {
        let graph = random_graph(6, 20);
        let weights = normal(graph.edges(), 1);
        let weighted = Arc::new(Weighted::new(graph, weights));
        check_gradients(&[(6, 19)], 1e-3, |t| weighted_sum(aggregate(t[0].retaped(), &weighted)));
    }
}

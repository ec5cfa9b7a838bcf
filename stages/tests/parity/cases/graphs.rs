//! Operations along the edges of a graph, and over groups.

use super::{Case, Found, leaf, normal, of};
use data::random::Random;
use std::sync::Arc;
use tensor::Device;
use tensor::graph::Graph;
use tensor::ops::aggregate::{Weighted, aggregate};
use tensor::ops::gather::gather;
use tensor::ops::graph_attention::{Alone, Attention, Unweighted, graph_attention};
use tensor::ops::pool::{pool, pool_of_constant};
use tensor::tensor;

const NODES: usize = 307;

/// One for each.
pub const CASES: &[Case] = &[
    Case {
        name: "sums over neighbours",
        run: |device| {
            let graph = graph();
            let weights = normal(graph.edges(), 1);
            let weighted = Arc::new(Weighted::new(graph, weights));
            of(device, &[(NODES, 37)], |t| aggregate(leaf(&t[0]), &weighted))
        },
    },
    Case { name: "graph attention", run: |device| attention(device, (0.0, 0), Alone::Silence) },
    Case {
        name: "graph attention with dropout",
        run: |device| attention(device, (0.3, 0x0123_4567_89ab_cdef), Alone::Silence),
    },
    Case {
        name: "graph attention, all heard by who hears none",
        run: |device| attention(device, (0.0, 0), Alone::Everyone),
    },
    Case {
        name: "pooling",
        run: |device| of(device, &[(400, 1), (400, 37)], |t| pool(leaf(&t[0]), leaf(&t[1]), &groups())),
    },
    Case {
        name: "pooling of constants",
        run: |device| {
            let vectors = tensor(device, normal(400 * 37, 5), 400, 37);
            of(device, &[(400, 1)], |t| pool_of_constant(leaf(&t[0]), &vectors, &groups()))
        },
    },
    Case {
        name: "rows of pairs",
        run: |device| {
            // One row is in most pairs.
            let rows: Vec<u32> =
                (0..1_000).map(|pair| if pair % 5 > 0 { 3 } else { pair / 5 % 50 }).collect();
            of(device, &[(50, 33)], |t| gather(leaf(&t[0]), &rows))
        },
    },
];

/// A hub that most nodes hear and that hears most of them, and a node that hears nobody.
fn graph() -> Graph {
    let mut random = Random::new(13, 0);
    let mut node = || 1 + random.below(NODES - 2) as u32;
    let edges: Vec<(u32, u32)> = (0..2_000)
        .map(|edge| match edge % 4 {
            0 => (0, node()),
            1 => (node(), 0),
            _ => (node(), node()),
        })
        .chain([(NODES as u32 - 1, 0)])
        .collect();
    Graph::new(NODES, edges.into_iter())
}

/// Of no member, of one, of more than a warp has lanes.
fn groups() -> Arc<Vec<usize>> {
    Arc::new(vec![0, 0, 1, 34, 34, 133, 150, 400])
}

fn attention(device: &Device, dropout: (f32, u64), alone: Alone) -> Found {
    let attention = Attention { heads: 3, slope: 0.2, dropout, alone };
    let graph = Arc::new(Unweighted::new(graph()));
    of(device, &[(NODES, 57), (1, 57), (1, 57)], |t| {
        graph_attention(leaf(&t[0]), &t[1], &t[2], &graph, attention)
    })
}

//! A graph as compressed sparse rows in both directions. A node "hears" the sources of its incoming edges.

use std::ops::Range;

/// A task's rows end after this many edges or nodes, whichever comes first.
const EDGES_OF_PIECE: usize = 1 << 13;
const NODES_OF_PIECE: usize = 1 << 9;

/// Directed edges between nodes; parallel edges are merged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Graph {
    /// Incoming edges by target node, in edge order.
    heard: Lists,
    /// Outgoing edges by source node.
    hearers: Lists,
    /// The edge index of each entry of `hearers`.
    edges: Vec<u32>,
}

/// The neighbours of all nodes, concatenated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lists {
    starts: Vec<usize>,
    neighbours: Vec<u32>,
    pieces: Vec<Range<usize>>,
}

impl Graph {
    /// A graph of (heard, hearer) edges: messages flow from the first to the second.
    ///
    /// Prereq: both are below `nodes`.
    pub fn new(nodes: usize, edges: impl Iterator<Item = (u32, u32)>) -> Graph {
        let mut sorted: Vec<(u32, u32)> = edges.map(|(from, to)| (to, from)).collect();
        sorted.sort_unstable();
        sorted.dedup();
        let heard = Lists::new(nodes, sorted.iter().copied());
        let mut back: Vec<(u32, u32, u32)> =
            sorted.iter().zip(0..).map(|((to, from), edge)| (*from, *to, edge)).collect();
        back.sort_unstable();
        let hearers = Lists::new(nodes, back.iter().map(|(from, to, _)| (*from, *to)));
        Graph { heard, hearers, edges: back.into_iter().map(|(_, _, edge)| edge).collect() }
    }

    /// How many nodes there are.
    pub fn nodes(&self) -> usize {
        self.heard.nodes()
    }

    /// How many edges there are.
    pub fn edges(&self) -> usize {
        self.edges.len()
    }

    /// The nodes that each node hears; an entry's position is its edge index.
    pub fn heard(&self) -> &Lists {
        &self.heard
    }

    /// The nodes that hear each node.
    pub fn hearers(&self) -> &Lists {
        &self.hearers
    }

    /// The edge index of each entry of [`Graph::hearers`].
    pub fn edges_by_heard(&self) -> &[u32] {
        &self.edges
    }

    /// Reorders per-edge values, `each` numbers per edge, to the order of [`Graph::hearers`].
    pub fn by_heard(&self, of_edges: &[f32], each: usize) -> Vec<f32> {
        assert_eq!(of_edges.len(), self.edges() * each, "values of edges");
        let values = self.edges.iter().flat_map(|edge| &of_edges[*edge as usize * each..][..each]);
        values.copied().collect()
    }
}

impl Lists {
    /// Prereq: sorted by node.
    fn new(nodes: usize, entries: impl Iterator<Item = (u32, u32)>) -> Lists {
        let mut starts = vec![0; nodes + 1];
        let mut neighbours = Vec::with_capacity(entries.size_hint().0);
        for (node, neighbour) in entries {
            assert!((node as usize) < nodes && (neighbour as usize) < nodes, "an edge between nodes");
            starts[node as usize + 1] += 1;
            neighbours.push(neighbour);
        }
        for node in 0..nodes {
            starts[node + 1] += starts[node];
        }
        let mut pieces = Vec::new();
        let mut first = 0;
        for node in 0..nodes {
            let after = node + 1;
            let full = starts[after] - starts[first] >= EDGES_OF_PIECE || after - first >= NODES_OF_PIECE;
            if full || after == nodes {
                pieces.push(first..after);
                first = after;
            }
        }
        Lists { starts, neighbours, pieces }
    }

    /// How many nodes there are.
    pub fn nodes(&self) -> usize {
        self.starts.len() - 1
    }

    /// Where the neighbours of each node begin, followed by the end of the last list.
    pub fn starts(&self) -> &[usize] {
        &self.starts
    }

    /// The range of a node's neighbours.
    pub fn range(&self, node: usize) -> Range<usize> {
        self.starts[node]..self.starts[node + 1]
    }

    /// How many neighbours a node has.
    pub fn degree(&self, node: usize) -> usize {
        self.range(node).len()
    }

    /// The neighbours of all nodes, concatenated.
    pub fn neighbours(&self) -> &[u32] {
        &self.neighbours
    }

    /// Consecutive ranges that cover all nodes, each with about the same amount of work.
    pub fn pieces(&self) -> &[Range<usize>] {
        &self.pieces
    }

    /// Splits per-node values, `each` numbers per node, by [`Lists::pieces`].
    pub fn cut_nodes<'a>(&self, values: &'a mut [f32], each: usize) -> Vec<&'a mut [f32]> {
        cut(values, self.pieces.iter().map(|piece| piece.len() * each))
    }

    /// Splits per-entry values, `each` numbers per entry, by [`Lists::pieces`].
    pub fn cut_entries<'a>(&self, values: &'a mut [f32], each: usize) -> Vec<&'a mut [f32]> {
        cut(
            values,
            self.pieces.iter().map(|piece| (self.starts[piece.end] - self.starts[piece.start]) * each),
        )
    }
}

fn cut(mut values: &mut [f32], lengths: impl Iterator<Item = usize>) -> Vec<&mut [f32]> {
    let mut parts = Vec::new();
    for length in lengths {
        let (part, rest) = values.split_at_mut(length);
        parts.push(part);
        values = rest;
    }
    assert!(values.is_empty(), "pieces are all there is");
    parts
}

#[cfg(test)]
mod tests {
    use super::Graph;

    #[test]
    fn both_directions_hold_the_same_edges() {
        let graph = Graph::new(4, [(0, 1), (2, 1), (0, 3), (0, 1), (3, 0)].into_iter());
        assert_eq!((graph.nodes(), graph.edges()), (4, 4));
        let of = |node| graph.heard().neighbours()[graph.heard().range(node)].to_vec();
        assert_eq!([of(0), of(1), of(2), of(3)], [vec![3], vec![0, 2], vec![], vec![0]]);
        let of = |node| graph.hearers().neighbours()[graph.hearers().range(node)].to_vec();
        assert_eq!([of(0), of(1), of(2), of(3)], [vec![1, 3], vec![], vec![1], vec![0]]);
        // In edge order: 3 to 0, 0 to 1, 2 to 1, 0 to 3.
        assert_eq!(graph.by_heard(&[0.0, 1.0, 2.0, 3.0], 1), [1.0, 3.0, 2.0, 0.0]);
    }

    #[test]
    fn pieces_are_all_nodes_and_a_hub_is_one() {
        let hub = (1..20_000).map(|node| (node, 0));
        let graph = Graph::new(20_000, hub);
        let pieces = graph.heard().pieces();
        assert_eq!(pieces[0], 0..1);
        assert_eq!(pieces.iter().map(|piece| piece.len()).sum::<usize>(), 20_000);
        assert!(Graph::new(0, std::iter::empty()).heard().pieces().is_empty());
    }
}

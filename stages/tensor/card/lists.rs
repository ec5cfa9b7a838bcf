//! Sums over lists of rows, on a card.
//!
//! Each sum is made in list order. Long lists are cut into pieces whose sums are then summed: otherwise a hub of a
//! graph, or the token of genes that are not expressed, would keep one thread busy long after all others have finished.

use super::kernels::word;
use super::{Card, Memory, arguments};
use crate::graph;

/// Entries summed by one thread.
const LIST: u32 = 128;

/// Lists of rows.
#[derive(Debug)]
pub struct Lists {
    /// The row indices of all lists, concatenated.
    pub named: Memory,
    /// Where each list begins, followed by the end of the last one.
    pub starts: Memory,
    count: usize,
    pieces: Option<Pieces>,
}

#[derive(Debug)]
struct Pieces {
    /// Where each piece begins, followed by the end of the last one.
    starts: Memory,
    count: usize,
    /// Combines pieces into lists: the pieces of each list, as rows of partial sums.
    whole: Box<Lists>,
}

impl Lists {
    /// `starts` has the offset in `named` at which each list begins, followed by the end of the last one.
    pub fn new(card: &Card, named: &[u32], starts: &[u32]) -> Lists {
        let long = starts.windows(2).any(|list| list[1] - list[0] > LIST);
        Lists {
            named: card.upload_words(named),
            starts: card.upload_words(starts),
            count: starts.len() - 1,
            pieces: long.then(|| Pieces::new(card, starts)),
        }
    }

    /// The neighbour lists of a graph.
    pub fn of_graph(card: &Card, lists: &graph::Lists) -> Lists {
        Lists::new(card, lists.neighbours(), &entries(lists.starts()))
    }

    /// y_l += the rows of x that list l names.
    pub fn sum(&self, y: &Memory, x: &Memory, columns: usize) {
        self.sum_weighted(y, x, columns, x, 0);
    }

    /// The same, with weights: every entry has one weight per head, and a head is a run of columns.
    pub fn sum_weighted(&self, y: &Memory, x: &Memory, columns: usize, weights: &Memory, heads: usize) {
        let Lists { named, starts, count, pieces } = self;
        assert!(y.length() == count * columns && y.card().is(named.card()), "a row for each list");
        let launch = |y: &Memory, starts: &Memory, count: usize| {
            let all = arguments![y, x, named, starts, weights, count, word(columns), word(heads)];
            y.card().launch_each("sum_lists", count * columns, all);
        };
        match pieces {
            None => launch(y, starts, *count),
            Some(Pieces { starts, count, whole }) => {
                let of_pieces = y.card().zeros(count * columns);
                launch(&of_pieces, starts, *count);
                whole.sum(y, &of_pieces, columns);
            }
        }
    }
}

impl Pieces {
    fn new(card: &Card, starts: &[u32]) -> Pieces {
        let (mut pieces, mut of_lists) = (Vec::new(), vec![0u32]);
        for list in starts.windows(2) {
            pieces.extend((list[0]..list[1]).step_by(LIST as usize));
            of_lists.push(pieces.len() as u32);
        }
        let count = pieces.len();
        pieces.extend(starts.last());
        let all: Vec<u32> = (0..count as u32).collect();
        let whole = Lists {
            named: card.upload_words(&all),
            starts: card.upload_words(&of_lists),
            count: of_lists.len() - 1,
            pieces: None,
        };
        Pieces { starts: card.upload_words(&pieces), count, whole: Box::new(whole) }
    }
}

/// Offsets into entries, as the 32-bit numbers that kernels use.
pub fn entries(places: &[usize]) -> Vec<u32> {
    assert!(places.last().is_none_or(|last| u32::try_from(*last).is_ok()), "entries are counted in 32 bits");
    places.iter().map(|place| *place as u32).collect()
}

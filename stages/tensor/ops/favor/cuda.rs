//! FAVOR+ attention on a GPU, one cell at a time: cuBLAS computes the products of all heads in one call, and one warp
//! per gene and head does the rest. Only one cell's features are in memory at a time; the backward pass recomputes
//! them.

use super::{Layout, Stabiliser};
use crate::card::kernels::{self, word};
use crate::card::{Card, Matrix, Memory, Product, arguments};
use crate::tape::{Tape, record_on_card};
use crate::{Gradients, Tensor, shape};

/// Projections that one warp searches for the largest.
const PIECE: usize = 1 << 13;

/// Attention from every gene of a cell to every gene of the same cell.
pub fn favor<T: Tape>(
    card: &Card,
    inputs: [Tensor; 3],
    tape: T,
    features: Tensor,
    layout: Layout,
) -> Tensor<T> {
    let attention = Attention::new(card.clone(), inputs, features, layout);
    let (out, kept) = attention.forward();
    let size = shape(&attention.inputs[0]);
    record_on_card(tape, out, size, move |flowing, out, gradients| {
        attention.backward(&kept, out, flowing, gradients);
    })
}

/// An attention's tensors and sizes.
struct Attention {
    card: Card,
    /// q, k and v.
    inputs: [Tensor; 3],
    /// P.
    features: Tensor,
    layout: Layout,
    genes: usize,
    /// The width of a head.
    d: usize,
    /// The number of random features.
    m: usize,
}

/// What the backward pass needs from the forward pass.
struct Kept {
    /// S of each head of each cell.
    s_matrix: Memory,
    /// s of each head of each cell.
    s: Memory,
    /// M of each head of each cell, or a single one.
    most: Memory,
    /// The piece that each M was taken from.
    sources: Memory,
    /// The position of the largest projection of each piece.
    places: Memory,
}

/// Scratch memory: the features of one cell, and values for each of its genes and heads.
struct Room {
    e: Memory,
    per_row: Memory,
    sources: Memory,
}

impl Attention {
    fn new(card: Card, inputs: [Tensor; 3], features: Tensor, layout: Layout) -> Attention {
        let ((rows, _), (m, d)) = (shape(&inputs[0]), shape(&features));
        Attention { card, inputs, features, layout, genes: rows / layout.cells, d, m }
    }

    fn room(&self) -> Room {
        let rows = self.genes * self.layout.heads;
        let [e, per_row, sources] = [rows * self.m, rows, rows].map(|length| self.card.scratch(length));
        Room { e, per_row, sources }
    }

    /// c², which is 1 / √d.
    fn scale(&self) -> f32 {
        1.0 / (self.d as f32).sqrt()
    }

    /// c.
    fn root(&self) -> f32 {
        (self.d as f64).powf(-0.25) as f32
    }

    /// The offset, in words, of a cell's genes.
    fn start(&self, cell: usize) -> usize {
        cell * self.genes * self.layout.heads * self.d
    }

    /// The genes of a cell by the columns of a head, as a batch of one matrix per head.
    fn of_cell<'a>(&self, memory: &'a Memory, cell: usize) -> Matrix<'a> {
        let matrix = memory.matrix(self.genes, self.d).starting(self.start(cell));
        matrix.stride(self.layout.heads * self.d).step(self.d)
    }

    /// Genes by features, or by other columns that are stored head by head.
    fn by_head<'a>(&self, memory: &'a Memory, columns: usize) -> Matrix<'a> {
        memory.matrix(self.genes, columns).step(self.genes * columns)
    }

    /// The sums of a cell, features by columns, one matrix per head.
    fn sums<'a>(&self, memory: &'a Memory, cell: usize, columns: usize) -> Matrix<'a> {
        let size = self.m * columns;
        memory.matrix(self.m, columns).starting(cell * self.layout.heads * size).step(size)
    }

    fn projection(&self) -> Matrix<'_> {
        self.features.memory().matrix(self.m, self.d)
    }

    fn multiply(&self, product: Product) {
        self.card.multiply(product.batch(self.layout.heads));
    }

    /// e = c u·P of a cell.
    fn project(&self, e: &Memory, u: &Tensor, cell: usize) {
        let u = self.of_cell(u.memory(), cell);
        let product = Product::new(self.by_head(e, self.m), u, self.projection().turned());
        self.multiply(Product { factor: self.root(), ..product });
    }

    /// du += c Pᵀ t of a cell.
    fn add_back(&self, du: &Memory, t: &Memory, cell: usize) {
        let product = Product::new(self.of_cell(du, cell), self.by_head(t, self.m), self.projection()).add();
        self.multiply(Product { factor: self.root(), ..product });
    }

    fn pieces(&self) -> usize {
        (self.genes * self.m).div_ceil(PIECE)
    }

    /// φ(k) of a cell. The forward pass determines M; the backward pass reuses it.
    fn keys(&self, e: &Memory, kept: &Kept, cell: usize) {
        let Layout { heads, stabiliser, .. } = self.layout;
        let k = self.inputs[1].memory();
        let (first, step) = match stabiliser {
            Stabiliser::Row => (cell * heads, 1),
            Stabiliser::Batch => (0, 0),
        };
        let sizes = [heads, self.d, self.m].map(word);
        let each = arguments![
            e,
            k.at(self.start(cell)),
            kept.most.at(first),
            self.genes,
            sizes[0],
            sizes[1],
            sizes[2],
            self.scale(),
            word(step),
        ];
        self.card.launch_rows("favor_keys", self.genes * heads, each);
    }

    /// φ(q) of a cell. In the forward pass it is divided by φ(q)·s; the divisors stay in `room`.
    fn queries(&self, room: &Room, kept: &Kept, cell: usize, divided: bool) {
        let heads = self.layout.heads;
        self.project(&room.e, &self.inputs[0], cell);
        let sizes = [heads, self.d, self.m].map(word);
        let each = arguments![
            &room.e,
            &room.per_row,
            &room.sources,
            self.inputs[0].memory().at(self.start(cell)),
            kept.s.at(cell * heads * self.m),
            self.genes,
            sizes[0],
            sizes[1],
            sizes[2],
            self.scale(),
            word(usize::from(divided)),
        ];
        self.card.launch_rows("favor_queries", self.genes * heads, each);
    }

    /// Finds the largest projection of each piece of a cell's heads.
    fn look_through(&self, e: &Memory, most: &Memory, places: &Memory, cell: usize) {
        let (heads, pieces) = (self.layout.heads, self.pieces());
        let at = cell * heads * pieces;
        let cut = [heads, pieces, PIECE].map(word);
        let each = arguments![most.at(at), places.at(at), e, self.genes * self.m, cut[0], cut[1], cut[2]];
        self.card.launch_rows("favor_most", heads * pieces, each);
    }

    fn forward(&self) -> (Memory, Kept) {
        let Attention { card, genes, d, m, layout: Layout { cells, heads, stabiliser }, .. } = self;
        let (tasks, of_cell) = (cells * heads, heads * self.pieces());
        let [_, k, v] = &self.inputs;
        let [s_matrix, s, most, sources, places, of_pieces] =
            [tasks * m * d, tasks * m, tasks, tasks, cells * of_cell, cells * of_cell]
                .map(|length| card.scratch(length));
        let kept = Kept { s_matrix, s, most, sources, places };
        let (room, ones) = (self.room(), kernels::ones(card, *genes));
        let find = |rows: usize, pieces: usize, task: usize, first: usize| {
            let (most, sources) = (kept.most.at(task), kept.sources.at(task));
            let all = arguments![most, sources, of_pieces.at(first), rows, pieces, word(first)];
            card.launch_rows("favor_most_of_pieces", rows, all);
        };
        if *stabiliser == Stabiliser::Batch {
            // M spans all cells here, so every key must be projected before the first φ.
            for cell in 0..*cells {
                self.project(&room.e, k, cell);
                self.look_through(&room.e, &of_pieces, &kept.places, cell);
            }
            find(1, cells * of_cell, 0, 0);
        }
        let out = card.scratch(cells * genes * heads * d);
        for cell in 0..*cells {
            self.project(&room.e, k, cell);
            if *stabiliser == Stabiliser::Row {
                self.look_through(&room.e, &of_pieces, &kept.places, cell);
                find(*heads, self.pieces(), cell * heads, cell * of_cell);
            }
            self.keys(&room.e, &kept, cell);
            let phi = self.by_head(&room.e, *m);
            let s_matrix = self.sums(&kept.s_matrix, cell, *d);
            self.multiply(Product::new(s_matrix, phi.turned(), self.of_cell(v.memory(), cell)));
            self.multiply(Product::new(self.sums(&kept.s, cell, 1), phi.turned(), ones.matrix(*genes, 1)));
            self.queries(&room, &kept, cell, true);
            self.multiply(Product::new(self.of_cell(&out, cell), phi, s_matrix));
        }
        (out, kept)
    }

    fn backward(&self, kept: &Kept, out: &Memory, flowing: &Memory, gradients: &mut Gradients) {
        let Attention { card, genes, d, m, layout: Layout { cells, heads, .. }, .. } = self;
        let [q, k, v] = &self.inputs;
        let [dq, dk, dv] = [q, k, v].map(|of| gradients.take_memory(of));
        let rows = genes * heads;
        let room = self.room();
        let [t, dn, dd, ds_matrix, ds, flown] =
            [rows * m, rows * d, rows, heads * m * d, heads * m, cells * rows]
                .map(|length| card.scratch(length));
        let sizes = [*heads, *d, *m].map(word);
        for cell in 0..*cells {
            let start = self.start(cell);
            // The gradients of φ(q), and from it of q; dS and ds.
            self.queries(&room, kept, cell, false);
            let divide = arguments![
                &dn,
                &dd,
                &room.per_row,
                out.at(start),
                flowing.at(start),
                *genes,
                sizes[0],
                sizes[1],
            ];
            card.launch_rows("favor_divide", rows, divide);
            let (phi, by_d) = (self.by_head(&room.e, *m), self.by_head(&dn, *d));
            let (sums, one) = (self.sums(&ds_matrix, 0, *d), self.sums(&ds, 0, 1));
            self.multiply(Product::new(sums, phi.turned(), by_d));
            self.multiply(Product::new(one, phi.turned(), self.by_head(&dd, 1)));
            let s_matrix = self.sums(&kept.s_matrix, cell, *d);
            self.multiply(Product::new(self.by_head(&t, *m), by_d, s_matrix.turned()));
            let s = kept.s.at(cell * heads * m);
            let through = arguments![
                &t,
                dq.at(start),
                &room.e,
                q.memory().at(start),
                s,
                &dd,
                &room.sources,
                *genes,
                sizes[0],
                sizes[1],
                sizes[2],
                self.scale(),
            ];
            card.launch_rows("favor_queries_back", rows, through);
            self.add_back(&dq, &t, cell);
            // The gradients of φ(k) and v, and from them of k.
            self.project(&room.e, k, cell);
            self.keys(&room.e, kept, cell);
            self.multiply(Product::new(self.of_cell(&dv, cell), phi, sums).add());
            let values = self.of_cell(v.memory(), cell);
            self.multiply(Product::new(self.by_head(&t, *m), values, sums.turned()));
            let through = arguments![
                &t,
                flown.at(cell * rows),
                dk.at(start),
                &room.e,
                k.memory().at(start),
                &ds,
                *genes,
                sizes[0],
                sizes[1],
                sizes[2],
                self.scale(),
            ];
            card.launch_rows("favor_keys_back", rows, through);
            self.add_back(&dk, &t, cell);
        }
        self.give_to_most(kept, &dk, flown);
        for (of, slope) in [q, k, v].into_iter().zip([dq, dk, dv]) {
            gradients.put_memory(of, slope);
        }
    }

    /// Adds the gradient of M to the key that M was taken from.
    fn give_to_most(&self, kept: &Kept, dk: &Memory, flown: Memory) {
        let Attention { card, genes, d, m, layout: Layout { cells, heads, stabiliser }, .. } = self;
        let (rows, of_row, flown) = match stabiliser {
            Stabiliser::Row => (cells * heads, *genes, flown),
            Stabiliser::Batch => {
                let pieces = kernels::pieces(&flown);
                (1, pieces.length(), pieces)
            }
        };
        let sizes = [*heads, *d, *m, self.pieces()].map(word);
        let each = arguments![
            dk,
            self.features.memory(),
            &flown,
            &kept.sources,
            &kept.places,
            rows,
            of_row,
            *genes,
            sizes[0],
            sizes[1],
            sizes[2],
            sizes[3],
            self.root(),
        ];
        card.launch_rows("favor_to_most", rows, each);
    }
}

//! Attention rollout (Abnar and Zuidema 2020): how much of each gene reaches each other gene through all blocks.
//!
//! R = Π (I + A) / 2 over the blocks, with A the mean of their heads' attention. FAVOR+ weighs key n for query i by
//! φ(q_i)·φ(k_n) / Σ_n φ(q_i)·φ(k_n): numbers that are positive and sum up to 1, although the model never makes the
//! matrix. So A V is what attention gives if V stands where values stand, and R is found in time that is linear in the
//! number of genes.

use super::Performer;
use std::iter::repeat_n;
use tensor::ops::favor::favor;
use tensor::ops::linear::linear;
use tensor::{tensor, values};

impl Performer {
    /// The share of each of some positions in each position of the same cell: cells times positions x sources. Arguments
    /// as for `encode`.
    pub fn rollout(&self, tokens: &[u32], cells: usize, sources: &[u32]) -> Vec<f32> {
        let (heads, width, positions) = (self.config.heads, self.config.head_width, tokens.len() / cells);
        let mut shares = vec![0.0; tokens.len() * sources.len()];
        for cell in 0..cells {
            for (column, source) in sources.iter().enumerate() {
                shares[(cell * positions + *source as usize) * sources.len() + column] = 1.0;
            }
        }
        let layout = self.layout(cells);
        let mut x = self.trunk(tokens, cells);
        for block in &self.blocks {
            let normal = block.attention_norm.forward(x.clone());
            let [queries, keys] =
                [&block.query, &block.key].map(|layer| linear(normal.clone(), layer.weight(), None));
            // As many sources at a time as a head is wide, the same ones in every head.
            for first in (0..sources.len()).step_by(width) {
                let chunk = first..sources.len().min(first + width);
                let mut stand_in = vec![0.0; tokens.len() * heads * width];
                let rows = stand_in
                    .chunks_mut(width)
                    .zip(shares.chunks(sources.len()).flat_map(|row| repeat_n(row, heads)));
                rows.for_each(|(of_head, row)| of_head[..chunk.len()].copy_from_slice(&row[chunk.clone()]));
                let stand_in = tensor(self.device(), stand_in, tokens.len(), heads * width);
                let attended = favor(queries.clone(), keys.clone(), stand_in, &block.features, layout);
                let attended = values(&attended).chunks(heads * width);
                for (row, attended) in shares.chunks_mut(sources.len()).zip(attended) {
                    for (column, share) in row[chunk.clone()].iter_mut().enumerate() {
                        let of_heads: f32 = attended.iter().skip(column).step_by(width).sum();
                        *share = (*share + of_heads / heads as f32) / 2.0;
                    }
                }
            }
            x = block.forward(x, layout);
        }
        shares
    }
}

#[cfg(test)]
mod tests {
    use super::Performer;
    use crate::model::performer::{Config, Tables};
    use tensor::ops::favor::favor;
    use tensor::ops::linear::linear;
    use tensor::testing::{difference, normal};
    use tensor::{device, tensor, values};

    const POSITIONS: usize = 20;

    fn small(depth: usize, heads: usize) -> Performer {
        let config = Config { width: 16, depth, heads, head_width: 8, ..Config::default() };
        Performer::new(&device(), config, Tables { tokens: 7, positions: POSITIONS }, 1)
    }

    fn tokens() -> Vec<u32> {
        (0..2 * POSITIONS as u32).map(|at| at * at % 6).collect()
    }

    #[test]
    fn shares_of_one_head_give_what_its_attention_gives() {
        let model = small(1, 1);
        let all: Vec<u32> = (0..POSITIONS as u32).collect();
        let shares = model.rollout(&tokens(), 2, &all);
        let block = &model.blocks[0];
        let normed = block.attention_norm.forward(model.trunk(&tokens(), 2));
        let [q, k] = [&block.query, &block.key].map(|layer| linear(normed.clone(), layer.weight(), None));
        let v = normal(2 * POSITIONS * 8, 0);
        let expected =
            favor(q, k, tensor(&device(), v.clone(), 2 * POSITIONS, 8), &block.features, model.layout(2));
        let mut found = vec![0.0; v.len()];
        for (row, shares) in shares.chunks(POSITIONS).enumerate() {
            let first = row / POSITIONS * POSITIONS;
            for (source, share) in shares.iter().enumerate() {
                let attention = 2.0 * share - f32::from(u8::from(first + source == row));
                for column in 0..8 {
                    found[row * 8 + column] += attention * v[(first + source) * 8 + column];
                }
            }
        }
        // Sums of 20 products in another order.
        assert!(difference(values(&expected), &found) < 1e-5);
    }

    #[test]
    fn shares_sum_up_to_1_and_neither_batch_mates_nor_other_sources_change_them() {
        let model = small(3, 2);
        let all: Vec<u32> = (0..POSITIONS as u32).collect();
        let shares = model.rollout(&tokens(), 2, &all);
        assert!(shares.iter().all(|share| *share > 0.0));
        for of_gene in shares.chunks(POSITIONS) {
            assert!((of_gene.iter().sum::<f32>() - 1.0).abs() < 1e-5, "{of_gene:?}");
        }
        let alone = model.rollout(&tokens()[POSITIONS..], 1, &[17, 3]);
        let expected = shares[POSITIONS * POSITIONS..].chunks(POSITIONS).flat_map(|row| [row[17], row[3]]);
        assert_eq!(alone, expected.collect::<Vec<_>>());
    }
}

//! A random network with hubs, and cells at its noisy steady state.
//!
//! Modelled on SERGIO (Dibaeinia and Sinha 2020): master regulators are produced at a rate that depends on the cell
//! type, every other gene at a rate that is a sum of Hill functions of its regulators; a chemical Langevin equation
//! adds the noise of production and decay.

use super::{Labels, Simulated};
use anyhow::Result;
use contract::bounds::{WIDEST, within};
use contract::stage::{Io, Mistake, Stopped};
use data::network::Network;
use data::random::Random;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Random streams below the seed; those of cells are the cells' numbers.
const NETWORK_STREAM: u64 = 1 << 42;
/// The share of the TFs that have no regulators.
const MASTERS: f64 = 0.25;
/// The decay rate of SERGIO's examples, which sets the unit of time.
const DECAY: f64 = 0.8;
const STEP: f64 = 0.1;
/// Six times the mean lifetime of a molecule, by which time the noise has reached its steady state.
const STEPS: usize = 75;
/// The standard deviation of a master's log rate among the cells of one type, so that cells of a type also differ.
const RATE_SPREAD: f64 = 0.4;

/// A random network with hubs.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ScaleFree {
    /// The number of genes, including TFs.
    genes: usize,
    /// The number of genes that regulate others.
    tfs: usize,
    /// The number of cell types; each has its own rates of the master regulators.
    types: usize,
    /// The mean number of regulators per gene.
    regulators: f64,
    /// The share of edges that activate; the others repress.
    activation: f64,
}

impl Default for ScaleFree {
    fn default() -> ScaleFree {
        ScaleFree { genes: 400, tfs: 40, types: 5, regulators: 2.0, activation: 0.7 }
    }
}

/// A regulator of a gene.
struct Edge {
    tf: usize,
    /// Positive if it activates.
    strength: f64,
    /// The expression at which it has half of its maximal effect.
    half: f64,
}

impl Edge {
    /// The production rate that it causes, with a Hill coefficient of 2 as in SERGIO.
    fn production(&self, expression: &[f64]) -> f64 {
        let square = expression[self.tf] * expression[self.tf];
        let hill = square / (self.half * self.half + square);
        if self.strength > 0.0 { self.strength * hill } else { -self.strength * (1.0 - hill) }
    }
}

/// Edges by target; a regulator always comes before its targets.
struct Wiring {
    masters: usize,
    edges: Vec<Vec<Edge>>,
}

impl ScaleFree {
    /// Draws the network, then simulates the cells.
    pub fn simulate(&self, cells: usize, noise: f64, seed: u64, io: &Io) -> Result<Simulated> {
        let mut random = Random::new(seed, NETWORK_STREAM);
        let mut wiring = self.wire(&mut random);
        let rates: Vec<Vec<f64>> =
            (0..self.types).map(|_| master_rates(wiring.masters, &mut random)).collect();
        wiring.centre(&rates);
        let names = self.names();
        io.note(format!("simulating {cells} cells of {} genes", self.genes));
        let cell = |cell: usize| {
            io.check_stop()?;
            let mut random = Random::new(seed, cell as u64);
            let rates = &rates[cell * self.types / cells];
            let own = rates
                .iter()
                .map(|rate| rate * libm::exp(RATE_SPREAD * random.normal()))
                .collect::<Vec<f64>>();
            Ok(wiring.noisy_steady_state(&own, noise, &mut random))
        };
        let expression = (0..cells).into_par_iter().map(cell).collect::<Result<Vec<Vec<f64>>, Stopped>>()?;
        let types = (0..cells).map(|cell| format!("type{}", cell * self.types / cells + 1)).collect();
        let network = wiring.network(&names);
        Ok(Simulated { genes: names, network, cells: expression, labels: Labels::Types(types) })
    }

    /// The number of genes.
    pub fn genes(&self) -> usize {
        self.genes
    }

    /// Rejects invalid settings.
    pub fn check(&self) -> Result<(), Mistake> {
        within("network.scale_free.genes", self.genes, 3..=1_000_000)?;
        if !(2..self.genes).contains(&self.tfs) {
            let message = format!(
                "`network.scale_free.tfs` must be at least 2 and below `genes`, which is {}, not {}",
                self.genes, self.tfs
            );
            return Err(Mistake::param("network.scale_free.tfs", message));
        }
        within("network.scale_free.types", self.types, 1..=WIDEST)?;
        within("network.scale_free.regulators", self.regulators, 1.0..=20.0)?;
        within("network.scale_free.activation", self.activation, 0.0..=1.0)
    }

    fn names(&self) -> Vec<String> {
        let width = self.genes.to_string().len();
        let name = |gene| format!("{}{:0width$}", if gene < self.tfs { "TF" } else { "G" }, gene + 1);
        (0..self.genes).map(name).collect()
    }

    /// Each gene chooses its regulators among the TFs before it, preferring those chosen more often: the number of
    /// targets then follows a power law (Barabási and Albert 1999).
    fn wire(&self, random: &mut Random) -> Wiring {
        let masters = ((self.tfs as f64 * MASTERS) as usize).max(1);
        let mut targets = vec![1.0; self.tfs];
        let mut edges: Vec<Vec<Edge>> = (0..masters).map(|_| Vec::new()).collect();
        for gene in masters..self.genes {
            let candidates = gene.min(self.tfs);
            let wanted = (1 + random.poisson(self.regulators - 1.0) as usize).min(candidates);
            let mut chosen: Vec<usize> = Vec::with_capacity(wanted);
            while chosen.len() < wanted {
                let tf = weighted(&targets[..candidates], random);
                if !chosen.contains(&tf) {
                    chosen.push(tf);
                    targets[tf] += 1.0;
                }
            }
            chosen.sort_unstable();
            let edge = |tf| {
                let sign = if random.unit() < self.activation { 1.0 } else { -1.0 };
                Edge { tf, strength: sign * random.between(1.0, 5.0), half: 1.0 }
            };
            edges.push(chosen.into_iter().map(edge).collect());
        }
        Wiring { masters, edges }
    }
}

/// Draws an index with probability proportional to its weight. Prereq: `weights` is not empty.
fn weighted(weights: &[f64], random: &mut Random) -> usize {
    let mut left = random.unit() * weights.iter().sum::<f64>();
    let fits = |weight: &f64| {
        left -= weight;
        left < 0.0
    };
    weights.iter().position(fits).unwrap_or(weights.len() - 1)
}

/// In each cell type a master is either low or high (SERGIO's ranges, twice as far apart).
fn master_rates(masters: usize, random: &mut Random) -> Vec<f64> {
    let rate = |_| if random.unit() < 0.5 { random.between(0.3, 1.0) } else { random.between(2.0, 4.0) };
    (0..masters).map(rate).collect()
}

impl Wiring {
    /// Sets each edge's half-effect level to its regulator's mean over the cell types, so that no edge is always on or
    /// off.
    fn centre(&mut self, rates: &[Vec<f64>]) {
        let mut means: Vec<f64> = Vec::with_capacity(self.edges.len());
        let mut states: Vec<Vec<f64>> = vec![Vec::with_capacity(self.edges.len()); rates.len()];
        for gene in 0..self.edges.len() {
            for edge in &mut self.edges[gene] {
                edge.half = means[edge.tf];
            }
            for (state, rates) in states.iter_mut().zip(rates) {
                state.push(self.production(gene, rates, state) / DECAY);
            }
            means.push(states.iter().map(|state| state[gene]).sum::<f64>() / rates.len() as f64);
        }
    }

    fn production(&self, gene: usize, rates: &[f64], expression: &[f64]) -> f64 {
        match rates.get(gene) {
            Some(rate) => *rate,
            None => self.edges[gene].iter().map(|edge| edge.production(expression)).sum(),
        }
    }

    /// dx = (P - λx) dt + q sqrt((P + λx) dt) N(0, 1), starting from the steady state without noise.
    fn noisy_steady_state(&self, rates: &[f64], noise: f64, random: &mut Random) -> Vec<f64> {
        let mut expression: Vec<f64> = Vec::with_capacity(self.edges.len());
        for gene in 0..self.edges.len() {
            expression.push(self.production(gene, rates, &expression) / DECAY);
        }
        let scale = noise * libm::sqrt(STEP);
        for _ in 0..STEPS {
            // Targets first, so that each step uses its regulators' values of the step before.
            for gene in (0..self.edges.len()).rev() {
                let production = self.production(gene, rates, &expression);
                let decay = DECAY * expression[gene];
                let change =
                    (production - decay) * STEP + scale * libm::sqrt(production + decay) * random.normal();
                expression[gene] = (expression[gene] + change).max(0.0);
            }
        }
        expression
    }

    fn network(&self, names: &[String]) -> Network {
        let mut network = Network::default();
        for (gene, edges) in self.edges.iter().enumerate() {
            for edge in edges {
                network.add(&names[edge.tf], &names[gene], if edge.strength > 0.0 { 1 } else { -1 });
            }
        }
        network
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_tfs_have_most_targets() {
        let wiring = ScaleFree::default().wire(&mut Random::new(0, NETWORK_STREAM));
        let mut targets = vec![0; 40];
        wiring.edges.iter().flatten().for_each(|edge| targets[edge.tf] += 1);
        targets.sort_unstable_by(|a, b| b.cmp(a));
        let total: usize = targets.iter().sum();
        assert!(targets[..8].iter().sum::<usize>() * 2 > total, "{targets:?}");
    }

    #[test]
    fn without_noise_a_cell_stays_at_its_steady_state() {
        let mut random = Random::new(0, NETWORK_STREAM);
        let mut wiring = ScaleFree::default().wire(&mut random);
        let rates = master_rates(wiring.masters, &mut random);
        wiring.centre(std::slice::from_ref(&rates));
        let state = wiring.noisy_steady_state(&rates, 0.0, &mut random);
        for gene in 0..state.len() {
            let balance = wiring.production(gene, &rates, &state) - DECAY * state[gene];
            assert!(balance.abs() < 1e-9, "{gene}: {balance}");
        }
    }
}

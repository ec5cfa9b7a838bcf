//! BEELINE's curated models: from Boolean rules to cells along trajectories.
//!
//! Modelled on BoolODE (Pratapa et al. 2020): a gene is transcribed at a rate proportional to the probability that its
//! rule holds, each regulator being on with a probability given by a Hill function of its protein. mRNA and protein
//! follow stochastic differential equations. A cell is a trajectory's mRNA at a random time.

use super::boolean::Rule;
use super::{Labels, Simulated};
use anyhow::{Context, Result};
use contract::stage::{Io, Stopped};
use data::network::Network;
use data::random::Random;
use rayon::prelude::*;

/// BoolODE's kinetics: a gene that is fully on reaches 2 units of mRNA and 20 of protein.
const TRANSCRIPTION: f64 = 20.0;
const MRNA_DECAY: f64 = 10.0;
const TRANSLATION: f64 = 10.0;
const PROTEIN_DECAY: f64 = 1.0;
const FULL_MRNA: f64 = 2.0;
const HALF_PROTEIN: f64 = 10.0;
const HILL: i32 = 10;
const STEP: f64 = 0.01;
/// The initial level of a gene that does not start on.
const TRACE: f64 = 0.01;
const CELLS_PER_TRAJECTORY: usize = 10;

/// A published model.
pub struct Model {
    /// Genes with their rules.
    rules: &'static [(&'static str, &'static str)],
    /// The genes that are on at the start. If there are none, the model defines no initial state, and all genes start
    /// half on.
    on_at_start: &'static [&'static str],
    /// The duration of a trajectory, long enough to reach its end state.
    time: f64,
}

impl Model {
    /// Gonadal sex determination: from the bipotential gonad to Sertoli or granulosa cells.
    pub fn gsd() -> Model {
        Model { rules: GSD, on_at_start: &["UGR"], time: 8.0 }
    }

    /// Haematopoietic stem cells: to erythrocytes, megakaryocytes, monocytes or granulocytes.
    pub fn hsc() -> Model {
        Model { rules: HSC, on_at_start: &["Cebpa", "Pu1", "Gata2"], time: 8.0 }
    }

    /// Ventral spinal cord: five types of neural progenitors.
    pub fn vsc() -> Model {
        Model { rules: VSC, on_at_start: &[], time: 5.0 }
    }

    /// Mammalian cortical area development: anterior or posterior.
    pub fn mcad() -> Model {
        Model { rules: MCAD, on_at_start: &["Fgf8"], time: 5.0 }
    }

    /// Makes the cells.
    pub fn simulate(&self, cells: usize, noise: f64, seed: u64, io: &Io) -> Result<Simulated> {
        let dynamics =
            Dynamics { genes: self.read()?, start: self.start(), noise, steps: (self.time / STEP) as usize };
        let trajectories = cells.div_ceil(CELLS_PER_TRAJECTORY);
        let run = |trajectory: usize| {
            io.check_stop()?;
            let wanted = CELLS_PER_TRAJECTORY.min(cells - trajectory * CELLS_PER_TRAJECTORY);
            Ok(dynamics.run(wanted, &mut Random::new(seed, trajectory as u64)))
        };
        let sampled = (0..trajectories).into_par_iter().map(run).collect::<Result<Vec<_>, Stopped>>()?;
        let (times, cells) = sampled.into_iter().flatten().unzip();
        let genes = self.names().into_iter().map(str::to_owned).collect();
        Ok(Simulated { genes, network: self.network()?, cells, labels: Labels::Times(times) })
    }

    fn names(&self) -> Vec<&'static str> {
        self.rules.iter().map(|(gene, _)| *gene).collect()
    }

    fn parse(&self) -> Result<Vec<Rule>> {
        let names = self.names();
        let parse = |(gene, rule): &(&str, &str)| {
            Rule::parse(rule, &names).with_context(|| format!("rule of {gene}"))
        };
        self.rules.iter().map(parse).collect()
    }

    fn read(&self) -> Result<Vec<Gene>> {
        Ok(self.parse()?.iter().map(Gene::new).collect())
    }

    fn start(&self) -> Vec<f64> {
        let on = |gene: &str| if self.on_at_start.contains(&gene) { FULL_MRNA } else { TRACE };
        self.rules
            .iter()
            .map(|(gene, _)| if self.on_at_start.is_empty() { FULL_MRNA / 2.0 } else { on(gene) })
            .collect()
    }

    fn network(&self) -> Result<Network> {
        let names = self.names();
        let mut network = Network::default();
        for (target, rule) in names.iter().zip(self.parse()?) {
            for (tf, sign) in rule.regulators() {
                network.add(names[tf], target, sign);
            }
        }
        Ok(network)
    }
}

/// A gene's rule as a truth table over its regulators.
struct Gene {
    regulators: Vec<usize>,
    /// 1 if the rule holds for a set of regulators; bit i of the index is the i-th regulator.
    truth: Vec<f64>,
}

impl Gene {
    fn new(rule: &Rule) -> Gene {
        let mut regulators: Vec<usize> = rule.regulators().into_iter().map(|(gene, _)| gene).collect();
        regulators.dedup();
        let holds = |set: usize| {
            let on = |gene| {
                regulators.iter().position(|regulator| *regulator == gene).is_some_and(|i| set >> i & 1 == 1)
            };
            if rule.holds(&on) { 1.0 } else { 0.0 }
        };
        let truth = (0..1 << regulators.len()).map(holds).collect();
        Gene { regulators, truth }
    }

    /// The probability that the rule holds if the regulators are independently on with these probabilities.
    fn activity(&self, on: &[f64], scratch: &mut Vec<f64>) -> f64 {
        scratch.clear();
        scratch.extend_from_slice(&self.truth);
        for regulator in self.regulators.iter().rev() {
            let half = scratch.len() / 2;
            let share = on[*regulator];
            for set in 0..half {
                scratch[set] += share * (scratch[half + set] - scratch[set]);
            }
            scratch.truncate(half);
        }
        scratch[0]
    }
}

struct Dynamics {
    genes: Vec<Gene>,
    start: Vec<f64>,
    noise: f64,
    steps: usize,
}

impl Dynamics {
    /// Simulates one trajectory; returns the cells sampled from it, each with its time.
    fn run(&self, wanted: usize, random: &mut Random) -> Vec<(f64, Vec<f64>)> {
        let mut moments: Vec<usize> = (0..wanted).map(|_| random.below(self.steps)).collect();
        moments.sort_unstable();
        let mut mrna = self.start.clone();
        let mut protein: Vec<f64> = mrna.iter().map(|mrna| mrna * TRANSLATION / PROTEIN_DECAY).collect();
        let mut on = vec![0.0; mrna.len()];
        let mut scratch = Vec::new();
        let mut taken = Vec::with_capacity(wanted);
        let noise = self.noise * libm::sqrt(STEP);
        for step in 0..self.steps {
            while moments.get(taken.len()) == Some(&step) {
                taken.push((step as f64 * STEP, mrna.clone()));
            }
            for (on, protein) in on.iter_mut().zip(&protein) {
                let ratio = (protein / HALF_PROTEIN).powi(HILL);
                *on = ratio / (1.0 + ratio);
            }
            for (gene, rule) in self.genes.iter().enumerate() {
                let made = TRANSCRIPTION * rule.activity(&on, &mut scratch);
                let change = (made - MRNA_DECAY * mrna[gene]) * STEP
                    + noise * libm::sqrt(mrna[gene]) * random.normal();
                let protein_change = (TRANSLATION * mrna[gene] - PROTEIN_DECAY * protein[gene]) * STEP
                    + noise * libm::sqrt(protein[gene]) * random.normal();
                mrna[gene] = (mrna[gene] + change).max(0.0);
                protein[gene] = (protein[gene] + protein_change).max(0.0);
            }
        }
        taken
    }
}

/// Ríos et al. 2015, BMC Systems Biology 9:89, as BEELINE writes it.
const GSD: &[(&str, &str)] = &[
    ("UGR", "UGR and not (NR5A1 or WNT4)"),
    ("CBX2", "UGR and not (NR0B1 and WNT4 and CTNNB1)"),
    ("GATA4", "UGR or WNT4 or NR5A1 or SRY"),
    ("WT1mKTS", "UGR or GATA4"),
    ("WT1pKTS", "(UGR or GATA4) and not (WNT4 and CTNNB1)"),
    ("NR5A1", "(UGR or CBX2 or WT1mKTS or GATA4) and not (NR0B1 and WNT4)"),
    ("NR0B1", "(WT1mKTS or (WNT4 and CTNNB1)) and not (NR5A1 and SOX9)"),
    (
        "SRY",
        "((NR5A1 and WT1mKTS and CBX2) or (GATA4 and WT1pKTS and CBX2 and NR5A1) or SOX9 or SRY) and not CTNNB1",
    ),
    (
        "SOX9",
        "((SOX9 and FGF9) or SRY or PGD2 or (SRY and CBX2) or (GATA4 and NR5A1 and SRY)) \
         and not (WNT4 or CTNNB1 or FOXL2)",
    ),
    ("FGF9", "SOX9 and not WNT4"),
    ("PGD2", "SOX9"),
    ("DMRT1", "(SRY or SOX9) and not FOXL2"),
    ("DHH", "SOX9"),
    ("DKK1", "SRY or SOX9"),
    (
        "AMH",
        "((SOX9 and GATA4 and NR5A1) or (SOX9 and NR5A1 and GATA4 and WT1mKTS)) and not (NR0B1 and CTNNB1)",
    ),
    ("WNT4", "(GATA4 or CTNNB1 or RSPO1 or NR0B1) and not (FGF9 or DKK1)"),
    ("RSPO1", "(WNT4 or CTNNB1) and not DKK1"),
    ("FOXL2", "WNT4 and CTNNB1 and not (DMRT1 or SOX9)"),
    ("CTNNB1", "(WNT4 or RSPO1) and not (SRY or (SOX9 and AMH))"),
];

/// Krumsiek et al. 2011, PLoS ONE 6:e22649.
const HSC: &[(&str, &str)] = &[
    ("Gata2", "Gata2 and not (Pu1 or (Gata1 and Fog1))"),
    ("Gata1", "(Gata1 or Gata2 or Fli1) and not Pu1"),
    ("Fog1", "Gata1"),
    ("Eklf", "Gata1 and not Fli1"),
    ("Fli1", "Gata1 and not Eklf"),
    ("Scl", "Gata1 and not Pu1"),
    ("Cebpa", "Cebpa and not (Scl or (Fog1 and Gata1))"),
    ("Pu1", "(Cebpa or Pu1) and not (Gata1 or Gata2)"),
    ("cJun", "Pu1 and not Gfi1"),
    ("EgrNab", "Pu1 and cJun and not Gfi1"),
    ("Gfi1", "Cebpa and not EgrNab"),
];

/// Lovrics et al. 2014, PLoS ONE 9:e111430.
const VSC: &[(&str, &str)] = &[
    ("Nkx61", "not Dbx2"),
    ("Nkx62", "not (Nkx61 or Dbx1)"),
    ("Nkx22", "not (Pax6 or Dbx2)"),
    ("Pax6", "not Nkx22"),
    ("Dbx1", "not (Nkx62 or Nkx61)"),
    ("Dbx2", "not (Nkx61 or Olig2 or Nkx22)"),
    ("Olig2", "not (Irx3 or Nkx22)"),
    ("Irx3", "not (Olig2 or Nkx22)"),
];

/// Giacomantonio and Goodhill 2010, PLoS Computational Biology 6:e1000936, as BEELINE writes it.
const MCAD: &[(&str, &str)] = &[
    ("Fgf8", "Fgf8 and Sp8 and not Emx2"),
    ("Emx2", "Coup and not Fgf8 and not Pax6 and not Sp8"),
    ("Pax6", "Sp8 and not Emx2 and not Coup"),
    ("Coup", "not Fgf8 and not Sp8"),
    ("Sp8", "Fgf8 and not Emx2"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_of_every_model_can_be_read() {
        // Edges without self-loops and duplicates, as counted in BEELINE's reference networks.
        let models = [(Model::gsd(), 76), (Model::hsc(), 26), (Model::vsc(), 15), (Model::mcad(), 13)];
        for (model, edges) in models {
            assert_eq!(model.network().unwrap().len(), edges);
        }
    }

    #[test]
    fn activity_is_the_probability_that_the_rule_holds() {
        let rule = Rule::parse("a and not b", &["a", "b"]).unwrap();
        let activity = Gene::new(&rule).activity(&[0.5, 0.2], &mut Vec::new());
        assert!((activity - 0.4).abs() < 1e-12);
    }

    #[test]
    fn the_gonad_becomes_one_of_two_tissues() {
        let model = Model::gsd();
        let dynamics =
            Dynamics { genes: model.read().unwrap(), start: model.start(), noise: 1.0, steps: 800 };
        let names = model.names();
        let index = |gene| names.iter().position(|name| *name == gene).unwrap();
        let (mut testis, mut ovary) = (0, 0);
        for trajectory in 0..40 {
            let mut dynamics_end = dynamics.run(400, &mut Random::new(3, trajectory));
            let (_, end) = dynamics_end.pop().unwrap();
            let (sox9, foxl2) = (end[index("SOX9")] > 1.0, end[index("FOXL2")] > 1.0);
            assert!(!(sox9 && foxl2));
            testis += usize::from(sox9);
            ovary += usize::from(foxl2);
        }
        assert!(testis > 3 && ovary > 3, "{testis} testis, {ovary} ovary");
    }
}

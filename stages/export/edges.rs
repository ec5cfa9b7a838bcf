//! Exports scored pairs as edge lists and as a graph.

use anyhow::{Result, bail};
use contract::disk;
use contract::stage::Io;
use data::scores::{self, Score};
use std::collections::BTreeSet;

/// `rankedEdges.csv`, which is separated by tabs despite its name.
pub fn beeline(io: &Io, top: Option<usize>) -> Result<()> {
    table(io, top, "rankedEdges.csv", "Gene1\tGene2\tEdgeWeight\n", '\t')
}

/// `adjacencies.csv`.
pub fn pyscenic(io: &Io, top: Option<usize>) -> Result<()> {
    table(io, top, "adjacencies.csv", "TF,target,importance\n", ',')
}

fn table(io: &Io, top: Option<usize>, name: &str, header: &str, separator: char) -> Result<()> {
    let mut text = header.to_owned();
    for Score { tf, target, score } in ranked(io, top)? {
        for gene in [&tf, &target] {
            if gene.contains([separator, '"', '\n']) {
                bail!("the gene `{}` cannot stand in {name}", gene.escape_debug());
            }
        }
        text.push_str(&format!("{tf}{separator}{target}{separator}{score}\n"));
    }
    Ok(disk::write(&io.out(name), text.as_bytes())?)
}

/// `network.graphml`: nodes by name, edges with `weight` (positive) and `sign`.
pub fn graphml(io: &Io, top: Option<usize>) -> Result<()> {
    let scores = ranked(io, top)?;
    let mut text = String::from(concat!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n",
        "<graphml xmlns=\"http://graphml.graphdrawing.org/xmlns\">\n",
        "  <key id=\"tf\" for=\"node\" attr.name=\"tf\" attr.type=\"boolean\"/>\n",
        "  <key id=\"weight\" for=\"edge\" attr.name=\"weight\" attr.type=\"double\"/>\n",
        "  <key id=\"sign\" for=\"edge\" attr.name=\"sign\" attr.type=\"int\"/>\n",
        "  <graph id=\"network\" edgedefault=\"directed\">\n",
    ));
    let tfs: BTreeSet<&str> = scores.iter().map(|score| score.tf.as_str()).collect();
    let nodes: BTreeSet<&str> =
        scores.iter().map(|score| score.target.as_str()).chain(tfs.iter().copied()).collect();
    for node in nodes {
        let is_tf = tfs.contains(node);
        text.push_str(&format!(
            "    <node id=\"{}\"><data key=\"tf\">{is_tf}</data></node>\n",
            escaped(node)
        ));
    }
    for Score { tf, target, score } in &scores {
        let (weight, sign) = (score.abs(), if *score < 0.0 { -1 } else { 1 });
        text.push_str(&format!(
            "    <edge source=\"{}\" target=\"{}\"><data key=\"weight\">{weight}</data><data key=\"sign\">{sign}</data></edge>\n",
            escaped(tf),
            escaped(target)
        ));
    }
    text.push_str("  </graph>\n</graphml>\n");
    Ok(disk::write(&io.out("network.graphml"), text.as_bytes())?)
}

fn escaped(name: &str) -> String {
    name.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn ranked(io: &Io, top: Option<usize>) -> Result<Vec<Score>> {
    let mut scores = scores::read(&io.input("scores")?.join(scores::FILE))?;
    scores::rank(&mut scores);
    scores.truncate(top.unwrap_or(usize::MAX));
    if scores.is_empty() {
        bail!("there are no scores to export");
    }
    Ok(scores)
}

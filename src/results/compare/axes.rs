//! Decides which axis gives the rows, which are averaged over and which give separate tables; places each step on them.

use super::judging::{Judged, Missing};
use super::{Point, Request, STAGE, VARIANT};
use engine::complaint::{known, word};
use engine::error::{Error, Result};
use engine::graph::{Compare, Graph};
use indexmap::IndexSet;
use petgraph::graph::NodeIndex;
use std::collections::HashMap;

/// The role of each axis.
pub struct Axes {
    /// The axis whose values are the rows.
    pub rows: String,
    /// The axes that each row is averaged over.
    pub over: Vec<String>,
    /// The axes that give a separate table for each combination of their values.
    pub block: Vec<String>,
    filters: Vec<(String, Vec<String>)>,
}

/// The value of each axis that a step has.
pub type Place<'g> = HashMap<&'g str, &'g str>;

/// A step within a row.
#[derive(Clone)]
pub struct Use<'j> {
    /// The step.
    pub node: NodeIndex,
    /// Its metrics, if it has an artifact.
    pub judged: Option<&'j Judged>,
    /// Its values of the axes that are averaged over.
    pub point: Point,
}

impl Axes {
    /// Assigns roles to the axes of all evaluating steps, following the pipeline file and the command line.
    pub fn of(
        graph: &Graph,
        judged: &[Judged],
        missing: &[Missing],
        settings: &Compare,
        request: &Request,
    ) -> Result<Axes> {
        let nodes =
            || judged.iter().map(|judged| judged.node).chain(missing.iter().map(|missing| missing.node));
        let stages: IndexSet<&str> = nodes().map(|node| graph.steps[node].stage.as_str()).collect();
        let mut axes: IndexSet<&str> = IndexSet::new();
        if stages.len() > 1 {
            axes.insert(STAGE);
        }
        if !graph.variants.is_empty() {
            axes.insert(VARIANT);
        }
        axes.extend(nodes().flat_map(|node| graph.steps[node].axes.iter().map(|(axis, _)| axis.as_str())));
        let look_up = |flag: &str, name: &str| match axes.contains(name) {
            true => Ok(()),
            false => {
                let hint = known(name, "axes", axes.iter().copied());
                Err(Error::Usage(format!("{flag}: there is no axis {}; {hint}", word(name))))
            }
        };
        for (axis, values) in &request.filters {
            if axis == STAGE && stages.len() == 1 {
                continue;
            }
            look_up("--where", axis)?;
            let labels = |node: NodeIndex| -> Vec<&str> { Axes::values(graph, node, axis) };
            let there: IndexSet<&str> = nodes().flat_map(labels).collect();
            if let Some(unknown) = values.iter().find(|value| !there.contains(value.as_str())) {
                let hint = known(unknown, &format!("values of `{axis}`"), there.iter().copied());
                return Err(Error::Usage(format!(
                    "--where: `{axis}` has no value {}; {hint}",
                    word(unknown)
                )));
            }
        }
        let over: Vec<String> =
            settings.over.iter().filter(|axis| axes.contains(axis.as_str())).cloned().collect();
        let rows = match &request.rows {
            Some(rows) => {
                look_up("--rows", rows)?;
                rows.clone()
            }
            None if !graph.variants.is_empty() => VARIANT.to_owned(),
            None => {
                let free = axes.iter().find(|axis| !over.iter().any(|over| over == *axis));
                free.map_or_else(|| STAGE.to_owned(), |axis| (*axis).to_owned())
            }
        };
        let over: Vec<String> = over.into_iter().filter(|axis| *axis != rows).collect();
        let block = axes.iter().filter(|axis| **axis != rows && !over.iter().any(|over| over == *axis));
        let block = block.map(|axis| (*axis).to_owned()).collect();
        Ok(Axes { rows, over, block, filters: request.filters.clone() })
    }

    fn values<'g>(graph: &'g Graph, node: NodeIndex, axis: &str) -> Vec<&'g str> {
        let step = &graph.steps[node];
        match axis {
            STAGE => vec![step.stage.as_str()],
            VARIANT => step.variants.iter().map(String::as_str).collect(),
            axis => {
                step.axes.iter().filter(|(name, _)| name == axis).map(|(_, label)| label.as_str()).collect()
            }
        }
    }

    /// One place for each variant that uses the step.
    pub fn places<'g>(&self, graph: &'g Graph, node: NodeIndex) -> Vec<Place<'g>> {
        let step = &graph.steps[node];
        let mut place: Place<'g> =
            step.axes.iter().map(|(axis, label)| (axis.as_str(), label.as_str())).collect();
        place.insert(STAGE, &step.stage);
        if graph.variants.is_empty() {
            return vec![place];
        }
        let with = |variant: &'g String| {
            let mut place = place.clone();
            place.insert(VARIANT, variant);
            place
        };
        step.variants.iter().map(with).collect()
    }

    /// Whether `--where` selects it.
    pub fn wanted(&self, place: &Place<'_>) -> bool {
        self.filters.iter().all(|(axis, values)| {
            place.get(axis.as_str()).is_some_and(|value| values.iter().any(|wanted| wanted == value))
        })
    }

    /// The table that it belongs to.
    pub fn block_of(&self, place: &Place<'_>) -> Vec<Option<String>> {
        self.block.iter().map(|axis| place.get(axis.as_str()).map(|value| (*value).to_owned())).collect()
    }

    /// The row that it belongs to.
    pub fn row_of(&self, place: &Place<'_>) -> String {
        place.get(self.rows.as_str()).map_or_else(|| "–".to_owned(), |value| (*value).to_owned())
    }

    /// Its point within the row.
    pub fn point_of(&self, place: &Place<'_>) -> Point {
        self.over.iter().map(|axis| place.get(axis.as_str()).map(|value| (*value).to_owned())).collect()
    }
}

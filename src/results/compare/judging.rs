//! The steps whose artifacts hold metrics, and those that should.

use crate::metrics::{self, Metric};
use engine::error::Result;
use engine::state::{State, Work};
use engine::survey::Survey;
use indexmap::IndexMap;
use petgraph::graph::NodeIndex;
use rayon::prelude::*;
use std::collections::HashSet;
use std::path::PathBuf;

/// A step that has metrics.
pub struct Judged {
    /// The step.
    pub node: NodeIndex,
    /// Its metrics by name.
    pub metrics: IndexMap<String, Metric>,
    /// The code that computed them: of the kind, and of any adopted artifact whose code differed.
    pub code: String,
    /// What it read, by slot.
    pub inputs: Vec<(String, engine::key::Digest)>,
}

/// A step that should have metrics but has none.
pub struct Missing {
    /// The step.
    pub node: NodeIndex,
    /// Why it has none.
    pub why: String,
}

/// Steps with metrics, and those that lack them.
pub struct Judging {
    /// In the order of the graph.
    pub judged: Vec<Judged>,
    /// In the order of the graph.
    pub missing: Vec<Missing>,
}

impl Judging {
    /// Reads the metrics of every artifact that has any. A step is expected to have metrics if another step of its
    /// stage has them.
    pub fn read(survey: &Survey<'_>) -> Result<Judging> {
        let graph = survey.plan.graph();
        let nodes: Vec<NodeIndex> = survey.plan.steps().collect();
        let found: Vec<Option<PathBuf>> = nodes
            .par_iter()
            .map(|node| survey.plan.state(*node).artifact().and_then(metrics::find))
            .collect();
        let stages: HashSet<&str> = nodes
            .iter()
            .zip(&found)
            .filter(|(_, path)| path.is_some())
            .map(|(node, _)| graph.steps[*node].stage.as_str())
            .collect();
        let judging: Vec<(NodeIndex, Option<PathBuf>)> = nodes
            .into_iter()
            .zip(found)
            .filter(|(node, _)| stages.contains(graph.steps[*node].stage.as_str()))
            .collect();
        let read: Vec<Result<std::result::Result<Judged, Missing>>> =
            judging.par_iter().map(|(node, path)| judge(survey, *node, path.as_ref())).collect();
        let mut result = Judging { judged: Vec::new(), missing: Vec::new() };
        for read in read {
            match read? {
                Ok(judged) => result.judged.push(judged),
                Err(missing) => result.missing.push(missing),
            }
        }
        Ok(result)
    }
}

fn judge(
    survey: &Survey<'_>,
    node: NodeIndex,
    path: Option<&PathBuf>,
) -> Result<std::result::Result<Judged, Missing>> {
    let missing = |why: String| Ok(Err(Missing { node, why }));
    let graph = survey.plan.graph();
    let artifact = match survey.plan.state(node) {
        State::Cached(artifact) | State::Computed(artifact) => artifact,
        State::Absent(hint) => return missing(format!("is absent: {hint}")),
        State::Due(Work { damage: Some(found), .. }) => return missing(format!("is damaged: {found}")),
        State::Due(_) => return missing("is not computed".to_owned()),
        _ => {
            let next = survey.waits_next(node).map(|node| graph.steps[node].name.as_str());
            return missing(format!("waits for {}", next.unwrap_or("others")));
        }
    };
    let Some(path) = path else { return missing(format!("holds none of {}", metrics::FILES.join(", "))) };
    let metrics = match metrics::read(path) {
        Ok(metrics) => metrics,
        Err(error) => return missing(format!("cannot be read: {error:#}")),
    };
    let recipe = survey.recipe(node).expect("a step with an artifact has a recipe");
    // The recipe of an adopted artifact does not describe the code that computed it.
    let adopted = artifact.manifest()?.and_then(|manifest| manifest.adopted);
    let changes = adopted.iter().flat_map(|adopted| &adopted.changes);
    let older: Vec<String> =
        changes.filter(|change| change.component == "code").map(ToString::to_string).collect();
    let mut code: Vec<String> = recipe.code.iter().map(|(name, digest)| format!("{name} {digest}")).collect();
    code.extend(older);
    Ok(Ok(Judged {
        node,
        metrics: metrics.into_iter().map(|metric| (metric.name.clone(), metric)).collect(),
        code: code.join("\n"),
        inputs: recipe.inputs.iter().map(|(slot, digest)| (slot.clone(), *digest)).collect(),
    }))
}

//! The warnings that artifacts carry, gathered from many steps.

use engine::error::Result;
use engine::graph::Graph;
use engine::survey::Survey;
use engine::text::count;
use indexmap::IndexMap;
use petgraph::graph::NodeIndex;
use serde_json::{Value, json};

/// A warning of one step or of several steps of a stage. Warnings that differ in their numbers alone, as those of
/// several seeds do, are one.
pub struct Warned {
    /// The stage.
    pub stage: String,
    /// The text, as the first step has it.
    pub text: String,
    /// The steps whose artifacts carry it, in the order of the graph.
    pub steps: Vec<NodeIndex>,
}

/// The warnings of some steps. Steps without an artifact have none.
pub fn of(survey: &Survey<'_>, nodes: impl Iterator<Item = NodeIndex>) -> Result<Vec<Warned>> {
    let graph = survey.plan.graph();
    let mut found: IndexMap<(&str, String), Warned> = IndexMap::new();
    for node in nodes {
        let artifact = survey.plan.state(node).artifact().filter(|artifact| artifact.warnings() > 0);
        let Some(manifest) = artifact.map(|artifact| artifact.manifest()).transpose()?.flatten() else {
            continue;
        };
        let stage = graph.steps[node].stage.as_str();
        for text in manifest.warnings {
            let entry = found.entry((stage, without_numbers(&text)));
            let warned = entry.or_insert_with(|| Warned { stage: stage.to_owned(), text, steps: Vec::new() });
            if warned.steps.last() != Some(&node) {
                warned.steps.push(node);
            }
        }
    }
    Ok(found.into_values().collect())
}

/// The text with every number replaced by the same sign.
fn without_numbers(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut in_number = false;
    for c in text.chars() {
        let goes_on = c.is_ascii_digit() || (in_number && c == '.');
        match (in_number, goes_on) {
            (_, false) => plain.push(c),
            (false, true) => plain.push('#'),
            (true, true) => {}
        }
        in_number = goes_on;
    }
    plain
}

impl Warned {
    /// The step, or the first of several and how many more there are.
    pub fn who(&self, graph: &Graph) -> String {
        let first = self.steps.first().map_or("", |node| graph.steps[*node].name.as_str());
        match self.steps.len() {
            0 | 1 => first.to_owned(),
            steps => format!("{first} and {}", count(steps - 1, "more step")),
        }
    }

    /// The warning for programs.
    pub fn to_json(&self, graph: &Graph) -> Value {
        let steps: Vec<&str> = self.steps.iter().map(|node| graph.steps[*node].name.as_str()).collect();
        json!({"stage": self.stage, "text": self.text, "steps": steps})
    }
}

#[cfg(test)]
mod tests {
    use super::without_numbers;

    #[test]
    fn texts_that_differ_in_their_numbers_alone_are_alike() {
        let [one, other] = ["12 of 3 genes: 0.25.", "7 of 30 genes: 1."].map(without_numbers);
        assert_eq!(one, "# of # genes: #");
        assert_eq!(other, "# of # genes: #");
        assert_ne!(without_numbers("3 genes"), without_numbers("3 cells"));
    }
}

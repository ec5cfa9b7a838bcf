//! Checks the metrics and slots that `compare` names against the steps.

use super::Step;
use crate::complaint::{Complaint, Place, known, word};
use crate::spec::Compare;
use crate::yaml;
use contract::stage::MetricNames;
use std::collections::BTreeSet;

/// Refuses metrics that no step produces, and slots that no step with metrics has.
pub fn check<'s>(
    source: &yaml::PipelineText,
    compare: &Compare,
    steps: impl Iterator<Item = &'s Step>,
) -> Result<(), Complaint> {
    // Destructured so that a new field cannot be left out; axes and variants are looked up in the file itself.
    let Compare { metrics, lower_is_better, same, over: _, baseline: _, controls: _ } = compare;
    let mut names: Vec<&str> = Vec::new();
    let mut slots: BTreeSet<&str> = BTreeSet::new();
    let mut any = false;
    for step in steps {
        let of_kind = match step.kind.metrics {
            MetricNames::These([]) => continue,
            MetricNames::These(groups) => groups,
            MetricNames::Any => {
                any = true;
                &[]
            }
        };
        names.extend(
            of_kind.iter().copied().flatten().filter(|name| !names.contains(name)).collect::<Vec<_>>(),
        );
        slots.extend(step.inputs.iter().map(|input| input.slot.as_str()));
    }
    let look_up = |field: &str, i: usize, name: &str, what: &str, names: &[&str]| {
        if names.contains(&name) {
            return Ok(());
        }
        let title = format!("there is no {what} {}", word(name));
        let place = Place::of(&["compare", field]).index(i);
        let label = if what == "metric" { "no stage can give it" } else { "no stage that judges has it" };
        Err(source.complain(&place, title, label).hint(known(
            name,
            &format!("{what}s"),
            names.iter().copied(),
        )))
    };
    if !any {
        for (field, metrics) in [("metrics", metrics), ("lower_is_better", lower_is_better)] {
            for (i, name) in metrics.iter().enumerate() {
                look_up(field, i, name, "metric", &names)?;
            }
        }
    }
    let slots: Vec<&str> = slots.into_iter().collect();
    same.iter().enumerate().try_for_each(|(i, name)| look_up("same", i, name, "slot", &slots))
}

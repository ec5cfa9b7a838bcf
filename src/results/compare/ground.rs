//! Checks which numbers may be compared or averaged.

use super::axes::Use;
use engine::complaint::{known, word};
use engine::error::{Error, Result};
use engine::graph::{Compare, Graph};
use engine::text;
use serde_json::Value;
use std::collections::HashMap;

/// Refuses a mean over numbers that were measured differently: by another kind, other code, or other params than
/// those that follow the averaged axes.
pub fn check_mean(graph: &Graph, row: &str, uses: &[Use<'_>], over: &[String]) -> Result<()> {
    let mut judges = uses.iter().filter(|used| used.judged.is_some());
    let Some(first) = judges.next() else { return Ok(()) };
    for other in judges {
        let (one, two) = (&graph.steps[first.node], &graph.steps[other.node]);
        let why = if one.kind.name != two.kind.name {
            Some(format!("the kinds {} and {} judge", one.kind.name, two.kind.name))
        } else if first.judged.map(|judged| &judged.code) != other.judged.map(|judged| &judged.code) {
            Some(
                "different code judged: one artifact was adopted; run the pipeline again with --force"
                    .to_owned(),
            )
        } else {
            let explained = |a: &Value, b: &Value| {
                let labels = first.point.iter().zip(other.point.iter());
                let pairs: Vec<_> =
                    labels.filter_map(|(one, two)| one.as_deref().zip(two.as_deref())).collect();
                follows(a, b, &pairs)
            };
            param_that_differs(&one.prepared.params, &two.prepared.params, &explained).map(|(path, a, b)| {
                format!("the param {path} of the judging stage is {a} in one and {b} in another")
            })
        };
        if let Some(why) = why {
            return Err(Error::Usage(format!(
                "the mean of {} over {} would mix what is not alike: {} and {}: {why}; take the axis out of `compare: over:`, pick with --where, or let the axis's own values stand there",
                word(row),
                over.join(", "),
                one.name,
                two.name
            )));
        }
    }
    Ok(())
}

/// Whether two values differ only by the labels of the points that they belong to.
fn follows(a: &Value, b: &Value, labels: &[(&str, &str)]) -> bool {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let (a, b) = (text(a), text(b));
    let split = |c: char| !(c.is_alphanumeric() || matches!(c, '.' | '-' | '_'));
    let (ours, theirs): (Vec<&str>, Vec<&str>) = (a.split(split).collect(), b.split(split).collect());
    let word_follows = |(ours, theirs): (&&str, &&str)| {
        ours == theirs
            || labels.iter().any(|(one, two)| !one.is_empty() && ours.replace(one, two) == **theirs)
    };
    ours.len() == theirs.len() && ours.iter().zip(&theirs).all(word_follows)
}

/// Why a row cannot be compared with the reference: at some common point they were evaluated by another kind, code or
/// params, with different content in a slot that must be the same, or over a different number of things.
pub fn apart(
    graph: &Graph,
    reference: &[Use<'_>],
    uses: &[Use<'_>],
    settings: &Compare,
) -> Result<Option<String>> {
    let by_point: HashMap<&[Option<String>], &Use<'_>> =
        reference.iter().filter(|used| used.judged.is_some()).map(|used| (&*used.point, used)).collect();
    for used in uses {
        let Some(judged) = used.judged else { continue };
        let Some((against, of)) =
            by_point.get(&*used.point).and_then(|against| Some((*against, against.judged?)))
        else {
            continue;
        };
        if used.node == against.node {
            continue;
        }
        let (one, two) = (&graph.steps[against.node], &graph.steps[used.node]);
        if one.kind.name != two.kind.name {
            return Ok(Some(format!("judged by the kind {} instead of {}", two.kind.name, one.kind.name)));
        }
        if judged.code != of.code {
            return Ok(Some("judged by another version of the metrics".to_owned()));
        }
        if let Some((path, a, b)) =
            param_that_differs(&one.prepared.params, &two.prepared.params, &|_, _| false)
        {
            let (a, b) = text::difference(&a, &b);
            return Ok(Some(format!(
                "judged with {path} = {b} instead of {a}; let a stage of its own judge, the same for every row"
            )));
        }
        for slot in &settings.same {
            let digest = |inputs: &[(String, engine::key::Digest)]| {
                inputs.iter().find(|(name, _)| name == slot).map(|(_, digest)| *digest)
            };
            let (a, b) = (digest(&of.inputs), digest(&judged.inputs));
            if a.is_none() && b.is_none() {
                let slots = judged.inputs.iter().map(|(slot, _)| slot.as_str());
                let hint = known(slot, "slots", slots);
                let title = format!("`compare: same:`: {} has no slot {}; {hint}", two.name, word(slot));
                return Err(Error::Usage(title));
            }
            if a != b {
                return Ok(Some(format!("its `{slot}` holds something else")));
            }
        }
        for (name, metric) in &judged.metrics {
            let counts = of.metrics.get(name).and_then(|other| other.count.zip(metric.count));
            if let Some((a, b)) = counts.filter(|(a, b)| a != b) {
                return Ok(Some(format!("its {name} was taken over {b} instead of {a}")));
            }
        }
    }
    Ok(None)
}

/// The first param that differs and whose difference is not explained.
fn param_that_differs(
    one: &Value,
    other: &Value,
    explained: &impl Fn(&Value, &Value) -> bool,
) -> Option<(String, String, String)> {
    let (Some(a), Some(b)) = (one.as_object(), other.as_object()) else {
        let differs = one != other && !explained(one, other);
        let shown = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        return differs.then(|| (String::new(), shown(one), shown(other)));
    };
    let names = a.keys().chain(b.keys().filter(|name| !a.contains_key(*name)));
    for name in names {
        let (one, other) = (a.get(name).unwrap_or(&Value::Null), b.get(name).unwrap_or(&Value::Null));
        if let Some((path, one, other)) = param_that_differs(one, other, explained) {
            let path = if path.is_empty() { name.clone() } else { format!("{name}.{path}") };
            return Some((path, one, other));
        }
    }
    None
}

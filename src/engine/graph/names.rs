//! Checks the names in a pipeline file, and limits how many there are.

use super::expand::size_of_map;
use crate::complaint::{Complaint, Place, known, word};
use crate::spec::{Compare, Spec};
use crate::template::is_name;
use crate::yaml;

/// The maximum number of stages times variants.
const MAX_READINGS: usize = 1_000_000;
/// The maximum size of all copies of params, in bytes: one copy for each variant that changes any.
const MAX_COPIED: usize = 256 << 20;

/// Checks the names that appear in step names and on command lines.
pub fn check(source: &yaml::PipelineText, spec: &Spec) -> Result<(), Complaint> {
    let plain = "use letters, digits, `_` and `-`, beginning with a letter or `_`";
    let refuse = |keys: &[&str], what: &str, name: &str, hint: &str| {
        let title = format!("{} cannot be the name of {what}", word(name));
        Err(source.complain(&Place::of(keys).at_key(), title, "this name").hint(hint))
    };
    if spec.name.as_ref().is_some_and(|name| name.trim().is_empty()) {
        let title = "the pipeline's name is empty";
        return Err(source
            .complain(&Place::of(&["name"]), title, "here")
            .hint("give it a name, or leave `name` out"));
    }
    if spec.stages.is_empty() {
        let complaint = source.complain(&Place::of(&["stages"]), "there are no stages", "nothing to do");
        return Err(complaint.hint("add one, as in `stages: {first: {kind: …}}`"));
    }
    if matches!(spec.matrix, Some(None)) {
        let complaint =
            source.complain(&Place::of(&["matrix"]).at_key(), "the matrix has no axes", "no axis");
        return Err(complaint.hint("give it an axis, as in `seed: [1, 2, 3]`, or leave `matrix` out"));
    }
    if let Some(name) = spec.stages.keys().find(|name| !is_name(name)) {
        return refuse(&["stages", name], "a stage", name, plain);
    }
    if let Some(name) = spec.params.iter().flat_map(|params| params.keys()).find(|name| !is_name(name)) {
        return refuse(&["params", name], "a param", name, plain);
    }
    let hidden = |name: &str| name.chars().any(char::is_control) || name.contains([',', '[', ']', '=', '/']);
    for name in spec.variants.iter().flat_map(|variants| variants.keys()) {
        if name.is_empty() || hidden(name) {
            return refuse(&["variants", name], "a variant", name, "leave `,` `[` `]` `=` and `/` out");
        }
    }
    check_compare(source, spec)?;
    let changing = spec.variants.iter().flat_map(|variants| variants.values()).flatten();
    let copies = changing.filter(|variant| variant.params.is_some()).count();
    let copied = copies.saturating_mul(spec.params.as_ref().map_or(0, size_of_map));
    if copied > MAX_COPIED {
        let title = format!("the params of all variants take more than {} MiB", MAX_COPIED >> 20);
        return Err(source
            .complain(&Place::of(&["variants"]).at_key(), title, "too many")
            .hint("split the pipeline"));
    }
    let readings = spec.stages.len() * (1 + spec.variants.as_ref().map_or(0, |variants| variants.len()));
    if readings > MAX_READINGS {
        let title = format!("more than {MAX_READINGS} stages in all variants together");
        return Err(source
            .complain(&Place::of(&["variants"]).at_key(), title, "too many")
            .hint("split the pipeline"));
    }
    Ok(())
}

/// Checks that the axes and variants named by `compare` exist. Metrics and slots are checked once there are
/// steps.
fn check_compare(source: &yaml::PipelineText, spec: &Spec) -> Result<(), Complaint> {
    let Some(Compare { metrics: _, over, baseline, controls, same: _, lower_is_better: _ }) = &spec.compare
    else {
        return Ok(());
    };
    let axes: Vec<&str> =
        spec.matrix.iter().flatten().flat_map(|axes| axes.keys()).map(String::as_str).collect();
    let variants: Vec<&str> =
        spec.variants.iter().flat_map(|variants| variants.keys()).map(String::as_str).collect();
    let look_up = |place: Place, name: &String, what: &str, names: &[&str]| {
        if names.contains(&name.as_str()) {
            return Ok(());
        }
        let title = format!("there is no {what} {}", word(name));
        let hint = known(name, if what == "axis" { "axes" } else { "variants" }, names.iter().copied());
        Err(source.complain(&place, title, format!("no such {what}")).hint(hint))
    };
    for (i, axis) in over.iter().enumerate() {
        look_up(Place::of(&["compare", "over"]).index(i), axis, "axis", &axes)?;
    }
    for (i, control) in controls.iter().enumerate() {
        look_up(Place::of(&["compare", "controls"]).index(i), control, "variant", &variants)?;
    }
    baseline
        .iter()
        .try_for_each(|name| look_up(Place::of(&["compare", "baseline"]), name, "variant", &variants))
}

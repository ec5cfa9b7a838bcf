//! Builds the graph from tentative steps: keeps those in use, orders and names them.

use super::expand::{Table, TentativeStep};
use super::{Source, Step, order};
use petgraph::graph::{DiGraph, NodeIndex};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

/// Names the steps in use and puts them in order.
pub fn assemble(
    mut drafts: Vec<TentativeStep>,
    tables: &[(Rc<Table>, Vec<u32>)],
    variants: &[String],
) -> (DiGraph<Step, ()>, Vec<NodeIndex>) {
    let mut users: Vec<Option<Rc<Vec<u32>>>> = vec![None; drafts.len()];
    for (table, table_users) in tables {
        let table_users = Rc::new(table_users.clone());
        for step in table.existing() {
            match &users[step] {
                None => users[step] = Some(Rc::clone(&table_users)),
                Some(before) if Rc::ptr_eq(before, &table_users) => {}
                Some(before) => {
                    let mut both: Vec<u32> = before.iter().chain(table_users.iter()).copied().collect();
                    both.sort_unstable();
                    both.dedup();
                    users[step] = Some(Rc::new(both));
                }
            }
        }
    }
    // Sort steps in the file's order: by stage, then in the order they were made.
    let mut used: Vec<usize> = (0..drafts.len()).filter(|step| users[*step].is_some()).collect();
    used.sort_by_key(|step| drafts[*step].stage);
    let mut rank = vec![usize::MAX; drafts.len()];
    for (i, step) in used.iter().enumerate() {
        rank[*step] = i;
    }
    let needs: Vec<Vec<usize>> = used
        .iter()
        .map(|step| {
            let mut needs: Vec<usize> = drafts[*step]
                .step
                .inputs
                .iter()
                .filter_map(|input| match input.source {
                    Source::Step(producer) => Some(rank[producer.index()]),
                    Source::File { .. } | Source::Unset { .. } => None,
                })
                .collect();
            needs.sort_unstable();
            needs.dedup();
            needs
        })
        .collect();
    let sorted = order::order(&needs).unwrap_or_default();
    let mut node = vec![NodeIndex::end(); used.len()];
    for (i, place) in sorted.iter().enumerate() {
        node[*place] = NodeIndex::new(i);
    }
    let mut shared: HashMap<Vec<u32>, Arc<[String]>> = HashMap::new();
    let mut steps: Vec<Option<TentativeStep>> = drafts.drain(..).map(Some).collect();
    let mut graph = DiGraph::with_capacity(used.len(), needs.iter().map(Vec::len).sum());
    for place in &sorted {
        let number = used[*place];
        let Some(TentativeStep { mut step, stage: _, variant }) = steps[number].take() else { continue };
        for input in &mut step.inputs {
            if let Source::Step(producer) = &mut input.source {
                *producer = node[rank[producer.index()]];
            }
        }
        step.name = step_name(&step, variant.as_deref());
        if let Some(users) = users[number].as_ref().filter(|_| !variants.is_empty()) {
            let names = || users.iter().map(|user| variants[*user as usize].clone()).collect();
            step.variants = Arc::clone(shared.entry(users.to_vec()).or_insert_with(names));
        }
        graph.add_node(step);
    }
    for (consumer, needs) in needs.iter().enumerate() {
        for producer in needs {
            graph.add_edge(node[*producer], node[consumer], ());
        }
    }
    let order = graph.node_indices().collect();
    (graph, order)
}

fn step_name(step: &Step, variant: Option<&str>) -> String {
    let variant = variant.map(|variant| ("variant", variant));
    let axes = step.axes.iter().map(|(axis, label)| (axis.as_str(), label.as_str())).chain(variant);
    let mut name = step.stage.clone();
    for (i, (axis, label)) in axes.enumerate() {
        name.push(if i == 0 { '[' } else { ',' });
        name.push_str(axis);
        name.push('=');
        name.push_str(label);
    }
    if name.len() > step.stage.len() {
        name.push(']');
    }
    name
}

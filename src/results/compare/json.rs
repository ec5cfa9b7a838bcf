//! A comparison for programs.

use super::{Block, Cell, Column, Comparison, Finding, Missing, Reading, Row, Upstream};
use crate::statistics::Difference;
use engine::graph::Graph;
use petgraph::graph::NodeIndex;
use serde_json::{Value, json};

impl Comparison {
    /// All that was found, for programs.
    pub fn to_json(&self, graph: &Graph) -> Value {
        let step = |node: NodeIndex| graph.steps[node].name.as_str();
        let difference = |difference: &Difference, holm: Option<f64>| {
            let Difference { pairs, mean, interval, p } = difference;
            json!({"pairs": pairs, "mean": mean, "low": interval.map(|(low, _)| low), "high": interval.map(|(_, high)| high),
                "p": p, "p_holm": holm})
        };
        let cell = |(column, cell): (&Column, &Cell)| {
            let readings: Vec<Value> = cell
                .readings
                .iter()
                .map(|Reading { point, step: node, value, interval, count }| {
                    let point: serde_json::Map<String, Value> =
                        self.over.iter().cloned().zip(point.iter().map(|value| json!(value))).collect();
                    json!({"point": point, "step": step(*node), "value": value, "low": interval.map(|(low, _)| low),
                        "high": interval.map(|(_, high)| high), "n": count})
                })
                .collect();
            let value = json!({
                "mean": cell.mean(), "sd": cell.deviation(), "n": cell.readings.len(), "best": cell.best,
                "difference": cell.difference.as_ref().map(|found| difference(found, cell.holm)), "readings": readings,
            });
            (column.name.clone(), value)
        };
        let row = |row: &Row| {
            let Row { name, control, differs, cells, steps, missing, apart, warned } = row;
            let cells: serde_json::Map<String, Value> = self.metrics.iter().zip(cells).map(cell).collect();
            let differs: serde_json::Map<String, Value> =
                differs.iter().map(|(what, value)| (what.clone(), json!(value))).collect();
            json!({"name": name, "control": control, "differs": differs, "metrics": cells,
                "steps": steps.iter().map(|node| step(*node)).collect::<Vec<_>>(), "missing": missing, "apart": apart, "warned": warned})
        };
        let block = |block: &Block| {
            let Block { axes, rows, baseline, controls } = block;
            let axes: serde_json::Map<String, Value> =
                axes.iter().map(|(axis, value)| (axis.clone(), json!(value))).collect();
            let controls: Vec<Value> = controls
                .iter()
                .map(|Finding { control, row, metric, difference: found, explained }| {
                    json!({"control": control, "row": row, "metric": metric, "explained": explained,
                        "difference": difference(found, None)})
                })
                .collect();
            json!({"axes": axes, "baseline": baseline, "rows": rows.iter().map(row).collect::<Vec<_>>(), "controls": controls})
        };
        let upstream = |Upstream { warned, rows, of_all: _ }: &Upstream| {
            let mut value = warned.to_json(graph);
            value["rows"] = json!(rows);
            value
        };
        let metrics: Vec<Value> = self
            .metrics
            .iter()
            .map(|Column { name, lower_is_better }| json!({"name": name, "lower_is_better": lower_is_better}))
            .collect();
        let missing: Vec<Value> = self
            .missing
            .iter()
            .map(|Missing { node, why }| json!({"step": step(*node), "why": why}))
            .collect();
        json!({
            "pipeline": graph.name, "rows": self.rows_by, "over": self.over, "metrics": metrics,
            "blocks": self.blocks.iter().map(block).collect::<Vec<_>>(), "missing": missing, "notes": self.notes, "warnings": self.warnings,
            "upstream": self.upstream.iter().map(upstream).collect::<Vec<_>>(),
        })
    }
}

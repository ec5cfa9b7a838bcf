//! The comparison as a table in MultiQC's custom content format.

use super::Report;
use crate::compare::Comparison;
use serde_json::{Map, Value, json};

/// The content of a file whose name ends with `_mqc.json`.
pub fn multiqc(report: &Report<'_>, comparison: &Comparison) -> Value {
    let mut data = Map::new();
    for block in &comparison.blocks {
        for row in &block.rows {
            let parts = block.axes.iter().map(|(_, value)| value.as_str()).chain([row.name.as_str()]);
            let mut cells = Map::new();
            for (column, cell) in comparison.metrics.iter().zip(&row.cells) {
                cells.insert(column.name.clone(), json!(cell.mean()));
                cells.insert(format!("{} sd", column.name), json!(cell.deviation()));
            }
            cells.insert("n".to_owned(), json!(row.counts()));
            data.insert(parts.collect::<Vec<_>>().join(" · "), Value::Object(cells));
        }
    }
    let plain: String = report
        .graph
        .name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' })
        .collect();
    json!({
        "id": format!("pipeline_{plain}"),
        "section_name": report.graph.name,
        "description": format!("{}. {}", comparison.caption(), super::summary::sentences(report).join(" ")),
        "plot_type": "table",
        "pconfig": {"id": format!("pipeline_{plain}_table"), "title": format!("{}: comparison", report.graph.name),
            "col1_header": comparison.rows_by},
        "data": data,
    })
}

//! Tests which differences are more than chance. Rows are paired point by point.

use super::axes::Use;
use super::{Block, Cell, Column, Finding, Point, Reading, Row};
use crate::statistics::{self, Difference};
use std::collections::HashMap;
use std::rc::Rc;

/// The readings of a row in a metric, before any test.
pub fn cell(uses: &[Use<'_>], metric: &str) -> Cell {
    let readings = uses.iter().filter_map(|used| {
        let found = used.judged?.metrics.get(metric)?;
        Some(Reading {
            point: Rc::clone(&used.point),
            step: used.node,
            value: found.value?,
            interval: found.interval,
            count: found.count,
        })
    });
    Cell { readings: readings.collect(), ..Cell::default() }
}

/// The differences of two rows at the points that both have. A step that does not depend on an axis is paired with
/// every value of it. If neither row ever varies, a single pair is returned: the others would add no evidence.
fn paired(one: &Cell, other: &Cell) -> Vec<f64> {
    let mut differences = all_paired(one, other);
    if one.is_steady() && other.is_steady() {
        differences.truncate(1);
    }
    differences
}

fn all_paired(one: &Cell, other: &Cell) -> Vec<f64> {
    let mut exact: HashMap<&[Option<String>], f64> = HashMap::with_capacity(other.readings.len());
    exact.extend(other.readings.iter().map(|reading| (&*reading.point, reading.value)));
    let meets =
        |a: &Point, b: &Point| a.iter().zip(b.iter()).all(|(a, b)| a.is_none() || b.is_none() || a == b);
    let depends =
        |cell: &Cell| cell.readings.first().is_some_and(|reading| reading.point.iter().all(Option::is_some));
    if depends(one) && depends(other) {
        let met = one.readings.iter().filter_map(|a| Some(a.value - exact.get(&*a.point)?));
        return met.collect();
    }
    let pairs = one.readings.iter().flat_map(|a| {
        other.readings.iter().filter(move |b| meets(&a.point, &b.point)).map(move |b| a.value - b.value)
    });
    pairs.collect()
}

/// The paired difference of two rows; positive if the first is better.
pub fn advantage(one: &Row, other: &Row, metric: usize, column: &Column) -> Option<Difference> {
    let difference = Difference::of(&paired(&one.cells[metric], &other.cells[metric]))?;
    Some(if column.lower_is_better { difference.reversed() } else { difference })
}

/// Marks the best row if it leads the next one by more than the error.
pub fn mark_best(rows: &mut [Row], metric: usize, column: &Column) {
    let sign = if column.lower_is_better { -1.0 } else { 1.0 };
    let mut ranked: Vec<(usize, f64)> = rows
        .iter()
        .enumerate()
        .filter(|(_, row)| row.apart.is_none())
        .filter_map(|(i, row)| Some((i, sign * row.cells[metric].mean()?)))
        .collect();
    ranked.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    if let [(first, _), (second, _), ..] = ranked[..] {
        let found = advantage(&rows[first], &rows[second], metric, column);
        rows[first].cells[metric].best = found.is_some_and(|difference| difference.is_above_zero());
    }
}

/// Sets the difference of every row from the baseline.
pub fn differences_from(rows: &mut [Row], baseline: &str, metric: usize) {
    let Some(of) = rows.iter().position(|row| row.name == baseline) else { return };
    for i in (0..rows.len()).filter(|i| *i != of) {
        if rows[i].apart.is_none() {
            let found = Difference::of(&paired(&rows[i].cells[metric], &rows[of].cells[metric]));
            rows[i].cells[metric].difference = found;
        }
    }
}

/// Applies Holm's correction to all p-values that are shown together.
pub fn correct(blocks: &mut [Block]) {
    let cells = |blocks: &mut [Block], with: &mut dyn FnMut(&mut Cell, f64)| {
        for cell in blocks.iter_mut().flat_map(|block| &mut block.rows).flat_map(|row| &mut row.cells) {
            // A single pair is not a test.
            let p = cell.difference.as_ref().filter(|difference| difference.pairs > 1).map(|found| found.p);
            if let Some(p) = p {
                with(cell, p);
            }
        }
    };
    let mut p_values = Vec::new();
    cells(blocks, &mut |_, p| p_values.push(p));
    let mut corrected = statistics::holm(&p_values).into_iter();
    cells(blocks, &mut |cell, _| cell.holm = corrected.next());
}

/// Compares every row with every control.
pub fn findings(rows: &[Row], metrics: &[Column]) -> Vec<Finding> {
    let mut found = Vec::new();
    for control in rows.iter().filter(|row| row.control) {
        for row in rows.iter().filter(|row| !row.control && row.apart.is_none() && control.apart.is_none()) {
            for (index, column) in metrics.iter().enumerate() {
                let Some(difference) = advantage(row, control, index, column) else { continue };
                let explained = match difference.interval {
                    Some((low, _)) => low <= 0.0,
                    None => difference.mean <= 0.0,
                };
                found.push(Finding {
                    control: control.name.clone(),
                    row: row.name.clone(),
                    metric: column.name.clone(),
                    difference,
                    explained,
                });
            }
        }
    }
    found
}

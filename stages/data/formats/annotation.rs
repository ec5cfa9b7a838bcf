//! The columns of AnnData's tables `obs` and `var`, as text.
//!
//! A categorical column has codes and categories. They lie in a group of the column's name; before AnnData 0.8 the
//! categories lay in `obs/__categories`; in legacy files, whose `obs` is a compound table, in `uns`.

use crate::hdf5::{Array, Hdf5};
use anyhow::{Result, bail};

/// A value for each row; `None` where it is missing.
pub type Column = Vec<Option<String>>;

/// Reads a column of a table.
pub fn column(file: &Hdf5, table: &str, column: &str) -> Result<Column> {
    if file.has_array(table) {
        return of_compound(file, table, column);
    }
    let path = format!("{table}/{column}");
    let categories = format!("{table}/__categories/{column}");
    if file.has_group(&path) {
        let part = |name: &str| file.array(&format!("{path}/{name}"));
        if file.has_array(&format!("{path}/categories")) {
            return categorical(&integers(&part("codes")?)?, &part("categories")?);
        }
        let (mut values, mask) = (texts(&part("values")?)?, integers(&part("mask")?)?);
        values.iter_mut().zip(mask).filter(|(_, missing)| *missing != 0).for_each(|(value, _)| *value = None);
        return Ok(values);
    }
    if !file.has_array(&path) {
        bail!("{} is not there, only `{}`", file.place(&path), columns(file, table)?.join("`, `"));
    }
    let array = file.array(&path)?;
    if file.has_array(&categories) {
        return categorical(&integers(&array)?, &file.array(&categories)?);
    }
    texts(&array)
}

/// The names of the columns of a table that is a group.
pub fn columns(file: &Hdf5, table: &str) -> Result<Vec<String>> {
    let mut known = file.members(table)?;
    known.retain(|name| !name.starts_with('_'));
    Ok(known)
}

fn of_compound(file: &Hdf5, table: &str, column: &str) -> Result<Column> {
    let table = file.array(table)?;
    let categories = format!("uns/{column}_categories");
    if file.has_array(&categories) {
        return categorical(&table.member_integers(column)?, &file.array(&categories)?);
    }
    if table.member_is_text(column)? {
        return Ok(table.member_strings(column)?.into_iter().map(Some).collect());
    }
    Ok(table.member_integers(column)?.into_iter().map(|number| Some(number.to_string())).collect())
}

/// Codes are indices of categories; -1 is a missing value.
fn categorical(codes: &[i64], categories: &Array) -> Result<Column> {
    let names = texts(categories)?;
    let name = |code: &i64| match usize::try_from(*code) {
        Err(_) => Ok(None),
        Ok(code) if code < names.len() => Ok(names[code].clone()),
        Ok(code) => bail!("{} has {} names, and a row has the code {code}", categories.place(), names.len()),
    };
    codes.iter().map(name).collect()
}

/// Text, or whole numbers written as text: the names of clusters are often numbers.
pub fn texts(array: &Array) -> Result<Column> {
    if array.holds_integers() {
        return Ok(integers(array)?.into_iter().map(|number| Some(number.to_string())).collect());
    }
    Ok(array.strings()?.into_iter().map(Some).collect())
}

fn integers(array: &Array) -> Result<Vec<i64>> {
    array.integers(0, array.shape().first().copied().unwrap_or(0))
}

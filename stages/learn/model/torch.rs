//! Weights written by `torch.save` (`.pth`), either as a zip archive or in the older layout of concatenated pickles.

mod pickle;

use super::weights::{Array, Arrays, numbers};
use anyhow::{Context, Result, bail, ensure};
use contract::disk;
use data::formats::zip;
use pickle::{Id, Node, Pickle};
use safetensors::tensor::Dtype;
use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

/// The first bytes of the older layout: a pickle of PyTorch's magic number.
const MAGIC: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
/// The keys under which a training checkpoint may keep the weights.
const STATES: [&str; 3] = ["model_state_dict", "state_dict", "model"];

/// Reads every tensor of a file by its name.
pub fn read(path: &Path) -> Result<Arrays> {
    let bytes = disk::read(path)?;
    parse(&bytes).with_context(|| format!("reading {}", path.display()))
}

/// The entries of a pickled dictionary of text to whole numbers.
pub fn numbers_by_name(bytes: &[u8]) -> Result<Vec<(String, i64)>> {
    entries(bytes, "whole numbers", |node| match node {
        Node::Integer(number) => Some(*number),
        _ => None,
    })
}

/// The entries of a pickled dictionary of text to text.
pub fn texts_by_name(bytes: &[u8]) -> Result<Vec<(String, String)>> {
    entries(bytes, "text", |node| match node {
        Node::Text(text) => Some(text.clone()),
        _ => None,
    })
}

fn entries<T>(bytes: &[u8], in_words: &str, of: impl Fn(&Node) -> Option<T>) -> Result<Vec<(String, T)>> {
    let (pickle, _) = Pickle::read(bytes)?;
    let Node::Map(entries) = pickle.root() else { bail!("the pickle holds no dictionary") };
    let entry = |(name, value): &(Id, Id)| Some((pickle.text(*name)?.to_owned(), of(pickle.node(*value))?));
    let found: Option<Vec<(String, T)>> = entries.iter().map(entry).collect();
    found.with_context(|| format!("the dictionary should lead from text to {in_words}"))
}

fn parse(bytes: &[u8]) -> Result<Arrays> {
    let (pickle, storages) = if bytes.starts_with(b"PK") { in_zip(bytes)? } else { in_a_row(bytes)? };
    let state = STATES.iter().find_map(|name| pickle.entry(pickle.root(), name)).unwrap_or(pickle.root());
    let Node::Map(entries) = state else { bail!("it holds no dictionary of tensors") };
    let mut arrays = Arrays::new();
    for (name, value) in entries {
        let name = pickle.text(*name).context("a tensor's name is no text")?;
        if let Some(array) =
            tensor(&pickle, *value, &storages).with_context(|| format!("reading `{name}`"))?
        {
            arrays.insert(name.to_owned(), array);
        }
    }
    ensure!(!arrays.is_empty(), "it holds no tensors");
    Ok(arrays)
}

/// The bytes of each storage by its key.
type Storages<'a> = HashMap<String, Cow<'a, [u8]>>;

fn in_zip(bytes: &[u8]) -> Result<(Pickle, Storages<'_>)> {
    let members = zip::members(bytes)?;
    // All entries lie in one folder, named after the file at the time of writing.
    let inside = |name: &str| name.split_once('/').map(|(_, rest)| rest.to_owned());
    let mut found: Storages =
        members.into_iter().filter_map(|(name, bytes)| Some((inside(&name)?, bytes))).collect();
    let order = found.get("byteorder").map_or(&b"little"[..], |order| order);
    ensure!(order == b"little", "its numbers have their first byte first, which is not read");
    let data = found.remove("data.pkl").context("the archive has no data.pkl: not a file of PyTorch")?;
    let storages = found
        .into_iter()
        .filter_map(|(name, bytes)| Some((name.strip_prefix("data/")?.to_owned(), bytes)))
        .collect();
    Ok((Pickle::read(&data)?.0, storages))
}

fn in_a_row(bytes: &[u8]) -> Result<(Pickle, Storages<'_>)> {
    let mut rest = bytes.strip_prefix(MAGIC).context("not a file that torch.save wrote")?;
    let mut next = || -> Result<Pickle> {
        let (pickle, length) = Pickle::read(rest)?;
        rest = &rest[length..];
        Ok(pickle)
    };
    let (_version, system, data, keys) = (next()?, next()?, next()?, next()?);
    let little = system.entry(system.root(), "little_endian") == Some(&Node::Bool(true));
    ensure!(little, "its numbers have their first byte first, which is not read");
    let widths = storage_widths(&data);
    let Node::List(keys_in_order) = keys.root() else { bail!("the keys of its storages are no list") };
    let mut storages = Storages::new();
    for key in keys_in_order {
        let key = keys.text(*key).context("the key of a storage is no text")?;
        let (count, after) = rest.split_first_chunk::<8>().context("cut short")?;
        let width = widths.get(key).with_context(|| format!("no tensor uses the storage {key}"))?;
        let length =
            usize::try_from(u64::from_le_bytes(*count)).ok().and_then(|count| count.checked_mul(*width));
        let length = length.filter(|length| *length <= after.len()).context("cut short")?;
        let (storage, after) = after.split_at(length);
        storages.insert(key.to_owned(), Cow::Borrowed(storage));
        rest = after;
    }
    Ok((data, storages))
}

/// The element size in bytes of each storage that the pickle names.
fn storage_widths(data: &Pickle) -> HashMap<String, usize> {
    let storages = data.all().filter_map(|node| match node {
        Node::Outside(what) => storage(data, *what),
        _ => None,
    });
    storages.map(|(key, kind)| (key.to_owned(), kind.bitsize() / 8)).collect()
}

/// The key and the element type of a storage, from its persistent id: `("storage", type, key, device, size, …)`.
fn storage(pickle: &Pickle, what: Id) -> Option<(&str, Dtype)> {
    let Node::List(parts) = pickle.node(what) else { return None };
    let [_, kind, key, ..] = parts[..] else { return None };
    let Node::Name(name) = pickle.node(kind) else { return None };
    let kind = match name.strip_prefix("torch ")?.strip_suffix("Storage")? {
        "Float" => Dtype::F32,
        "Double" => Dtype::F64,
        "Half" => Dtype::F16,
        "BFloat16" => Dtype::BF16,
        "Long" => Dtype::I64,
        "Int" => Dtype::I32,
        "Short" => Dtype::I16,
        "Char" => Dtype::I8,
        "Byte" => Dtype::U8,
        "Bool" => Dtype::BOOL,
        _ => return None,
    };
    Some((pickle.text(key)?, kind))
}

/// A tensor; `None` if the value is something else.
fn tensor(pickle: &Pickle, id: Id, storages: &Storages) -> Result<Option<Array>> {
    let Node::Call(what, arguments) = pickle.node(id) else { return Ok(None) };
    let (Node::Name(what), Node::List(arguments)) = (pickle.node(*what), pickle.node(*arguments)) else {
        bail!("a call that makes no tensor")
    };
    if what.ends_with("_rebuild_parameter") {
        let data = arguments.first().context("a parameter without a tensor")?;
        ensure!(*data < id, "a parameter that holds itself");
        return tensor(pickle, *data, storages);
    }
    let [source, offset, shape, strides, ..] = arguments[..] else { bail!("a tensor that lacks its shape") };
    let Node::Outside(source) = pickle.node(source) else { bail!("a tensor without a storage") };
    let (key, kind) = storage(pickle, *source).context("a storage of a type that is not known")?;
    let bytes = storages.get(key).with_context(|| format!("the storage {key} is not there"))?;
    let sizes = |id: Id| -> Option<Vec<usize>> {
        let Node::List(sizes) = pickle.node(id) else { return None };
        sizes.iter().map(|size| whole(pickle.node(*size))).collect()
    };
    let offset = whole(pickle.node(offset)).context("the offset of a tensor is no number")?;
    let shape = sizes(shape).context("the shape of a tensor is none")?;
    let strides = sizes(strides).filter(|strides| strides.len() == shape.len());
    let strides = strides.context("the strides of a tensor do not fit its shape")?;
    let values = strided(&numbers(kind, bytes)?, offset, &shape, &strides)?;
    Ok(Some(Array { shape, values }))
}

fn whole(node: &Node) -> Option<usize> {
    match node {
        Node::Integer(number) => usize::try_from(*number).ok(),
        _ => None,
    }
}

/// The elements of a tensor in row-major order.
fn strided(storage: &[f32], offset: usize, shape: &[usize], strides: &[usize]) -> Result<Vec<f32>> {
    let count = shape.iter().try_fold(1usize, |count, size| count.checked_mul(*size));
    let count = count.filter(|count| *count <= storage.len()).context("a tensor larger than its storage")?;
    let mut values = Vec::with_capacity(count);
    let mut index = vec![0usize; shape.len()];
    for _ in 0..count {
        let at = index
            .iter()
            .zip(strides)
            .try_fold(offset, |at, (i, stride)| i.checked_mul(*stride)?.checked_add(at));
        let value = at.and_then(|at| storage.get(at));
        values.push(*value.context("a tensor that reaches beyond its storage")?);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            if index[axis] < shape[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::{parse, strided};

    #[test]
    fn strides_and_offsets_are_followed_and_never_beyond_the_storage() {
        let storage: Vec<f32> = (0..8).map(|i| i as f32).collect();
        assert_eq!(strided(&storage, 1, &[2, 3], &[3, 1]).unwrap(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(strided(&storage, 0, &[3, 2], &[1, 3]).unwrap(), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        assert_eq!(strided(&storage, 7, &[], &[]).unwrap(), [7.0]);
        assert!(strided(&storage, 3, &[2, 3], &[3, 1]).is_err());
        assert!(strided(&storage, 0, &[9], &[0]).is_err());
        assert!(strided(&storage, 0, &[usize::MAX, 2], &[1, 1]).is_err());
        assert!(strided(&storage, usize::MAX, &[2], &[usize::MAX]).is_err());
    }

    #[test]
    fn what_is_no_file_of_pytorch_is_said() {
        assert_eq!(parse(b"hello").unwrap_err().to_string(), "not a file that torch.save wrote");
    }
}

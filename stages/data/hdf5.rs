//! Reads HDF5 files. Nothing else depends on the library that reads them.

mod packed;

use anyhow::{Context, Result, anyhow, bail};
use hdf5_pure::{
    AttrValue, CompoundMember, DType, Datatype, DatatypeByteOrder, Error, VlenStringReadOptions,
};
use packed::{Chunk, Number, Packed};
use std::fs::File;
use std::path::{Path, PathBuf};

/// More text than any table of names has; a damaged length must not exhaust the memory.
const MOST_TEXT_BYTES: usize = 1 << 30;

/// How many bytes may be decompressed per byte of the file: deflate compresses at most 1,032 to 1, and a damaged
/// extent must not exhaust the memory.
const MOST_UNPACKED: u64 = 2048;
const ALWAYS_UNPACKED: u64 = 1 << 26;

/// An open HDF5 file.
pub struct Hdf5 {
    file: hdf5_pure::File,
    path: PathBuf,
}

impl Hdf5 {
    /// Reads only the metadata; the arrays stay on disk.
    pub fn open(path: &Path) -> Result<Hdf5> {
        let file = hdf5_pure::File::open_streaming(path)
            .map_err(|error| damaged(&path.display().to_string(), &error))?;
        Ok(Hdf5 { file, path: path.to_owned() })
    }

    /// Whether a file starts with the HDF5 signature.
    pub fn is(path: &Path) -> bool {
        hdf5_pure::is_hdf5(path).unwrap_or(false)
    }

    /// Whether there is a group with this name.
    pub fn has_group(&self, name: &str) -> bool {
        self.file.group(name).is_ok()
    }

    /// Whether there is an array with this name.
    pub fn has_array(&self, name: &str) -> bool {
        self.file.dataset(name).is_ok()
    }

    /// The names of the groups below a group; the empty name is the root.
    pub fn groups(&self, name: &str) -> Result<Vec<String>> {
        let group = if name.is_empty() { self.file.root() } else { self.group(name)? };
        group.groups().map_err(|error| damaged(&self.place(name), &error))
    }

    /// The names of the groups and arrays below a group.
    pub fn members(&self, name: &str) -> Result<Vec<String>> {
        let group = self.group(name)?;
        let arrays = group.datasets().map_err(|error| damaged(&self.place(name), &error))?;
        let mut members = self.groups(name)?;
        members.extend(arrays);
        members.sort();
        Ok(members)
    }

    /// Opens an array.
    pub fn array(&self, name: &str) -> Result<Array> {
        let place = self.place(name);
        let dataset = self.file.dataset(name).map_err(|error| damaged(&place, &error))?;
        let shape = dataset.shape().map_err(|error| damaged(&place, &error))?;
        check_filters(&dataset.filters(), &self.path)?;
        let most_bytes = self.file.file_size().saturating_mul(MOST_UNPACKED).max(ALWAYS_UNPACKED);
        let mut array = Array { dataset, shape, place, most_bytes, packed: None };
        // A chunk is decompressed as a whole, even if only a part of it is wanted.
        let chunk = array.dataset.chunk_shape().map_err(|error| damaged(&array.place, &error))?;
        array.check_bytes(chunk.as_deref().unwrap_or(&[]))?;
        if array.dataset.is_chunked() {
            let bytes = self.file.file_size();
            let chunks = array.dataset.chunks().map_err(|error| damaged(&array.place, &error))?;
            if chunks.iter().any(|chunk| chunk.storage_size > bytes) {
                bail!("{} has a chunk larger than the file, which may be damaged or cut off", array.place);
            }
            array.packed =
                array.number().and_then(|number| packed_by_deflate(&self.path, chunks, chunk?, number));
        }
        Ok(array)
    }

    /// A text attribute of a group or an array.
    pub fn text_attribute(&self, of: &str, name: &str) -> Option<std::string::String> {
        use AttrValue::{
            AsciiString, AsciiStringSized, String, StringSized, VarLenAsciiString, VarLenString,
        };
        match self.attribute(of, name)? {
            String(text) | AsciiString(text) | VarLenString(text) | VarLenAsciiString(text) => Some(text),
            StringSized { value, .. } | AsciiStringSized { value, .. } => Some(value),
            _ => None,
        }
    }

    /// An attribute that holds integers.
    pub fn sizes_attribute(&self, of: &str, name: &str) -> Option<Vec<u64>> {
        let signed = |values: Vec<i64>| values.into_iter().map(|value| u64::try_from(value).ok()).collect();
        match self.attribute(of, name)? {
            AttrValue::I64Array(values) => signed(values),
            AttrValue::U64Array(values) => Some(values),
            AttrValue::I32Array(values) => signed(values.into_iter().map(i64::from).collect()),
            AttrValue::U32Array(values) => Some(values.into_iter().map(u64::from).collect()),
            _ => None,
        }
    }

    fn attribute(&self, of: &str, name: &str) -> Option<AttrValue> {
        let mut attributes = match self.file.group(of) {
            Ok(group) => group.attrs().ok()?,
            Err(_) => self.file.dataset(of).ok()?.attrs().ok()?,
        };
        attributes.remove(name)
    }

    fn group(&self, name: &str) -> Result<hdf5_pure::Group> {
        self.file.group(name).map_err(|error| damaged(&self.place(name), &error))
    }

    /// File and name, for messages.
    pub fn place(&self, name: &str) -> String {
        format!("{}: `{name}`", self.path.display())
    }
}

fn damaged(place: &str, error: &Error) -> anyhow::Error {
    anyhow!("{place} cannot be read, the file may be damaged or cut off: {error}")
}

/// The array, if it has one dimension and its chunks cover it without gaps.
fn packed_by_deflate(
    path: &Path,
    mut chunks: Vec<hdf5_pure::Chunk>,
    shape: Vec<u64>,
    number: Number,
) -> Option<Packed> {
    let [rows_per_chunk] = shape[..] else { return None };
    chunks.sort_by(|a, b| a.offset.cmp(&b.offset));
    let mut starts = (0..).map(|index: u64| index.checked_mul(rows_per_chunk));
    let usual = |chunk: &hdf5_pure::Chunk| {
        let start = starts.next().flatten();
        chunk.filter_mask == 0 && matches!(chunk.offset[..], [offset] if Some(offset) == start)
    };
    if rows_per_chunk == 0 || !chunks.iter().all(usual) {
        return None;
    }
    let chunks = chunks.iter().map(|chunk| Chunk { address: chunk.address, bytes: chunk.storage_size });
    Some(Packed::new(File::open(path).ok()?, chunks.collect(), rows_per_chunk, number))
}

/// Checks filters by their registered numbers; an error for unsupported ones says how to convert the file.
fn check_filters(filters: &[u16], path: &Path) -> Result<()> {
    const READABLE: [u16; 6] = [1, 2, 3, 5, 6, 32000];
    let Some(filter) = filters.iter().find(|filter| !READABLE.contains(filter)) else { return Ok(()) };
    let name = match filter {
        4 => "szip",
        32001 => "blosc",
        32004 => "lz4",
        32015 => "zstd",
        _ => "a filter",
    };
    bail!(
        "{}: is compressed with {name} (HDF5 filter {filter}), which cannot be read here; convert it with \
         `python -c \"import hdf5plugin, anndata; anndata.read_h5ad('in.h5ad').write_h5ad('out.h5ad', compression='gzip')\"`",
        path.display()
    )
}

/// An array on disk.
pub struct Array {
    dataset: hdf5_pure::Dataset,
    shape: Vec<u64>,
    place: String,
    most_bytes: u64,
    packed: Option<Packed>,
}

impl Array {
    /// Its extent in each dimension.
    pub fn shape(&self) -> &[u64] {
        &self.shape
    }

    /// File and name, for messages.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// The length of a chunk along the first dimension; `None` if it is not chunked.
    pub fn chunk_rows(&self) -> Option<u64> {
        self.dataset
            .chunk_shape()
            .ok()
            .flatten()
            .and_then(|shape| shape.first().copied())
            .filter(|rows| *rows > 0)
    }

    /// The size of an element.
    #[cfg(test)]
    pub fn element_bytes(&self) -> u64 {
        self.dataset.element_size().expect("a type of numbers")
    }

    /// Reads rows as floats, concatenated.
    pub fn floats(&self, start: u64, count: u64) -> Result<Vec<f32>> {
        self.check_numbers(count)?;
        if let Some(floats) = self.packed.as_ref().and_then(|packed| packed.floats(start, count)) {
            return Ok(floats);
        }
        self.dataset.read_f32_rows(start, count).map_err(|error| damaged(&self.place, &error))
    }

    /// Reads rows as integers.
    pub fn integers(&self, start: u64, count: u64) -> Result<Vec<i64>> {
        self.check_numbers(count)?;
        self.dataset.read_i64_rows(start, count).map_err(|error| damaged(&self.place, &error))
    }

    /// Reads rows as indices below 2^32; negative ones become larger than any count of genes.
    pub fn indices(&self, start: u64, count: u64) -> Result<Vec<u32>> {
        self.check_numbers(count)?;
        if let Some(indices) = self.packed.as_ref().and_then(|packed| packed.indices(start, count)) {
            return Ok(indices);
        }
        let narrow = matches!(self.dataset.dtype(), Ok(DType::I32 | DType::U32));
        if narrow {
            return self.dataset.read_u32_rows(start, count).map_err(|error| damaged(&self.place, &error));
        }
        let wide = self.integers(start, count)?;
        Ok(wide.into_iter().map(|index| u32::try_from(index).unwrap_or(u32::MAX)).collect())
    }

    /// The whole array as text.
    pub fn strings(&self) -> Result<Vec<String>> {
        self.check_size(self.rows())?;
        let read = match self.dataset.dtype() {
            Ok(DType::VariableLengthString) => self
                .dataset
                .read_vlen_strings(VlenStringReadOptions::new().with_max_payload_bytes(MOST_TEXT_BYTES)),
            Ok(DType::String) => self.dataset.read_string(),
            Ok(other) => bail!("{} should hold text and holds {other}", self.place),
            Err(error) => Err(error),
        };
        read.map_err(|error| damaged(&self.place, &error))
    }

    /// Whether its elements are whole numbers.
    pub fn holds_integers(&self) -> bool {
        use DType::{Enum, I8, I16, I32, I64, U8, U16, U32, U64};
        matches!(self.dataset.dtype(), Ok(I8 | I16 | I32 | I64 | U8 | U16 | U32 | U64 | Enum(_)))
    }

    /// Whether a member of its elements is text of fixed width.
    pub fn member_is_text(&self, member: &str) -> Result<bool> {
        Ok(matches!(self.member(member)?.0.datatype, Datatype::String { .. }))
    }

    /// One member of each element as text.
    pub fn member_strings(&self, member: &str) -> Result<Vec<String>> {
        let (found, size) = self.member(member)?;
        let Datatype::String { size: width, .. } = found.datatype else {
            bail!("{}: the member `{member}` holds no text of fixed width", self.place)
        };
        let text = |field: &[u8]| {
            let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
            String::from_utf8(field[..end].to_vec()).ok()
        };
        let texts = self.fields(found.byte_offset as usize, width as usize, size, text)?;
        texts.with_context(|| format!("{}: the member `{member}` is not UTF-8 text", self.place))
    }

    /// One member of each element as whole numbers; unsigned ones of 64 bits may become negative.
    pub fn member_integers(&self, member: &str) -> Result<Vec<i64>> {
        let (found, size) = self.member(member)?;
        let Datatype::FixedPoint { size: width, byte_order: DatatypeByteOrder::LittleEndian, layout } =
            found.datatype
        else {
            bail!("{}: the member `{member}` holds neither text nor whole numbers", self.place)
        };
        let number = |field: &[u8]| {
            let negative = layout.signed && field.last().is_some_and(|last| last & 0x80 != 0);
            let mut all = [if negative { 0xff } else { 0 }; 8];
            all.get_mut(..field.len())?.copy_from_slice(field);
            Some(i64::from_le_bytes(all))
        };
        let numbers = self.fields(found.byte_offset as usize, width as usize, size, number)?;
        numbers.with_context(|| format!("{}: the member `{member}` has numbers of {width} bytes", self.place))
    }

    /// A member and the size of an element.
    fn member(&self, member: &str) -> Result<(CompoundMember, usize)> {
        let datatype = self.dataset.datatype().map_err(|error| damaged(&self.place, &error))?;
        let Datatype::Compound { size, members } = datatype else { bail!("{} has no members", self.place) };
        let known: Vec<String> = members.iter().map(|found| found.name.clone()).collect();
        let found = members.into_iter().find(|found| found.name == member);
        let found = found.with_context(|| {
            format!("{} has no member `{member}`, only `{}`", self.place, known.join("`, `"))
        })?;
        Ok((found, size as usize))
    }

    /// The bytes from `start` on in each element of `size` bytes, converted; `None` if one cannot be.
    fn fields<T>(
        &self,
        start: usize,
        width: usize,
        size: usize,
        convert: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<Option<Vec<T>>> {
        self.check_size(self.rows())?;
        let raw = self.dataset.read_raw().map_err(|error| damaged(&self.place, &error))?;
        let field = |element: &[u8]| convert(element.get(start..start + width)?);
        Ok(raw.chunks_exact(size.max(1)).map(field).collect())
    }

    /// The type of its numbers, if deflate is their only filter.
    fn number(&self) -> Option<Number> {
        const DEFLATE: u16 = 1;
        use DatatypeByteOrder::LittleEndian;
        let (Datatype::FixedPoint { byte_order: LittleEndian, .. }
        | Datatype::FloatingPoint { byte_order: LittleEndian, .. }) = self.dataset.datatype().ok()?
        else {
            return None;
        };
        match self.dataset.dtype().ok()? {
            _ if self.dataset.filters() != [DEFLATE] => None,
            DType::F32 => Some(Number::F32),
            DType::F64 => Some(Number::F64),
            DType::I32 | DType::U32 => Some(Number::I32),
            DType::I64 | DType::U64 => Some(Number::I64),
            _ => None,
        }
    }

    fn rows(&self) -> u64 {
        self.shape.first().copied().unwrap_or(1)
    }

    fn check_numbers(&self, rows: u64) -> Result<()> {
        use DType::{Enum, F32, F64, I8, I16, I32, I64, U8, U16, U32, U64};
        self.check_size(rows)?;
        match self.dataset.dtype() {
            Ok(F32 | F64 | I8 | I16 | I32 | I64 | U8 | U16 | U32 | U64 | Enum(_)) => Ok(()),
            Ok(other) => bail!("{} should hold numbers and holds {other}", self.place),
            Err(error) => Err(damaged(&self.place, &error)),
        }
    }

    /// Rejects row counts that the file cannot contain.
    fn check_size(&self, rows: u64) -> Result<()> {
        let extents: Vec<u64> =
            std::iter::once(rows.min(self.rows())).chain(self.shape.iter().skip(1).copied()).collect();
        self.check_bytes(&extents)
    }

    fn check_bytes(&self, extents: &[u64]) -> Result<()> {
        let element = self.dataset.element_size().map_err(|error| damaged(&self.place, &error))?;
        match extents.iter().copied().try_fold(element, u64::checked_mul) {
            Some(bytes) if bytes <= self.most_bytes => Ok(()),
            _ => {
                bail!("{} is {extents:?}, which such a small file cannot hold; it may be damaged", self.place)
            }
        }
    }
}

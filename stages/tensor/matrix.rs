//! Matrices inside flat buffers: read-only views, and disjoint mutable views for parallel tasks.

use std::marker::PhantomData;
use std::ops::Range;

/// A read-only matrix with any strides.
#[derive(Clone, Copy)]
pub struct View<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> View<'a> {
    /// A row-major matrix. Prereq: as many values as rows times columns.
    pub fn new(data: &'a [f32], rows: usize, columns: usize) -> View<'a> {
        assert_eq!(data.len(), rows * columns, "values of a {rows} x {columns} matrix");
        View { data, rows, columns, row_stride: columns, column_stride: 1 }
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// A submatrix.
    pub fn part(self, rows: Range<usize>, columns: Range<usize>) -> View<'a> {
        assert!(rows.end <= self.rows && columns.end <= self.columns, "a part lies inside its matrix");
        let start = rows.start * self.row_stride + columns.start * self.column_stride;
        let data = self.data.get(start..).unwrap_or_default();
        View { data, rows: rows.len(), columns: columns.len(), ..self }
    }

    /// The transposed matrix.
    pub fn transposed(self) -> View<'a> {
        View {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }

    /// One row. Prereq: not transposed.
    pub fn row(&self, row: usize) -> &'a [f32] {
        assert!(row < self.rows && self.column_stride == 1, "a row inside the matrix");
        &self.data[row * self.row_stride..][..self.columns]
    }

    /// One element.
    pub fn at(&self, row: usize, column: usize) -> f32 {
        assert!(row < self.rows && column < self.columns, "an element inside the matrix");
        self.data[row * self.row_stride + column * self.column_stride]
    }

    /// Whether the values of a row are contiguous, which they are unless the matrix is transposed.
    pub fn has_whole_rows(&self) -> bool {
        self.column_stride == 1
    }

    /// Writes the transposed matrix to `out`, whose rows are `width` wide.
    ///
    /// Prereq: the view itself is not transposed.
    pub fn transposed_into(&self, out: &mut [f32], width: usize) {
        assert!(self.rows <= width && out.len() == width * self.columns, "values of a transposed matrix");
        // Square blocks keep both the source and the destination in the L1 cache.
        const BLOCK: usize = 16;
        for first_row in (0..self.rows).step_by(BLOCK) {
            for first_column in (0..self.columns).step_by(BLOCK) {
                for row in first_row..self.rows.min(first_row + BLOCK) {
                    let values = &self.row(row)[first_column..self.columns.min(first_column + BLOCK)];
                    for (column, value) in (first_column..).zip(values) {
                        out[column * width + row] = *value;
                    }
                }
            }
        }
    }

    /// The first element and both strides, for kernels that take pointers.
    ///
    /// Every element addressed by rows, columns and strides lies inside the buffer.
    /// Every element that rows, columns and strides name is inside the buffer.
    pub(super) fn raw(&self) -> (*const f32, isize, isize) {
        if self.rows > 0 && self.columns > 0 {
            let last = (self.rows - 1) * self.row_stride + (self.columns - 1) * self.column_stride;
            assert!(last < self.data.len(), "a view ends inside its buffer");
        }
        (self.data.as_ptr(), self.row_stride.cast_signed(), self.column_stride.cast_signed())
    }
}

/// A mutable matrix with exclusive access to its elements; the values of a row are contiguous.
pub struct ViewMut<'a> {
    start: *mut f32,
    rows: usize,
    columns: usize,
    row_stride: usize,
    buffer: PhantomData<&'a mut [f32]>,
}

#[expect(unsafe_code, reason = "a raw pointer is not Send, the exclusive borrow that it stands for is")]
// SAFETY: a ViewMut is an exclusive borrow of its elements, as `&mut [f32]` is, and that is Send.
unsafe impl Send for ViewMut<'_> {}

impl<'a> ViewMut<'a> {
    /// A row-major matrix. Prereq: as many values as rows times columns.
    pub fn new(data: &'a mut [f32], rows: usize, columns: usize) -> ViewMut<'a> {
        assert_eq!(data.len(), rows * columns, "values of a {rows} x {columns} matrix");
        ViewMut { start: data.as_mut_ptr(), rows, columns, row_stride: columns, buffer: PhantomData }
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Cuts the matrix into tiles of this size, smaller at the edges, in row-major order.
    pub fn tiles(self, rows: usize, columns: usize) -> Vec<ViewMut<'a>> {
        let mut tiles = Vec::with_capacity(self.rows.div_ceil(rows) * self.columns.div_ceil(columns));
        for row in (0..self.rows).step_by(rows) {
            for column in (0..self.columns).step_by(columns) {
                let size = (rows.min(self.rows - row), columns.min(self.columns - column));
                tiles.push(self.tile(row, column, size));
            }
        }
        tiles
    }

    /// Cuts the matrix into bands of this many rows. The last band also gets the remainder, so it is never thin.
    pub fn bands(self, rows: usize) -> Vec<ViewMut<'a>> {
        let count = (self.rows / rows).max(1);
        let end = |band: usize| if band + 1 == count { self.rows } else { (band + 1) * rows };
        (0..count).map(|band| self.tile(band * rows, 0, (end(band) - band * rows, self.columns))).collect()
    }

    /// The first columns only.
    pub fn narrow(self, columns: usize) -> ViewMut<'a> {
        self.tile(0, 0, (self.rows, columns))
    }

    /// A submatrix; the matrix itself is borrowed meanwhile.
    pub fn part(&mut self, rows: Range<usize>, columns: Range<usize>) -> ViewMut<'_> {
        self.tile(rows.start, columns.start, (rows.len(), columns.len()))
    }

    /// One row.
    #[expect(unsafe_code, reason = "rows of a tile are pieces of a buffer that other tiles share")]
    pub fn row(&mut self, row: usize) -> &mut [f32] {
        assert!(row < self.rows, "a row inside the matrix");
        // SAFETY: the row is inside the matrix, whose elements belong to this view alone. The borrow of the view
        // prevents a second row from being borrowed at the same time.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(row * self.row_stride), self.columns) }
    }

    /// The first element and the row stride, for kernels that take pointers.
    pub(super) fn raw(&mut self) -> (*mut f32, isize) {
        (self.start, self.row_stride.cast_signed())
    }

    /// Prereq, upheld by the callers in this file: tiles that are alive at the same time do not overlap.
    #[expect(unsafe_code, reason = "tiles are interleaved in memory, which slices cannot say")]
    fn tile<'b>(&self, row: usize, column: usize, (rows, columns): (usize, usize)) -> ViewMut<'b>
    where
        'a: 'b,
    {
        assert!(row + rows <= self.rows && column + columns <= self.columns, "a tile inside the matrix");
        // SAFETY: the offset is at most one element past the end of the buffer, where the tile is empty.
        let start = unsafe { self.start.add(row * self.row_stride + column) };
        ViewMut { start, rows, columns, row_stride: self.row_stride, buffer: PhantomData }
    }
}

#[cfg(test)]
mod tests {
    use super::{View, ViewMut};

    #[test]
    fn tiles_cover_every_element_once() {
        let mut data = vec![0.0; 5 * 7];
        for (number, mut tile) in ViewMut::new(&mut data, 5, 7).tiles(2, 3).into_iter().enumerate() {
            for row in 0..tile.rows() {
                tile.row(row).iter_mut().for_each(|value| *value += 1.0 + number as f32);
            }
        }
        assert_eq!(data[..7], [1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 3.0]);
        assert_eq!(data[28..], [7.0, 7.0, 7.0, 8.0, 8.0, 8.0, 9.0]);
    }

    #[test]
    fn the_last_band_takes_what_remains() {
        let rows = |rows: usize| -> Vec<usize> {
            ViewMut::new(&mut vec![0.0; rows * 2], rows, 2).bands(4).iter().map(ViewMut::rows).collect()
        };
        assert_eq!([rows(0), rows(3), rows(8), rows(11)], [vec![0], vec![3], vec![4, 4], vec![4, 7]]);
    }

    #[test]
    fn a_part_of_a_view_is_that_part() {
        let data: Vec<f32> = (0..12).map(|i| i as f32).collect();
        let view = View::new(&data, 3, 4);
        assert_eq!(view.part(1..3, 1..3).row(1), [9.0, 10.0]);
    }

    #[test]
    fn a_transposed_matrix_has_rows_for_columns() {
        let data: Vec<f32> = (0..20 * 37).map(|i| i as f32).collect();
        let mut turned = vec![0.0; 20 * 37];
        View::new(&data, 20, 37).transposed_into(&mut turned, 20);
        let expected: Vec<f32> = (0..20 * 37).map(|i| (i % 20 * 37 + i / 20) as f32).collect();
        assert_eq!(turned, expected);
    }

    #[test]
    #[should_panic(expected = "inside its matrix")]
    fn a_part_beyond_the_matrix_is_refused() {
        View::new(&[0.0; 12], 3, 4).part(0..4, 0..1);
    }
}

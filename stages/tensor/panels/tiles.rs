//! Tiles of a product in AVX-512 registers.

#![expect(unsafe_code, reason = "registers are loaded from pointers")]

use super::{LANES, Start, has_tiles};
use crate::matrix::{View, ViewMut};
use std::arch::x86_64::{
    __mmask16, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_mask_storeu_ps, _mm512_maskz_loadu_ps,
    _mm512_set1_ps, _mm512_setzero_ps,
};

/// Rows per tile: 28 sums, two values of the right factor and one of the left fill 31 of 32 registers.
const ROWS: usize = 14;

/// Pointers and strides of a tile.
#[derive(Clone, Copy)]
struct Tile {
    out: *mut f32,
    out_row: isize,
    /// The initial values of the sums and their row stride; null for zeros.
    start: (*const f32, isize),
    left: *const f32,
    left_row: isize,
    left_column: isize,
    panel: *const f32,
    inner: usize,
    /// The mask of the columns in use in the last register.
    mask: __mmask16,
}

/// out = start + left · panel. Prereq: the CPU has AVX-512, and the panel is as wide as `out` needs.
pub fn multiply(out: &mut ViewMut, left: View, panel: &[f32], start: Start) {
    assert!(has_tiles(), "tiles are for AVX-512");
    let (rows, columns, inner) = (out.rows(), out.columns(), left.columns());
    let registers = columns.div_ceil(LANES);
    assert_eq!((left.rows(), inner * registers * LANES), (rows, panel.len()), "sizes of a product");
    let (left, left_row, left_column) = left.raw();
    let (out, out_row) = out.raw();
    let start = match start {
        Start::Zero => (std::ptr::null(), 0),
        Start::Out => (out.cast_const(), out_row),
        Start::Row(row) => {
            assert_eq!(row.len(), columns, "what a product is added to");
            (row.as_ptr(), 0)
        }
    };
    let mask = __mmask16::MAX >> (registers * LANES - columns);
    let at = Tile { out, out_row, start, left, left_row, left_column, panel: panel.as_ptr(), inner, mask };
    let mut row = 0;
    while row < rows {
        // SAFETY: `raw` returns pointers and strides whose elements are inside their buffers for the sizes compared
        // above, as are those of the panel and of the start values; a tile has at most as many rows as are left. `out`
        // is borrowed exclusively. AVX-512 support was checked above.
        row += unsafe {
            let at = at.down(row.cast_signed());
            if registers == 1 { below::<1>(at, rows - row) } else { below::<2>(at, rows - row) }
        };
    }
}

impl Tile {
    /// The tile that begins this many rows further down.
    unsafe fn down(self, rows: isize) -> Tile {
        // SAFETY: guaranteed by the caller.
        unsafe {
            let (from, row) = self.start;
            let start = if from.is_null() { self.start } else { (from.offset(rows * row), row) };
            let (out, left) = (self.out.offset(rows * self.out_row), self.left.offset(rows * self.left_row));
            Tile { out, start, left, ..self }
        }
    }
}

/// Computes the next tile of the remaining rows, which are divided evenly; returns its height.
#[target_feature(enable = "avx512f")]
unsafe fn below<const REGISTERS: usize>(at: Tile, rows: usize) -> usize {
    // SAFETY: guaranteed by the caller.
    unsafe {
        match rows.div_ceil(rows.div_ceil(ROWS)) {
            1 => tile::<1, REGISTERS>(at),
            2 => tile::<2, REGISTERS>(at),
            3 => tile::<3, REGISTERS>(at),
            4 => tile::<4, REGISTERS>(at),
            5 => tile::<5, REGISTERS>(at),
            6 => tile::<6, REGISTERS>(at),
            7 => tile::<7, REGISTERS>(at),
            8 => tile::<8, REGISTERS>(at),
            9 => tile::<9, REGISTERS>(at),
            10 => tile::<10, REGISTERS>(at),
            11 => tile::<11, REGISTERS>(at),
            12 => tile::<12, REGISTERS>(at),
            13 => tile::<13, REGISTERS>(at),
            _ => tile::<ROWS, REGISTERS>(at),
        }
    }
}

/// Repeats a block for each row of a tile. A loop with this many iterations is not unrolled, and its sums would spill
/// to memory.
macro_rules! for_each_row {
    ($row:ident of $height:ident $block:block) => {
        for_each_row!($row of $height $block 0 1 2 3 4 5 6 7 8 9 10 11 12 13)
    };
    ($row:ident of $height:ident $block:block $($index:literal)*) => {
        $(if $index < $height {
            let $row: usize = $index;
            $block
        })*
    };
}

#[target_feature(enable = "avx512f")]
unsafe fn tile<const HEIGHT: usize, const REGISTERS: usize>(at: Tile) -> usize {
    let Tile { out, out_row, start: (start, start_row), left, left_row, left_column, .. } = at;
    let mask_of = |register: usize| if register + 1 == REGISTERS { at.mask } else { __mmask16::MAX };
    let mut sums = [[_mm512_setzero_ps(); REGISTERS]; HEIGHT];
    // SAFETY: guaranteed by the caller; masked elements are not accessed.
    unsafe {
        if !start.is_null() {
            for_each_row!(row of HEIGHT {
                let from = start.offset(row.cast_signed() * start_row);
                for (register, sum) in sums[row].iter_mut().enumerate() {
                    *sum = _mm512_maskz_loadu_ps(mask_of(register), from.add(register * LANES));
                }
            });
        }
        // Only every third row has a pointer; the next two are addressed with once and twice the stride.
        let mut thirds: [*const f32; 5] =
            std::array::from_fn(|third| left.wrapping_offset(3 * third.cast_signed() * left_row));
        let mut panel = at.panel;
        for _ in 0..at.inner {
            let mut right = [_mm512_setzero_ps(); REGISTERS];
            for (register, right) in right.iter_mut().enumerate() {
                *right = _mm512_loadu_ps(panel.add(register * LANES));
            }
            for_each_row!(row of HEIGHT {
                let value = _mm512_set1_ps(*thirds[row / 3].offset((row % 3).cast_signed() * left_row));
                for (sum, right) in sums[row].iter_mut().zip(right) {
                    *sum = _mm512_fmadd_ps(value, right, *sum);
                }
            });
            panel = panel.add(REGISTERS * LANES);
            for third in &mut thirds {
                *third = third.wrapping_offset(left_column);
            }
        }
        for_each_row!(row of HEIGHT {
            let to = out.offset(row.cast_signed() * out_row);
            for (register, sum) in sums[row].iter().enumerate() {
                _mm512_mask_storeu_ps(to.add(register * LANES), mask_of(register), *sum);
            }
        });
    }
    HEIGHT
}

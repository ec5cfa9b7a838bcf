//! Encodes where lists start and which are empty, as Parquet does.

use super::bits::varint;

/// The levels of a page of lists: a slot for each item and for each empty list.
pub struct Levels {
    /// 0 where a list starts, 1 where it continues; packed.
    pub repetition: Vec<u8>,
    /// 0 for an empty list, 1 for an item; packed.
    pub definition: Vec<u8>,
    /// The number of lists.
    pub rows: usize,
    /// The number of slots that they take.
    pub slots: usize,
}

impl Levels {
    /// The levels of lists whose ends are all but the first of `ends`.
    pub fn new(ends: &[i32]) -> Levels {
        let (mut repetition, mut definition) = (Runs::default(), Runs::default());
        let mut slots = 0;
        for list in ends.windows(2) {
            let items = (list[1] - list[0]) as usize;
            let own_slots = items.max(1);
            repetition.push(0, 1);
            repetition.push(1, own_slots - 1);
            definition.push(u8::from(items > 0), own_slots);
            slots += own_slots;
        }
        let (repetition, definition) = (repetition.into_bytes(), definition.into_bytes());
        Levels { repetition, definition, rows: ends.len() - 1, slots }
    }
}

/// One-bit levels as runs of Parquet's RLE; bit packing is not used, because our lists are long.
#[derive(Default)]
struct Runs {
    bytes: Vec<u8>,
    level: u8,
    length: usize,
}

impl Runs {
    fn push(&mut self, level: u8, count: usize) {
        if level != self.level && count > 0 {
            self.end_run();
            self.level = level;
        }
        self.length += count;
    }

    fn end_run(&mut self) {
        if self.length > 0 {
            varint((self.length as u64) << 1, &mut self.bytes);
            self.bytes.push(self.level);
        }
        self.length = 0;
    }

    fn into_bytes(mut self) -> Vec<u8> {
        self.end_run();
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_runs_of_slots() {
        let levels = Levels::new(&[5, 8, 8, 9, 309]);
        assert_eq!((levels.rows, levels.slots), (4, 305));
        // Lists of three, no, one and three hundred items: a run is twice its length, then its level.
        assert_eq!(levels.repetition, [1 << 1, 0, 2 << 1, 1, 3 << 1, 0, 0xd6, 0x04, 1]);
        assert_eq!(levels.definition, [3 << 1, 1, 1 << 1, 0, 0xda, 0x04, 1]);
    }
}

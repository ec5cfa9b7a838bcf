//! Where lists begin and which of them are empty, as Parquet writes it.

use super::bits::varint;

/// The levels of a page of lists: a slot for each item and for each empty list.
pub struct Levels {
    /// 0 where a list begins, 1 where it goes on; packed.
    pub repetition: Vec<u8>,
    /// 0 where a list is empty, 1 where there is an item; packed.
    pub definition: Vec<u8>,
    /// How many lists there are.
    pub rows: usize,
    /// How many slots they take.
    pub slots: usize,
}

impl Levels {
    /// Of lists that end where `ends` say, after the first of them.
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

/// Levels of one bit as the runs of Parquet's RLE, none of them packed by bits: our lists are long.
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
        // Three items, none, one, three hundred: a run is its length, doubled, and its level.
        assert_eq!(levels.repetition, [1 << 1, 0, 2 << 1, 1, 3 << 1, 0, 0xd6, 0x04, 1]);
        assert_eq!(levels.definition, [3 << 1, 1, 1 << 1, 0, 0xda, 0x04, 1]);
    }
}

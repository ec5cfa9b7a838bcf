//! The distinct words of a column, numbered in order of first occurrence.

/// Fits in a small cache; with more words, their numbers would be hardly shorter than the words.
const MOST_WORDS: usize = 1 << 15;
/// This many words of the first page show whether words repeat.
const TRIED_WORDS: usize = 1 << 12;
/// At least half of the slots stay empty, so that lookups are fast.
const SLOT_BITS: u32 = 16;

/// Maps numbers to words and words to numbers.
#[derive(Default)]
pub struct Dictionary {
    words: Vec<u32>,
    /// The word in the lower half, its number plus one in the upper half; zero if the slot is empty.
    slots: Vec<u64>,
    /// Whether the dictionary has been given up: later pages do not use it.
    closed: bool,
}

impl Dictionary {
    /// The numbers of a page's words. `None` for this and all later pages if a dictionary saves nothing.
    pub fn number(&mut self, words: &[u32]) -> Option<Vec<u32>> {
        if self.closed || words.is_empty() {
            return None;
        }
        self.slots.resize(1 << SLOT_BITS, 0);
        let before = self.words.len();
        let (first, others) = words.split_at(words.len().min(TRIED_WORDS));
        let mut numbers = Vec::with_capacity(words.len());
        let fits = self.append_numbers(first, &mut numbers)
            && (before > 0 || self.words.len() <= first.len() / 2)
            && self.append_numbers(others, &mut numbers);
        if fits {
            return Some(numbers);
        }
        // Keep only the words that earlier pages refer to.
        self.words.truncate(before);
        self.slots = Vec::new();
        self.closed = true;
        None
    }

    /// The words by number.
    pub fn into_words(self) -> Vec<u32> {
        self.words
    }

    /// Returns whether all words have numbers.
    fn append_numbers(&mut self, words: &[u32], numbers: &mut Vec<u32>) -> bool {
        for word in words {
            let Some(number) = self.number_of(*word) else { return false };
            numbers.push(number);
        }
        true
    }

    fn number_of(&mut self, word: u32) -> Option<u32> {
        // Multiplying by the golden ratio makes the upper bits depend on all bits of the word.
        let mut slot = (word.wrapping_mul(0x9e37_79b9) >> (u32::BITS - SLOT_BITS)) as usize;
        loop {
            match self.slots[slot] {
                0 => break,
                known if known as u32 == word => return Some(((known >> 32) - 1) as u32),
                _ => slot = (slot + 1) % self.slots.len(),
            }
        }
        let number = self.words.len();
        if number == MOST_WORDS {
            return None;
        }
        self.words.push(word);
        self.slots[slot] = ((number as u64 + 1) << 32) | u64::from(word);
        Some(number as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_numbered_as_they_come() {
        let mut dictionary = Dictionary::default();
        assert_eq!(dictionary.number(&[7, 0, 7, 7, u32::MAX, 7]), Some(vec![0, 1, 0, 0, 2, 0]));
        assert_eq!(dictionary.number(&[u32::MAX, 8]), Some(vec![2, 3]));
        assert_eq!(dictionary.into_words(), [7, 0, u32::MAX, 8]);
    }

    #[test]
    fn words_that_hardly_repeat_are_not_numbered() {
        let mut dictionary = Dictionary::default();
        assert_eq!(dictionary.number(&[1, 2, 3, 3]), None);
        assert_eq!(dictionary.number(&[1, 1, 1, 1]), None);
        assert!(dictionary.into_words().is_empty());
    }

    #[test]
    fn more_words_than_it_takes_are_not_numbered_and_those_before_stay() {
        let mut dictionary = Dictionary::default();
        let words: Vec<u32> = (0..MOST_WORDS as u32).map(|word| (word << 16) | (word >> 3)).collect();
        let (first, others) = words.split_at(1);
        assert_eq!(dictionary.number(&first.repeat(2)), Some(vec![0, 0]));
        assert_eq!(dictionary.number(others), Some((1..MOST_WORDS as u32).collect()));
        assert_eq!(dictionary.number(&[7, 1]), None);
        assert_eq!(dictionary.number(first), None);
        assert_eq!(dictionary.into_words(), words);
    }
}

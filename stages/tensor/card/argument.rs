//! What kernels are given.

use super::Memory;

/// What a kernel is given.
#[derive(Debug, Clone, Copy)]
pub enum Argument {
    /// Where words begin.
    Address(u64),
    /// How many there are of something.
    Count(u64),
    /// A whole number of 32 bits.
    Word(u32),
    /// A number.
    Real(f32),
}

impl Argument {
    /// Its bits, the first of them first in memory.
    pub(super) fn bits(self) -> u64 {
        match self {
            Argument::Address(bits) | Argument::Count(bits) => bits,
            Argument::Word(word) => u64::from(word),
            Argument::Real(value) => u64::from(value.to_bits()),
        }
    }

    /// The letter of its type: what an emulated kernel compares with its own.
    pub(super) fn kind(&self) -> char {
        match self {
            Argument::Address(_) => 'a',
            Argument::Count(_) => 'c',
            Argument::Word(_) => 'w',
            Argument::Real(_) => 'r',
        }
    }
}

impl From<&Memory> for Argument {
    fn from(memory: &Memory) -> Argument {
        memory.at(0)
    }
}

impl From<&mut Memory> for Argument {
    fn from(memory: &mut Memory) -> Argument {
        memory.at(0)
    }
}

impl From<usize> for Argument {
    fn from(count: usize) -> Argument {
        Argument::Count(count as u64)
    }
}

impl From<f32> for Argument {
    fn from(value: f32) -> Argument {
        Argument::Real(value)
    }
}

/// What a kernel is given, from values of several types.
macro_rules! arguments {
    ($($value:expr),* $(,)?) => { [$($crate::card::Argument::from($value)),*] };
}

pub(crate) use arguments;

impl From<Argument> for u64 {
    fn from(argument: Argument) -> u64 {
        argument.bits()
    }
}

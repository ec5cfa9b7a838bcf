//! Kernel arguments.

use super::Memory;

/// A kernel argument.
#[derive(Debug, Clone, Copy)]
pub enum Argument {
    /// The address of a buffer.
    Address(u64),
    /// A 64-bit count.
    Count(u64),
    /// A 32-bit integer.
    Word(u32),
    /// A 32-bit float.
    Real(f32),
}

impl Argument {
    /// Its bits, laid out little-endian in a 64-bit word.
    pub(super) fn bits(self) -> u64 {
        match self {
            Argument::Address(bits) | Argument::Count(bits) => bits,
            Argument::Word(word) => u64::from(word),
            Argument::Real(value) => u64::from(value.to_bits()),
        }
    }

    /// A letter for its type; the emulator compares it with the kernel's signature.
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

/// Builds an array of arguments from values of several types.
macro_rules! arguments {
    ($($value:expr),* $(,)?) => { [$($crate::card::Argument::from($value)),*] };
}

pub(crate) use arguments;

impl From<Argument> for u64 {
    fn from(argument: Argument) -> u64 {
        argument.bits()
    }
}

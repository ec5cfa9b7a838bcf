//! What a kind takes and what it makes, so that wrong wires are found before anything is computed.

/// The files in an artifact of a kind.
#[derive(Debug, Clone, Copy)]
pub enum Makes {
    /// Not known in advance.
    Anything,
    /// These files and folders, and no others.
    These(&'static [Output]),
}

/// One file or folder of an artifact.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    /// Its name.
    pub name: &'static str,
    /// Whether every artifact of the kind contains it.
    pub always: bool,
}

/// An output that every artifact of a kind has.
pub const fn always(name: &'static str) -> Output {
    Output { name, always: true }
}

/// An output that depends on params or inputs.
pub const fn sometimes(name: &'static str) -> Output {
    Output { name, always: false }
}

/// The names of the metrics of a kind.
#[derive(Debug, Clone, Copy)]
pub enum MetricNames {
    /// Not known in advance.
    Any,
    /// A subset of these, listed in groups.
    These(&'static [&'static [&'static str]]),
}

/// The named inputs of a kind.
#[derive(Clone, Copy)]
pub enum Slots {
    /// Any names that the pipeline file uses.
    Any,
    /// Any names that the pipeline file uses; each slot takes this.
    Each(Takes),
    /// Exactly these.
    Named(&'static [Slot]),
}

/// One named input.
#[derive(Clone, Copy)]
pub struct Slot {
    /// The name written below `in:` in a pipeline file.
    pub name: &'static str,
    /// A one-sentence description.
    pub about: &'static str,
    /// Whether a stage must fill it.
    pub required: bool,
    /// What can be wired to it.
    pub takes: Takes,
}

/// What can be wired to a slot.
#[derive(Debug, Clone, Copy)]
pub enum Takes {
    /// Any artifact, any file and any folder.
    Anything,
    /// A file that no stage produces. Artifacts do not fit, because they are folders.
    File,
    /// An artifact or a folder with all the files of one of these lists. External files are not checked.
    OneOf(&'static [&'static [&'static str]]),
}

impl Slots {
    /// What can be wired to the slot of this name.
    pub fn takes(&self, name: &str) -> Takes {
        match self {
            Slots::Any => Takes::Anything,
            Slots::Each(takes) => *takes,
            Slots::Named(slots) => {
                slots.iter().find(|slot| slot.name == name).map_or(Takes::Anything, |slot| slot.takes)
            }
        }
    }
}

impl Takes {
    /// Whether an artifact of a kind may fit, given what the kind makes and which outputs are left out.
    pub fn fits(&self, makes: Makes, left_out: &[&str]) -> bool {
        match (self, makes) {
            (Takes::File, _) => false,
            (Takes::Anything, _) | (_, Makes::Anything) => true,
            (Takes::OneOf(lists), Makes::These(outputs)) => {
                let held = |file: &&str| {
                    outputs.iter().any(|output| output.name == *file) && !left_out.contains(file)
                };
                lists.iter().any(|list| list.iter().all(held))
            }
        }
    }
}

/// The inputs that a pipeline file wires to a stage.
#[derive(Debug, Clone, Copy)]
pub struct Wires<'a>(&'a [(&'a str, Option<&'a str>)]);

impl<'a> Wires<'a> {
    /// Wires for each filled slot, with the path if it holds an external file or folder.
    pub fn new(slots: &'a [(&'a str, Option<&'a str>)]) -> Wires<'a> {
        Wires(slots)
    }

    /// Whether nothing is wired.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a slot is filled.
    pub fn has(&self, slot: &str) -> bool {
        self.0.iter().any(|(name, _)| *name == slot)
    }

    /// The path of the external file or folder in a slot.
    pub fn file(&self, slot: &str) -> Option<&'a str> {
        self.0.iter().find(|(name, _)| *name == slot).and_then(|(_, file)| *file)
    }
}

//! Reads Python's pickles as data: nothing is imported, called or executed.
//!
//! A pickle is a program for a stack machine that may call anything. Here any opcode or name that weight files do not
//! need is an error, and a call becomes a node that records what would have been called. Values are referred to by
//! number, so a list that contains itself is harmless and a repeated reference costs nothing.

use anyhow::{Context, Result, bail, ensure};
use std::collections::HashMap;

/// The number of a value.
pub type Id = usize;

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    /// `None`.
    Nothing,
    /// `True` and `False`.
    Bool(bool),
    /// An integer of up to 8 bytes.
    Integer(i64),
    /// A floating-point number.
    Float(f64),
    /// Text.
    Text(String),
    /// A list or a tuple.
    List(Vec<Id>),
    /// A dictionary, in insertion order.
    Map(Vec<(Id, Id)>),
    /// A global name: `torch FloatStorage`.
    Name(String),
    /// A call that was not made: the callee and its arguments.
    Call(Id, Id),
    /// A persistent object outside of the pickle, by its id.
    Outside(Id),
}

/// The only global names that are accepted.
const NAMES: [&str; 13] = [
    "collections OrderedDict",
    "torch BFloat16Storage",
    "torch BoolStorage",
    "torch ByteStorage",
    "torch CharStorage",
    "torch DoubleStorage",
    "torch FloatStorage",
    "torch HalfStorage",
    "torch IntStorage",
    "torch LongStorage",
    "torch ShortStorage",
    "torch._utils _rebuild_parameter",
    "torch._utils _rebuild_tensor_v2",
];

/// A pickle that was read.
#[derive(Debug)]
pub struct Pickle {
    nodes: Vec<Node>,
    root: Id,
}

impl Pickle {
    /// Reads one pickle; also returns its length in bytes.
    pub fn read(bytes: &[u8]) -> Result<(Pickle, usize)> {
        let mut machine = Machine {
            bytes,
            at: 0,
            nodes: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
        };
        loop {
            let at = machine.at;
            let opcode = machine.take(1)?[0];
            if opcode == b'.' {
                break;
            }
            machine.step(opcode).with_context(|| format!("at byte {at} of the pickle"))?;
        }
        let root = machine.pop()?;
        Ok((Pickle { nodes: machine.nodes, root }, machine.at))
    }

    /// The value that the pickle stands for.
    pub fn root(&self) -> &Node {
        &self.nodes[self.root]
    }

    /// A value by its number.
    pub fn node(&self, id: Id) -> &Node {
        &self.nodes[id]
    }

    /// All values.
    pub fn all(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter()
    }

    /// The value of a dictionary's key.
    pub fn entry<'a>(&'a self, map: &Node, key: &str) -> Option<&'a Node> {
        let Node::Map(entries) = map else { return None };
        let found = entries.iter().find(|(name, _)| self.text(*name) == Some(key));
        found.map(|(_, value)| self.node(*value))
    }

    /// The text of a value, if it is text.
    pub fn text(&self, id: Id) -> Option<&str> {
        match self.node(id) {
            Node::Text(text) => Some(text),
            _ => None,
        }
    }
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    nodes: Vec<Node>,
    stack: Vec<Id>,
    /// The heights of the stack at its marks.
    marks: Vec<usize>,
    memo: HashMap<usize, Id>,
}

impl<'a> Machine<'a> {
    fn step(&mut self, opcode: u8) -> Result<()> {
        match opcode {
            // PROTO.
            0x80 => {
                let version = self.take(1)?[0];
                ensure!((2..=5).contains(&version), "version {version} of the pickle format is not read");
            }
            b'N' => self.push(Node::Nothing),
            0x88 => self.push(Node::Bool(true)),
            0x89 => self.push(Node::Bool(false)),
            // BININT, BININT1, BININT2, LONG1.
            b'J' => {
                let number = self.number(4)? as u32 as i32;
                self.push(Node::Integer(number.into()));
            }
            b'K' => self.push_number(1)?,
            b'M' => self.push_number(2)?,
            0x8a => {
                let width = usize::from(self.take(1)?[0]);
                ensure!(width <= 8, "a whole number of {width} bytes");
                let digits = self.take(width)?;
                let negative = digits.last().is_some_and(|last| last & 0x80 != 0);
                let mut all = [if negative { 0xff } else { 0 }; 8];
                all[..width].copy_from_slice(digits);
                self.push(Node::Integer(i64::from_le_bytes(all)));
            }
            // BINFLOAT, the only big-endian number.
            b'G' => {
                let bits = self.take(8)?.iter().fold(0, |bits, byte| bits << 8 | u64::from(*byte));
                self.push(Node::Float(f64::from_bits(bits)));
            }
            // BINUNICODE, SHORT_BINUNICODE.
            b'X' => self.push_text(4)?,
            0x8c => self.push_text(1)?,
            // EMPTY_LIST, EMPTY_TUPLE, EMPTY_DICT, MARK.
            b']' | b')' => self.push(Node::List(Vec::new())),
            b'}' => self.push(Node::Map(Vec::new())),
            b'(' => self.marks.push(self.stack.len()),
            // TUPLE, TUPLE1 to TUPLE3.
            b't' => {
                let items = self.since_mark()?;
                self.push(Node::List(items));
            }
            0x85..=0x87 => {
                let start = self.stack.len().checked_sub(usize::from(opcode - 0x84));
                let start = start.filter(|start| self.marks.last().is_none_or(|mark| mark <= start));
                let items = self.stack.split_off(start.context("a tuple of more than there is")?);
                self.push(Node::List(items));
            }
            // APPEND, APPENDS, SETITEM, SETITEMS.
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            b'e' => {
                let items = self.since_mark()?;
                self.append(items)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set(vec![key, value])?;
            }
            b'u' => {
                let items = self.since_mark()?;
                self.set(items)?;
            }
            // BINPUT, LONG_BINPUT, MEMOIZE, BINGET, LONG_BINGET.
            b'q' => self.remember(1)?,
            b'r' => self.remember(4)?,
            0x94 => {
                let id = *self.stack.last().context("nothing to remember")?;
                self.memo.insert(self.memo.len(), id);
            }
            b'h' => self.recall(1)?,
            b'j' => self.recall(4)?,
            // FRAME: the length of the next part, which is not needed here.
            0x95 => {
                self.take(8)?;
            }
            // GLOBAL, STACK_GLOBAL.
            b'c' => {
                let name = format!("{} {}", self.line()?, self.line()?);
                self.push_name(name)?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                match (&self.nodes[module], &self.nodes[name]) {
                    (Node::Text(module), Node::Text(name)) => self.push_name(format!("{module} {name}"))?,
                    _ => bail!("a name that is no text"),
                }
            }
            // REDUCE: a call.
            b'R' => {
                let (arguments, what) = (self.pop()?, self.pop()?);
                match &self.nodes[what] {
                    Node::Name(name) if name == NAMES[0] => self.push(Node::Map(Vec::new())),
                    Node::Name(name) if name.starts_with("torch._utils ") => {
                        self.push(Node::Call(what, arguments));
                    }
                    _ => bail!("a call of what is no function"),
                }
            }
            // BUILD sets attributes of the object on the stack; those of weights do not matter.
            b'b' => {
                self.pop()?;
            }
            // BINPERSID.
            b'Q' => {
                let what = self.pop()?;
                self.push(Node::Outside(what));
            }
            other => {
                bail!("it holds the opcode {other:#04x}, which a file of weights has no need of: refused")
            }
        }
        Ok(())
    }

    fn push(&mut self, node: Node) {
        self.stack.push(self.nodes.len());
        self.nodes.push(node);
    }

    fn push_number(&mut self, width: usize) -> Result<()> {
        let number = self.number(width)?;
        self.push(Node::Integer(number as i64));
        Ok(())
    }

    fn push_text(&mut self, width: usize) -> Result<()> {
        let length = self.number(width)?;
        let text = std::str::from_utf8(self.take(length)?).context("text that is none")?.to_owned();
        self.push(Node::Text(text));
        Ok(())
    }

    fn push_name(&mut self, name: String) -> Result<()> {
        ensure!(
            NAMES.contains(&name.as_str()),
            "it asks Python for `{}`, which a file of weights has no need of: refused",
            name.replace(' ', ".")
        );
        self.push(Node::Name(name));
        Ok(())
    }

    fn pop(&mut self) -> Result<Id> {
        let below_mark = self.marks.last().is_some_and(|mark| *mark >= self.stack.len());
        let top = self.stack.pop().filter(|_| !below_mark);
        top.context("it takes more from the stack than there is")
    }

    fn since_mark(&mut self) -> Result<Vec<Id>> {
        let mark = self.marks.pop().filter(|mark| *mark <= self.stack.len());
        Ok(self.stack.split_off(mark.context("it goes back to a mark that is not there")?))
    }

    fn append(&mut self, items: Vec<Id>) -> Result<()> {
        match self.stack.last().map(|id| &mut self.nodes[*id]) {
            Some(Node::List(list)) => list.extend(items),
            _ => bail!("it appends to what is no list"),
        }
        Ok(())
    }

    fn set(&mut self, items: Vec<Id>) -> Result<()> {
        let (pairs, rest) = items.as_chunks::<2>();
        match self.stack.last().map(|id| &mut self.nodes[*id]) {
            Some(Node::Map(map)) if rest.is_empty() => {
                map.extend(pairs.iter().map(|[key, value]| (*key, *value)))
            }
            _ => bail!("it sets entries of what is no dictionary"),
        }
        Ok(())
    }

    fn remember(&mut self, width: usize) -> Result<()> {
        let place = self.number(width)?;
        let id = *self.stack.last().context("nothing to remember")?;
        self.memo.insert(place, id);
        Ok(())
    }

    fn recall(&mut self, width: usize) -> Result<()> {
        let place = self.number(width)?;
        let id = self.memo.get(&place).context("it recalls what was not remembered")?;
        self.stack.push(*id);
        Ok(())
    }

    fn number(&mut self, width: usize) -> Result<usize> {
        Ok(self.take(width)?.iter().rev().fold(0, |number, digit| number << 8 | usize::from(*digit)))
    }

    fn line(&mut self) -> Result<&'a str> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().position(|byte| *byte == b'\n').context("cut short")?;
        self.at += end + 1;
        std::str::from_utf8(&rest[..end]).context("a name that is no text")
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        ensure!(length <= rest.len(), "the pickle is cut short");
        self.at += length;
        Ok(&rest[..length])
    }
}

#[cfg(test)]
mod tests {
    use super::{Node, Pickle};

    #[test]
    fn values_are_read_and_repeated_ones_are_one() {
        // pickle.dumps({"a": [1, -2, 0.5, None, True], "b": x, "c": x}, 2) with x = (300,).
        let bytes = b"\x80\x02}q\x00(X\x01\x00\x00\x00aq\x01]q\x02(K\x01J\xfe\xff\xff\xffG?\xe0\x00\x00\x00\x00\x00\x00N\x88eX\x01\x00\x00\x00bq\x03M,\x01\x85q\x04X\x01\x00\x00\x00cq\x05h\x04u.rest";
        let (pickle, length) = Pickle::read(bytes).unwrap();
        assert_eq!(&bytes[length..], b"rest");
        let Some(Node::List(list)) = pickle.entry(pickle.root(), "a") else { panic!("no list") };
        let list: Vec<&Node> = list.iter().map(|id| pickle.node(*id)).collect();
        let expected =
            [Node::Integer(1), Node::Integer(-2), Node::Float(0.5), Node::Nothing, Node::Bool(true)];
        assert_eq!(list, expected.iter().collect::<Vec<_>>());
        assert!(std::ptr::eq(
            pickle.entry(pickle.root(), "b").unwrap(),
            pickle.entry(pickle.root(), "c").unwrap()
        ));
    }

    #[test]
    fn what_asks_for_code_is_refused_by_name() {
        let refused = |bytes: &[u8]| format!("{:#}", Pickle::read(bytes).unwrap_err());
        // os.system("echo") as a pickle.
        assert_eq!(
            refused(b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00echo\x85R."),
            "at byte 2 of the pickle: it asks Python for `os.system`, which a file of weights has no need of: refused"
        );
        assert_eq!(
            refused(b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93."),
            "at byte 18 of the pickle: it asks Python for `builtins.eval`, which a file of weights has no need of: refused"
        );
        // INST, an older opcode for calls.
        let older = refused(b"\x80\x02(X\x04\x00\x00\x00echoios\nsystem\n.");
        assert!(older.contains("the opcode 0x69"), "{older}");
        let class = refused(b"\x80\x02ctorch\nFloatStorage\n)R.");
        assert!(class.ends_with("a call of what is no function"), "{class}");
    }

    #[test]
    fn no_damage_is_a_panic() {
        let whole = b"\x80\x02}(X\x01\x00\x00\x00a](K\x01K\x02eX\x01\x00\x00\x00bK\x03\x85q\x01u.";
        assert!(Pickle::read(whole).is_ok());
        for length in 0..whole.len() {
            assert!(Pickle::read(&whole[..length]).is_err(), "{length}");
        }
        for place in 0..whole.len() {
            for byte in 0..=255 {
                let mut damaged = whole.to_vec();
                damaged[place] = byte;
                let _ = Pickle::read(&damaged);
            }
        }
    }
}

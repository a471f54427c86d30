//! Bytes that are almost right, for tests of what reads strangers' bytes: each
//! is a proptest named `fuzz_NAME`, which `cargo xtask fuzz` runs for longer.
//! With the feature `fuzz` only, which no program has.

use std::fmt;
use std::ops::Deref;

use proptest::prelude::*;

/// The most that edits make of an example, in bytes.
const LONGEST: usize = 256 << 10;

/// What a stranger sends.
#[derive(Clone, PartialEq, Eq)]
pub struct Bytes(Vec<u8>);

/// One change of bytes: what, where, and with what.
type Edit = (u8, u16, u8);

/// Any bytes; or one of the examples, or the start of one and the rest of
/// another, with a few edits.
pub fn bytes<T: AsRef<[u8]>>(examples: &[T]) -> impl Strategy<Value = Bytes> + use<T> {
    let examples: Vec<Vec<u8>> = examples.iter().map(|text| text.as_ref().to_vec()).collect();
    let example = || prop::sample::select(examples.clone());
    let edits = || prop::collection::vec(any::<Edit>(), 0..12);
    prop_oneof![
        1 => prop::collection::vec(any::<u8>(), 0..300),
        6 => (example(), edits()).prop_map(|(bytes, edits)| mutated(&bytes, &edits)),
        2 => (example(), example(), any::<(u16, u16)>(), edits()).prop_map(
            |(start, rest, (end, from), edits)| {
                let (end, from) = (place(&start, end), place(&rest, from));
                mutated(&[&start[..end], &rest[from..]].concat(), &edits)
            }
        ),
    ]
    .prop_map(Bytes)
}

/// `example` with `edits`: bytes changed, put in, taken out, doubled, repeated
/// many times, cut off, and numbers made as large as they get.
fn mutated(example: &[u8], edits: &[Edit]) -> Vec<u8> {
    let mut bytes = example.to_vec();
    for (what, at, value) in edits {
        let at = place(&bytes, *at);
        let end = (at + usize::from(*value)).min(bytes.len());
        match what % 9 {
            0 if at < bytes.len() => bytes[at] = *value,
            1 if at < bytes.len() => bytes[at] ^= 1 << (value % 8),
            2 => bytes.insert(at, *value),
            3 => drop(bytes.drain(at..end)),
            4 => {
                let part = bytes[at..end].to_vec();
                bytes.extend(part);
            }
            5 => bytes.truncate(bytes.len().saturating_sub(usize::from(*value))),
            6 => {
                // What nests does so deeply, what is counted is many.
                let part = &bytes[at..(at + 1 + usize::from(value % 16)).min(bytes.len())];
                let most = LONGEST.saturating_sub(bytes.len()) / part.len().max(1);
                let part = part.repeat(most.min(8 << (value / 16)));
                bytes.splice(at..at, part);
            }
            7 => {
                let digits = |byte: &u8| byte.is_ascii_digit();
                let from = at + bytes[at..].iter().position(digits).unwrap_or(0);
                let to = from + bytes[from..].iter().take_while(|byte| digits(byte)).count();
                let number = NUMBERS[usize::from(*value) % NUMBERS.len()];
                bytes.splice(from..to, number.bytes());
            }
            8 => {
                let word = WORDS[usize::from(*value) % WORDS.len()];
                bytes.splice(at..at, word.bytes());
            }
            _ => {}
        }
    }
    bytes.truncate(LONGEST);
    bytes
}

/// Where types end, and numbers that are none.
const NUMBERS: [&str; 8] = [
    "0",
    "-1",
    "255",
    "4294967296",
    "9223372036854775808",
    "18446744073709551615",
    "99999999999999999999999",
    "1e999",
];

/// What means something to one reader or another.
const WORDS: [&str; 16] = [
    "\0", "\n", "\r\n", "\u{feff}", "\u{202e}", "\u{1b}[", "../", "/", "\\", "\"", "{", "[", "&",
    "*", "<", "%2f",
];

fn place(bytes: &[u8], at: u16) -> usize {
    usize::from(at) % (bytes.len() + 1)
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Bytes {
    /// As a literal of Rust, to make a test of it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

//! Bytes that are almost right, for tests of what reads strangers' bytes. A
//! pure function of an example and edits, so that what draws the edits can
//! shrink them. Used by tests of other crates only.

/// One change of bytes: what, where, and with what.
pub type Edit = (u8, u16, u8);

/// `example` with `edits`: bytes changed, put in, taken out, doubled, cut off.
#[must_use]
pub fn mutated(example: &[u8], edits: &[Edit]) -> Vec<u8> {
    let mut bytes = example.to_vec();
    for (what, at, value) in edits {
        let at = usize::from(*at) % (bytes.len() + 1);
        let end = (at + usize::from(*value)).min(bytes.len());
        match what % 6 {
            0 if at < bytes.len() => bytes[at] = *value,
            1 if at < bytes.len() => bytes[at] ^= 1 << (value % 8),
            2 => bytes.insert(at, *value),
            3 => drop(bytes.drain(at..end)),
            4 => {
                let part = bytes[at..end].to_vec();
                bytes.extend(part);
            }
            5 => bytes.truncate(bytes.len().saturating_sub(usize::from(*value))),
            _ => {}
        }
    }
    bytes
}

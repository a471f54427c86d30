//! Messages between an owner and the process it started apart: a length of
//! four bytes, big-endian, and that many bytes of JSON.

use std::io::{self, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Longest message; a specification with thousands of mounts is far below.
const LONGEST: usize = 4 << 20;

/// Writes one message.
pub(crate) fn send(to: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    let body = serde_json::to_vec(message)?;
    let length = u32::try_from(body.len()).ok().filter(|length| *length as usize <= LONGEST);
    let length = length.ok_or_else(|| io::Error::other("message too long"))?;
    let mut frame = length.to_be_bytes().to_vec();
    frame.extend_from_slice(&body);
    to.write_all(&frame)
}

/// Reads one message; `None` when the other end is closed between messages.
pub(crate) fn receive<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    let mut have = 0;
    while have < length.len() {
        match from.read(&mut length[have..]) {
            Ok(0) if have == 0 => return Ok(None),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => have += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // A process that was killed with unread messages resets the socket.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    let length = u32::from_be_bytes(length) as usize;
    if length > LONGEST {
        return Err(io::Error::other(format!("message of {length} bytes")));
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body)?;
    Ok(Some(serde_json::from_slice(&body)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_comes_back_and_the_end_is_seen() {
        let mut bytes = Vec::new();
        send(&mut bytes, &"hello").unwrap();
        let mut reader = bytes.as_slice();
        assert_eq!(receive::<String>(&mut reader).unwrap().as_deref(), Some("hello"));
        assert_eq!(receive::<String>(&mut reader).unwrap(), None);
    }

    #[test]
    fn a_cut_message_and_an_absurd_length_are_errors() {
        let mut bytes = Vec::new();
        send(&mut bytes, &"hello").unwrap();
        assert!(receive::<String>(&mut &bytes[..6]).is_err());
        assert!(receive::<String>(&mut &bytes[..2]).is_err());
        assert!(receive::<String>(&mut [0xff_u8; 8].as_slice()).is_err());
    }
}

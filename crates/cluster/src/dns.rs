//! Asking a name server one question, to know that it answers. The format is
//! that of RFC 1035, section 4.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::BorrowedFd;
use std::time::Duration;

use seatrial_sandbox::netns::udp_socket;
use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::error::Error;

/// How long one question may stay unanswered before it is asked again.
const PATIENCE: Duration = Duration::from_millis(200);

/// Asks `server`, in the network namespace `namespace`, for the address of
/// `name`. An error is what it answered instead.
pub(crate) async fn ask(
    namespace: BorrowedFd<'_>,
    server: Ipv4Addr,
    name: &str,
) -> Result<Result<Ipv4Addr, String>, Error> {
    let socket = udp_socket(namespace)?;
    let failed = |source| Error::Socket { what: "ask the name server".into(), source };
    let socket = UdpSocket::from_std(socket.into()).map_err(failed)?;
    socket.connect(SocketAddrV4::new(server, 53)).await.map_err(failed)?;
    if let Err(error) = socket.send(&question(name)).await {
        return Ok(Err(error.to_string()));
    }
    let mut buffer = [0; 512];
    Ok(match timeout(PATIENCE, socket.recv(&mut buffer)).await {
        Err(_) => Err("no answer".to_owned()),
        Ok(Err(error)) => Err(error.to_string()),
        Ok(Ok(length)) => answer(&buffer[..length]),
    })
}

fn question(name: &str) -> Vec<u8> {
    // Id 7, recursion desired, one question.
    let mut packet = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        packet.push(label.len() as u8);
        packet.extend_from_slice(label.as_bytes());
    }
    // The root label, type A, class IN.
    packet.extend_from_slice(&[0, 0, 1, 0, 1]);
    packet
}

/// The address in the first answer, which CoreDNS puts last in the packet.
fn answer(packet: &[u8]) -> Result<Ipv4Addr, String> {
    let header = packet.get(..12).ok_or("a cut answer")?;
    match (header[3] & 0x0f, u16::from_be_bytes([header[6], header[7]])) {
        (0, 1..) => {}
        (0, 0) => return Err("no address".to_owned()),
        (3, _) => return Err("no such name".to_owned()),
        (code, _) => return Err(format!("error {code}")),
    }
    // After the question: a name (a pointer or labels), type, class, ttl, length.
    let mut at = 12;
    at = skip_name(packet, at).ok_or("a cut answer")? + 4;
    at = skip_name(packet, at).ok_or("a cut answer")? + 10;
    match packet.get(at..at + 4) {
        Some(&[a, b, c, d]) => Ok(Ipv4Addr::new(a, b, c, d)),
        _ => Err("a cut answer".to_owned()),
    }
}

fn skip_name(packet: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *packet.get(at)? {
            0 => return Some(at + 1),
            length if length & 0xc0 == 0xc0 => return Some(at + 2),
            length => at += usize::from(length) + 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_comes_out_and_nonsense_is_an_error() {
        let mut packet = question("a.b");
        packet[7] = 1;
        packet.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 10, 96, 0, 1]);
        assert_eq!(answer(&packet), Ok(Ipv4Addr::new(10, 96, 0, 1)));
        for end in 0..packet.len() {
            assert!(answer(&packet[..end]).is_err(), "{end}");
        }
        packet[3] = 3;
        assert_eq!(answer(&packet), Err("no such name".to_owned()));
    }
}

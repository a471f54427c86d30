//! Declared egress: the few places outside that pods may connect to.
//!
//! An environment has no link to the machine, so a connection out is made of
//! two: each declared host name resolves, inside, to an address of the fabric;
//! this process listens there and dials the host by its name, outside. What is
//! not declared has no name and no address, and no packet leaves. TLS passes
//! through as it is.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::BorrowedFd;

use seatrial_core::pipeline::Egress;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::error::Error;
use crate::forward::listen;

/// Hosts that an environment may name: addresses of one last byte.
const MOST: usize = 250;

/// The address inside of each declared host.
pub(crate) fn addresses(egress: &[Egress]) -> Result<BTreeMap<&str, Ipv4Addr>, Error> {
    let hosts: BTreeMap<&str, ()> = egress.iter().map(|e| (e.host.as_str(), ())).collect();
    if hosts.len() > MOST {
        return Err(Error::Refused(format!("at most {MOST} hosts can be named in `egress`")));
    }
    let address = |n: u8| Ipv4Addr::new(10, 0, 255, n);
    Ok(hosts.into_keys().zip((1..=u8::MAX).map(address)).collect())
}

/// Opens the ways out. They close, with all connections, when the set is
/// dropped.
pub(crate) fn open(fabric: BorrowedFd<'_>, egress: &[Egress]) -> Result<JoinSet<()>, Error> {
    let addresses = addresses(egress)?;
    let mut ways = JoinSet::new();
    for to in egress {
        let Some(address) = addresses.get(to.host.as_str()) else { continue };
        let listener = listen(fabric, SocketAddrV4::new(*address, to.port))?;
        ways.spawn(lead_out(listener, to.clone()));
    }
    Ok(ways)
}

async fn lead_out(listener: TcpListener, to: Egress) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((mut inside, _)) = accepted else { continue };
                let to = to.clone();
                connections.spawn(async move {
                    // Who cannot be reached is seen inside as a connection
                    // that closes at once.
                    let mut outside = TcpStream::connect((to.host.as_str(), to.port)).await?;
                    let _ = (inside.set_nodelay(true), outside.set_nodelay(true));
                    copy_bidirectional(&mut inside, &mut outside).await
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_one_address_for_all_its_ports() {
        let to = |host: &str, port| Egress { host: host.to_owned(), port };
        let egress = [to("b.example", 443), to("a.example", 80), to("b.example", 80)];
        let expect = [
            ("a.example", Ipv4Addr::new(10, 0, 255, 1)),
            ("b.example", Ipv4Addr::new(10, 0, 255, 2)),
        ];
        assert_eq!(addresses(&egress).expect("few"), BTreeMap::from(expect));
        let many: Vec<_> = (0..251).map(|n| to(&format!("h{n}"), 1)).collect();
        assert!(addresses(&many).is_err());
    }
}

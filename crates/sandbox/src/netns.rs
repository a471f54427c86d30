//! Network namespaces: sockets made in one and used from another, and the
//! links and routes of an environment.
//!
//! An environment has no link to the machine. What crosses does so through a
//! socket that its owner made inside: a socket belongs for good to the
//! namespace it was made in, whichever process uses it.
#![expect(unsafe_code, reason = "the ioctl that brings a link up has no safe wrapper")]

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::process::{Command, Stdio};

use nix::libc;
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::sockopt::ReuseAddr;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, setsockopt, socket,
};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Tried};

/// Makes an IPv4 TCP socket, not blocking, in the network namespace `namespace`. It
/// can then be bound or connected by any thread.
///
/// # Errors
/// When the namespace cannot be entered (this needs root) or no socket made.
pub fn tcp_socket(namespace: impl AsFd) -> Result<OwnedFd, Error> {
    socket_in(namespace.as_fd(), SockType::Stream)
}

/// Makes an IPv4 UDP socket in the network namespace `namespace`, as
/// [`tcp_socket`] does.
///
/// # Errors
/// As [`tcp_socket`].
pub fn udp_socket(namespace: impl AsFd) -> Result<OwnedFd, Error> {
    socket_in(namespace.as_fd(), SockType::Datagram)
}

/// Listens in the network namespace `namespace`, not blocking. The address
/// must be one of that namespace.
///
/// # Errors
/// As [`tcp_socket`], and when the address is not there or taken.
pub fn listen(namespace: impl AsFd, address: SocketAddrV4) -> Result<TcpListener, Error> {
    let socket = tcp_socket(namespace)?;
    setsockopt(&socket, ReuseAddr, &true).tried(|| "set a socket option".to_owned())?;
    bind(socket.as_raw_fd(), &SockaddrIn::from(address)).tried(|| format!("bind {address}"))?;
    nix::sys::socket::listen(&socket, Backlog::MAXCONN).tried(|| format!("listen on {address}"))?;
    Ok(socket.into())
}

fn socket_in(namespace: BorrowedFd<'_>, kind: SockType) -> Result<OwnedFd, Error> {
    // A thread of its own: the namespace is a property of the thread, and one
    // that could not be left again would be a trap for whoever gets it next.
    std::thread::scope(|scope| {
        let made = scope.spawn(|| {
            setns(namespace, CloneFlags::CLONE_NEWNET)
                .tried(|| "enter a network namespace".to_owned())?;
            let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
            socket(AddressFamily::Inet, kind, flags, None).tried(|| "make a socket".to_owned())
        });
        made.join().unwrap_or_else(|_| Err(Error::Gone("making a socket")))
    })
}

/// A route by way of a neighbour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// The addresses it is for: `10.244.1.0/24`.
    pub to: String,
    /// The neighbour.
    pub via: Ipv4Addr,
}

/// The namespace that joins the nodes of an environment: a bridge with an
/// address of its own. Nothing leads from it to the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fabric {
    /// The bridge's own address, where the owner's listeners are.
    pub address: Ipv4Addr,
    /// Length of the network's prefix.
    pub prefix: u8,
    /// Further addresses of the bridge, for listeners that need a port that is
    /// taken on its own.
    pub more: Vec<Ipv4Addr>,
    /// Routes to what lies behind the nodes.
    pub routes: Vec<Route>,
}

/// The link of one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The node's address; the prefix is the fabric's.
    pub address: Ipv4Addr,
    /// Routes to what lies behind other nodes.
    pub routes: Vec<Route>,
    /// Further addresses of the node, on its loopback.
    pub loopback: Vec<Ipv4Addr>,
}

/// Commands for `ip -batch -` in the fabric's namespace. `nodes` are the links'
/// names and the paths of their namespaces.
fn fabric_batch(fabric: &Fabric, nodes: &[(String, String)]) -> String {
    let Fabric { address, prefix, .. } = fabric;
    let mut text = String::from("link set lo up\nlink add fabric type bridge\n");
    let _ = writeln!(text, "addr add {address}/{prefix} dev fabric");
    for address in &fabric.more {
        let _ = writeln!(text, "addr add {address}/32 dev fabric");
    }
    text.push_str("link set fabric up\n");
    for (name, namespace) in nodes {
        let _ = writeln!(text, "link add {name} type veth peer name eth0 netns {namespace}");
        let _ = writeln!(text, "link set {name} master fabric up");
    }
    for Route { to, via } in &fabric.routes {
        let _ = writeln!(text, "route add {to} via {via}");
    }
    // What is nowhere is refused at once instead of being waited for.
    text.push_str("route add unreachable default\n");
    text
}

/// Commands for `ip -batch -` in a node's namespace.
fn link_batch(fabric: &Fabric, link: &Link) -> String {
    let mut text = String::from("link set lo up\n");
    for address in &link.loopback {
        let _ = writeln!(text, "addr add {address}/32 dev lo");
    }
    let _ = writeln!(text, "addr add {}/{} dev eth0", link.address, fabric.prefix);
    text.push_str("link set eth0 up\n");
    for Route { to, via } in &link.routes {
        let _ = writeln!(text, "route add {to} via {via}");
    }
    let _ = writeln!(text, "route add default via {}", fabric.address);
    text
}

/// Sets up the fabric; this process is in its namespace.
pub(crate) fn set_up_fabric(fabric: &Fabric, nodes: &[(String, String)]) -> Result<(), Error> {
    ip(&fabric_batch(fabric, nodes))?;
    forward()
}

/// Sets up the link of a node; this process is in its namespace.
pub(crate) fn set_up_link(fabric: &Fabric, link: &Link) -> Result<(), Error> {
    ip(&link_batch(fabric, link))?;
    forward()?;
    // Services on the own bridge need their answers to pass the node's rules.
    let path = "/proc/sys/net/bridge/bridge-nf-call-iptables";
    match std::fs::write(path, "1") {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::file("write", path, error))
        }
        _ => Ok(()),
    }
}

fn forward() -> Result<(), Error> {
    let path = "/proc/sys/net/ipv4/ip_forward";
    std::fs::write(path, "1").map_err(|source| Error::file("write", path, source))
}

fn ip(batch: &str) -> Result<(), Error> {
    let mut child = Command::new("ip")
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .tried(|| "start `ip` (package iproute2)".to_owned())?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(batch.as_bytes()).tried(|| "write to `ip`".to_owned())?;
    }
    let output = child.wait_with_output().tried(|| "wait for `ip`".to_owned())?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::Setup(format!("ip: {}", String::from_utf8_lossy(&output.stderr).trim())))
}

/// Brings the loopback of this process's network namespace up.
pub(crate) fn loopback_up() -> Result<(), Error> {
    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)
        .tried(|| "make a socket".to_owned())?;
    // SAFETY: all fields are integers or arrays of them, for which zero is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = (*from).cast_signed();
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads an `ifreq`, which the pointer points to.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    if result == 0 {
        return Ok(());
    }
    Err(io::Error::last_os_error()).tried(|| "bring the loopback up".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fabric() -> Fabric {
        let via = Ipv4Addr::new(10, 0, 0, 2);
        let routes = vec![Route { to: "10.244.0.0/24".into(), via }];
        let more = vec![Ipv4Addr::new(10, 0, 255, 1)];
        Fabric { address: Ipv4Addr::new(10, 0, 0, 1), prefix: 16, more, routes }
    }

    #[test]
    fn links_of_the_fabric() {
        let batch = fabric_batch(&fabric(), &[("c0n0".into(), "/proc/7/fd/3".into())]);
        insta::assert_snapshot!(batch, @"
        link set lo up
        link add fabric type bridge
        addr add 10.0.0.1/16 dev fabric
        addr add 10.0.255.1/32 dev fabric
        link set fabric up
        link add c0n0 type veth peer name eth0 netns /proc/7/fd/3
        link set c0n0 master fabric up
        route add 10.244.0.0/24 via 10.0.0.2
        route add unreachable default
        ");
    }

    #[test]
    fn links_of_a_node() {
        let link = Link {
            address: Ipv4Addr::new(10, 0, 0, 2),
            routes: vec![Route { to: "10.244.1.0/24".into(), via: Ipv4Addr::new(10, 0, 0, 3) }],
            loopback: vec![Ipv4Addr::new(10, 96, 0, 10)],
        };
        insta::assert_snapshot!(link_batch(&fabric(), &link), @"
        link set lo up
        addr add 10.96.0.10/32 dev lo
        addr add 10.0.0.2/16 dev eth0
        link set eth0 up
        route add 10.244.1.0/24 via 10.0.0.3
        route add default via 10.0.0.1
        ");
    }
}

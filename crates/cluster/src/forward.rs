//! Sockets between this process and the inside of an environment.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use seatrial_sandbox::netns::tcp_socket;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::error::Error;

/// Connects to `to` from inside the network namespace `namespace`.
pub(crate) async fn connect(
    namespace: BorrowedFd<'_>,
    to: SocketAddrV4,
) -> Result<TcpStream, Error> {
    let failed = |source| Error::Socket { what: format!("connect to {to}"), source };
    let socket = TcpSocket::from_std_stream(tcp_socket(namespace)?.into());
    socket.connect(to.into()).await.map_err(failed)
}

/// Listens on `at` inside the network namespace `namespace`.
pub(crate) fn listen(namespace: BorrowedFd<'_>, at: SocketAddrV4) -> Result<TcpListener, Error> {
    let listener = seatrial_sandbox::netns::listen(namespace, at)?;
    TcpListener::from_std(listener)
        .map_err(|source| Error::Socket { what: format!("listen on {at}"), source })
}

/// A port of this machine's loopback that leads to an address inside. It is
/// closed, with all connections, when this is dropped.
#[derive(Debug)]
pub(crate) struct Forward {
    port: u16,
    task: JoinHandle<()>,
}

impl Forward {
    /// Opens a port that leads to `to` inside the network namespace `namespace`.
    pub(crate) async fn open(namespace: BorrowedFd<'_>, to: SocketAddrV4) -> Result<Self, Error> {
        let failed = |source| Error::Socket { what: "listen on 127.0.0.1".to_owned(), source };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();
        let namespace = Arc::new(namespace.try_clone_to_owned().map_err(failed)?);
        Ok(Self { port, task: tokio::spawn(accept(listener, namespace, to)) })
    }

    /// The port on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, namespace: Arc<OwnedFd>, to: SocketAddrV4) {
    // Aborting this task drops the set, which aborts the connections.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((outside, _)) = accepted else { continue };
                connections.spawn(join(outside, Arc::clone(&namespace), to));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn join(mut outside: TcpStream, namespace: Arc<OwnedFd>, to: SocketAddrV4) -> io::Result<()> {
    let mut inside = connect(namespace.as_fd(), to).await.map_err(io::Error::other)?;
    let _ = outside.set_nodelay(true);
    let _ = inside.set_nodelay(true);
    copy_bidirectional(&mut outside, &mut inside).await.map(|_| ())
}

//! Any bytes as a request: the registry answers or hangs up, soon, and goes on.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use seatrial_core::fuzz::bytes;
use tokio::task::spawn_blocking;

use crate::served::Served;

/// What the registry says to `bytes` until it closes the connection.
fn said(address: SocketAddr, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    // It may have hung up before the last byte.
    let _ = stream.write_all(bytes).and_then(|()| stream.shutdown(Shutdown::Write));
    let mut answer = Vec::new();
    match stream.take(1 << 20).read_to_end(&mut answer) {
        Err(error) if error.kind() != std::io::ErrorKind::ConnectionReset => Err(error),
        _ => Ok(answer),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fuzz_requests() {
    let served = Served::new().await;
    let address = served.registry.address().expect("address");
    let layer = served.image.layers[0];
    let requests = bytes(&[
        "GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
        "HEAD /v2/example/digits/manifests/v1?ns=ghcr.io HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n".to_owned(),
        format!("GET /v2/digits/blobs/{layer} HTTP/1.1\r\nHost: x\r\nRange: bytes=512-515\r\n\r\n"),
        "GET /v2/digits/tags/list?n=1&last=a HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
        format!("GET /v2/digits/referrers/{layer} HTTP/1.1\r\nHost: x\r\n\r\n"),
        "POST /v2/digits/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc".to_owned(),
    ]);
    let tried = spawn_blocking(move || {
        TestRunner::default().run(&requests, |request| {
            let answer = said(address, &request)
                .map_err(|error| TestCaseError::fail(format!("no end: {error}")))?;
            let broken =
                [&b"HTTP/1.1 500"[..], b"HTTP/1.1 502"].iter().any(|s| answer.starts_with(s));
            prop_assert!(!broken, "{}", String::from_utf8_lossy(&answer));
            Ok(())
        })
    });
    tried.await.expect("no panic").expect("every request is answered");
    assert_eq!(served.get("/v2/").await.status, 200, "it goes on");
}

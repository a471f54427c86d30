//! Where the time of a run is said to have gone, on the real command.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::time::Duration;

use seatrial_core::digest::Digest;

use super::root;
use crate::support::{Project, Ran};

/// A registry on this machine that takes `delay` over the layer of its only
/// image; the name of that image, pinned.
fn registry(delay: Duration) -> String {
    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = server.local_addr().expect("bound");
    let layer = vec![0; 1024];
    let layer_digest = Digest::of(&layer);
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{}},"rootfs":{{"type":"layers","diff_ids":["{layer_digest}"]}}}}"#
    );
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{}","size":{}}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{layer_digest}","size":{}}}]}}"#,
        Digest::of(&config),
        config.len(),
        layer.len()
    );
    let name = format!("{address}/base@{}", Digest::of(&manifest));
    let all = [manifest.into_bytes(), config.into_bytes(), layer];
    let all: BTreeMap<_, _> = all.into_iter().map(|b| (Digest::of(&b).to_string(), b)).collect();
    std::thread::spawn(move || {
        for stream in server.incoming() {
            let Ok(mut stream) = stream else { continue };
            let mut head = Vec::new();
            for line in BufReader::new(&stream).lines().map_while(Result::ok) {
                match line.is_empty() {
                    true => break,
                    false => head.push(line),
                }
            }
            let path = head.first().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
            let digest = path.rsplit('/').next().unwrap_or_default();
            let Some(body) = all.get(digest) else { continue };
            if digest == layer_digest.to_string() {
                #[expect(clippy::disallowed_methods, reason = "the time is what is tested")]
                std::thread::sleep(delay);
            }
            let head = format!(
                "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
        }
    });
    name
}

/// The wall of each row, in milliseconds.
fn walls(ran: &Ran) -> Vec<(String, u64)> {
    let table = ran.stderr.lines().skip_while(|line| !line.starts_with("step ")).skip(1);
    let rows = table.take_while(|line| !line.starts_with("bound")).map(|line| {
        let (name, rest) = line.split_at(17);
        let seconds = rest.split_whitespace().next().expect("a number");
        (name.trim().to_owned(), seconds.replace('.', "").parse().expect("milliseconds"))
    });
    rows.collect()
}

#[test]
fn a_slow_registry_is_seen_in_the_row_of_pulls() {
    root();
    let build = |delay: u64| {
        let base = registry(Duration::from_secs(delay));
        let yaml = format!(
            "seatrial: 1\nimages:\n  i: {{ base: '{base}', files: [{{ path: x, to: /x }}] }}\n"
        );
        let project = Project::new(&[("seatrial.yaml", &yaml), ("x", "x")]);
        let ran = project.run(&["build"]);
        assert_eq!(ran.code, 0, "{}", ran.text());
        let walls = walls(&ran);
        let (total, rows) = walls.split_last().expect("a table");
        assert_eq!(total.0, "total", "{}", ran.text());
        assert_eq!(rows.iter().map(|row| row.1).sum::<u64>(), total.1, "{}", ran.text());
        rows.to_vec()
    };
    for ((name, quick), (_, slow)) in build(0).into_iter().zip(build(3)) {
        // Rows that wait for nobody take milliseconds, more on a busy machine.
        let more = if name == "image pull" { 3000 } else { 0 };
        assert!(slow.abs_diff(quick + more) < 1000, "{name}: {quick} ms, then {slow} ms");
        assert!(name != "image pull" || slow >= 3000, "{name}: {slow} ms");
    }
}

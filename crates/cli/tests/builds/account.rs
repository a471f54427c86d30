//! Where the time of a run is said to have gone, on the real command.

use std::time::Duration;

use super::bases::Registry;
use super::root;
use crate::support::{Project, Ran};

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
        let base =
            Registry { delay: Duration::from_secs(delay), ..Registry::default() }.start().name;
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

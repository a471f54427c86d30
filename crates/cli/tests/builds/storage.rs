//! What is damaged or thrown away is made again, the same.

use std::path::PathBuf;

use insta::assert_snapshot;

use super::{made, root};
use crate::files::files;
use crate::support::Project;

/// A build and an image of it: a tree and three blobs besides the source.
fn project() -> Project {
    root();
    Project::new(&[(
        "seatrial.yaml",
        r#"seatrial: 1
builds:
  one: { run: echo one > $OUT/one }
images:
  one: { files: [{ build: one, path: one, to: /one }] }
"#,
    )])
}

/// Builds; for each action, its name, what it made and whether it was there.
fn build(project: &Project) -> Vec<(String, String, bool)> {
    let ran = project.run(&["build", "--format", "json"]);
    assert_eq!(ran.code, 0, "{}", ran.text());
    let mut made = made(&ran);
    made.sort();
    made
}

fn outputs(made: &[(String, String, bool)]) -> Vec<&str> {
    made.iter().map(|(_, output, _)| output.as_str()).collect()
}

#[test]
fn what_is_damaged_is_put_aside_and_made_again() {
    let project = project();
    let first = build(&project);
    assert_snapshot!(project.run(&["scrub"]).text(), @"
    5 sound, 0 damaged
    exit code 0
    ");
    let mut all = files(&project.state().join("blobs"));
    let out = project.state().join("trees");
    all.extend(files(&out).into_iter().filter(|file| file.ends_with("root/one")));
    assert_eq!(all.len(), 4, "{all:?}");
    for (number, file) in all.iter().enumerate() {
        // As a disk would do it: the bytes change and nothing else does.
        let mut bytes = std::fs::read(file).expect("there");
        let middle = bytes.len() / 2;
        match number % 2 {
            0 => bytes[middle] ^= 1,
            _ => bytes.truncate(middle),
        }
        std::fs::remove_file(file).expect("removed");
        std::fs::write(file, bytes).expect("damaged");
    }
    let scrubbed = project.run(&["scrub"]);
    assert_eq!((scrubbed.code, scrubbed.stdout.as_str()), (1, "1 sound, 4 damaged\n"));
    assert_eq!(scrubbed.stderr.matches("quarantine/").count(), 4, "{}", scrubbed.stderr);

    let again = build(&project);
    assert_eq!(outputs(&again), outputs(&first));
    assert!(again.iter().all(|(.., hit)| !hit), "{again:?}");
    assert_eq!(project.run(&["scrub"]).stdout, "5 sound, 0 damaged\n");
    assert!(build(&project).iter().all(|(.., hit)| *hit));
}

#[test]
fn what_was_thrown_away_is_made_again() {
    let project = project();
    let first = build(&project);
    let told = project.run(&["gc", "--size", "0", "--dry-run"]);
    assert!(told.stdout.starts_with("would remove 5 artifacts, "), "{}", told.text());
    assert_eq!(project.run(&["gc"]).stdout.split(',').next(), Some("removed 0 artifacts"));
    assert!(build(&project).iter().all(|(.., hit)| *hit));
    let removed = project.run(&["gc", "--size", "0"]);
    assert!(removed.stdout.starts_with("removed 5 artifacts, "), "{}", removed.text());
    assert!(removed.stdout.contains("; 0 stay, 0 bytes\n"), "{}", removed.text());
    assert_eq!(files(&project.state().join("blobs")), Vec::<PathBuf>::new());
    let again = build(&project);
    assert!(again.iter().all(|(.., hit)| !hit), "{again:?}");
    assert_eq!(outputs(&again), outputs(&first));
    // Runs stay, whatever became of what they made.
    assert_eq!(project.run(&["runs"]).stdout.lines().count(), 4);
    assert_snapshot!(project.run(&["gc", "--runs", "3"]).text(), @r"
    error: invalid value '3' for '--runs <COUNT>': 3 is not in 10..=4294967295

    For more information, try '--help'.
    exit code 2
    ");
}

//! Whole pipeline files: what those of `tests/good` become, and exactly what is
//! said about those of `tests/bad`. The expected text stands beside each file;
//! `UPDATE=1` writes it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use seatrial_config::{Known, Loaded, Style, load, render, schema};

const KNOWN: Known<'_> = Known {
    kubernetes: &["1.37", "1.36"],
    tools: &["go", "helm", "kubectl", "git", "make", "node", "npm", "python3", "cc"],
    images: Some(&BTreeMap::new()),
};
const STYLE: Style = Style::Fancy { color: false, width: 100 };

/// What came of a file as text.
fn outcome(path: &Path) -> (bool, String) {
    let text = std::fs::read(path).expect("a readable file");
    let name = path.file_name().expect("a file").to_string_lossy();
    match load(&text, &name, &KNOWN) {
        Ok(Loaded { pipeline, warnings, .. }) if warnings.is_empty() => {
            (true, format!("{pipeline:#?}\n"))
        }
        Ok(Loaded { warnings, .. }) => (false, render(&warnings, STYLE)),
        Err(mistakes) => (false, render(&mistakes, STYLE)),
    }
}

/// Compares each file of a directory with the text beside it.
fn check(dir: &str, good: bool) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(dir);
    let entries = std::fs::read_dir(dir).expect("the directory is part of the crate");
    let paths = entries.map(|entry| entry.expect("a readable entry").path());
    let paths: Vec<PathBuf> =
        paths.filter(|p| p.extension().is_some_and(|e| e == "yaml")).collect();
    assert!(!paths.is_empty());
    let update = std::env::var_os("UPDATE").is_some();
    for path in paths {
        let (passed, text) = outcome(&path);
        assert_eq!(passed, good, "{}:\n{text}", path.display());
        let expected = path.with_extension("txt");
        if update {
            std::fs::write(&expected, &text).expect("a writable file");
        }
        let expected = std::fs::read_to_string(&expected).unwrap_or_default();
        assert_eq!(text, expected, "{}: `UPDATE=1 cargo test` writes it", path.display());
    }
}

#[test]
fn good_files_become_these_pipelines() {
    check("good", true);
}

/// What is said of each field when it is wrong is in `bad/fields-*.yaml`.
#[test]
fn every_field_is_wrong_somewhere() {
    fn names(schema: &serde_json::Value, found: &mut Vec<String>) {
        if let Some(fields) = schema["properties"].as_object() {
            found.extend(fields.keys().cloned());
        }
        match schema {
            serde_json::Value::Object(map) => map.values().for_each(|value| names(value, found)),
            serde_json::Value::Array(items) => items.iter().for_each(|item| names(item, found)),
            _ => {}
        }
    }
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad");
    let read = |section: &str| std::fs::read_to_string(dir.join(format!("fields-{section}.yaml")));
    let texts = ["builds", "images", "environments", "suites"].map(|s| read(s).expect("a file"));
    let mut fields = Vec::new();
    names(&schema(), &mut fields);
    assert!(fields.len() > 50, "{fields:?}");
    fields.retain(|field| !texts.iter().any(|text| text.contains(&format!("{field}:"))));
    assert_eq!(fields, Vec::<String>::new(), "nothing is said about these");
}

#[test]
fn bad_files_are_told_exactly_this() {
    check("bad", false);
}

//! The committed descriptions of the format are those of the code, and the
//! schema judges files as `load` does. `UPDATE=1` writes the descriptions.

use std::path::{Path, PathBuf};

use regex::Regex;
use seatrial_config::{Known, Style, load, reference, render, schema};
use serde_json::Value;

/// Files of `tests/bad` whose mistake is not one of form: names that refer to
/// nothing, patterns, conflicts between fields, what lies before a value.
const FORM_IS_GOOD: &[&str] = &[
    "alias-bomb",
    "aliases",
    "conflicts",
    "cycles",
    "dockerfiles",
    "duplicate-keys",
    "empty",
    "missing-in-context",
    "not-available-yet",
    "only-comment",
    "references",
    "syntax",
    "tabs",
    "templates",
    "two-documents",
    "warnings",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn is_current(name: &str, make: impl FnOnce(&str) -> String) {
    let path = root().join("docs").join(name);
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    let current = make(&committed);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, current).expect("a writable file");
    } else {
        assert_eq!(committed, current, "UPDATE=1 cargo test -p seatrial-config writes docs/{name}");
    }
}

#[test]
fn schema_is_current() {
    is_current("seatrial.schema.json", |_| format!("{:#}\n", schema()));
}

#[test]
fn table_of_fields_is_current() {
    const MARK: &str = "<!-- What follows is written by a test from the code. -->\n";
    is_current("format.md", |committed| {
        let (prose, _) = committed.split_once(MARK).expect("the mark is there");
        format!("{prose}{MARK}\n{}", reference())
    });
}

#[test]
fn example_of_the_documentation_loads() {
    let text = std::fs::read_to_string(root().join("docs/format.md")).expect("a readable file");
    let example = text.split("```").nth(1).and_then(|block| block.strip_prefix("yaml\n"));
    let known = Known { kubernetes: &["1.37"], tools: &["go"], images: None };
    let loaded = load(example.expect("a block of YAML").as_bytes(), "format.md", &known);
    assert!(loaded.is_ok_and(|loaded| loaded.warnings.is_empty()));
}

#[test]
fn schema_takes_good_files_and_refuses_bad_ones() {
    let schema = schema();
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut refused = 0;
    for (dir, good) in [("good", true), ("bad", false)] {
        for entry in std::fs::read_dir(tests.join(dir)).expect("the directory is there") {
            let path = entry.expect("a readable entry").path();
            let name = path.file_stem().expect("a file").to_string_lossy().into_owned();
            let is_yaml = path.extension().is_some_and(|extension| extension == "yaml");
            if !is_yaml || !good && FORM_IS_GOOD.contains(&name.as_str()) {
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("a readable file");
            let value: Value = match serde_saphyr::from_str(&text) {
                Ok(value) => value,
                Err(error) => panic!("{name}: {error}"),
            };
            match (judge(&schema, &value, "$"), good) {
                (Err(why), true) => panic!("{name}: {why}"),
                (Ok(()), false) => panic!("{name}: the schema takes it"),
                (Err(_), false) => refused += 1,
                (Ok(()), true) => {}
            }
        }
    }
    assert!(refused > 10, "{refused}");
}

#[test]
fn examples_load_and_the_schema_takes_them() {
    for entry in std::fs::read_dir(root().join("examples")).expect("the directory is there") {
        let path = entry.expect("a readable entry").path().join("seatrial.yaml");
        if let Ok(text) = std::fs::read_to_string(&path) {
            let value: Value = serde_saphyr::from_str(&text).expect("YAML");
            assert_eq!(judge(&schema(), &value, "$"), Ok(()), "{}", path.display());
            let known = Known { kubernetes: &["1.37"], tools: &[], images: None };
            let mistakes = load(text.as_bytes(), &path.to_string_lossy(), &known).err();
            assert!(mistakes.is_none(), "{}", render(&mistakes.unwrap_or_default(), Style::Narrow));
        }
    }
}

/// Judges a value by the keywords of JSON Schema that the schema uses, and
/// knows when it uses another.
fn judge(schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let Value::Object(keywords) = schema else { return Ok(()) };
    let fail = |why: String| Err(format!("{at}: {why}"));
    let number = value.as_f64();
    let empty = serde_json::Map::new();
    let object = value.as_object().unwrap_or(&empty);
    for (keyword, rule) in keywords {
        let limit = rule.as_f64().unwrap_or_default();
        let length = |least: bool| {
            let n = match value {
                Value::String(text) => text.chars().count(),
                Value::Array(items) => items.len(),
                Value::Object(fields) => fields.len(),
                _ => return true,
            };
            if least { n as f64 >= limit } else { n as f64 <= limit }
        };
        let good = match keyword.as_str() {
            "$schema" | "title" | "description" => true,
            "type" => match rule {
                Value::Array(types) => types.iter().any(|rule| is_type(rule, value)),
                rule => is_type(rule, value),
            },
            "enum" => rule.as_array().is_some_and(|values| values.contains(value)),
            "const" => rule == value,
            "minimum" => number.is_none_or(|n| n >= limit),
            "exclusiveMinimum" => number.is_none_or(|n| n > limit),
            "maximum" => number.is_none_or(|n| n <= limit),
            "minLength" => !value.is_string() || length(true),
            "maxLength" => !value.is_string() || length(false),
            "minItems" => !value.is_array() || length(true),
            "minProperties" => !value.is_object() || length(true),
            "pattern" => {
                let regex = Regex::new(rule.as_str().unwrap_or_default()).expect("a pattern");
                value.as_str().is_none_or(|text| regex.is_match(text))
            }
            "required" => {
                let names = rule.as_array().into_iter().flatten().filter_map(Value::as_str);
                !value.is_object() || names.into_iter().all(|name| object.contains_key(name))
            }
            "not" => judge(rule, value, at).is_err(),
            "oneOf" => {
                let rules = rule.as_array().into_iter().flatten();
                rules.filter(|rule| judge(rule, value, at).is_ok()).count() == 1
            }
            "items" => {
                for (n, item) in value.as_array().into_iter().flatten().enumerate() {
                    judge(rule, item, &format!("{at}[{n}]"))?;
                }
                true
            }
            "propertyNames" => {
                for name in object.keys() {
                    judge(rule, &Value::from(name.as_str()), &format!("{at}.{name}?"))?;
                }
                true
            }
            "patternProperties" => *rule == serde_json::json!({ "^x-": {} }),
            "properties" => {
                for (name, rule) in rule.as_object().into_iter().flatten() {
                    if let Some(field) = object.get(name) {
                        judge(rule, field, &format!("{at}.{name}"))?;
                    }
                }
                true
            }
            "additionalProperties" => {
                let known = &keywords.get("properties").cloned().unwrap_or_default();
                let ignored = keywords.contains_key("patternProperties");
                for (name, field) in object {
                    if known.get(name).is_some() || ignored && name.starts_with("x-") {
                        continue;
                    }
                    if *rule == Value::Bool(false) {
                        return fail(format!("unknown field {name}"));
                    }
                    judge(rule, field, &format!("{at}.{name}"))?;
                }
                true
            }
            other => return fail(format!("keyword {other} is not known to this test")),
        };
        if !good {
            return fail(format!("{keyword}: {rule}, not {value}"));
        }
    }
    Ok(())
}

fn is_type(rule: &Value, value: &Value) -> bool {
    match rule.as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("number") => value.is_number(),
        Some("integer") => value.is_i64() || value.is_u64(),
        _ => false,
    }
}

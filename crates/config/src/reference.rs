//! The format for machines and people: a JSON schema and a table of fields,
//! both from the declarations in [`mod@crate::file`].

use std::fmt::Write as _;

use serde_json::Value as Json;

use crate::file::{File, chapters};
use crate::read::{Read, prose, spelled};

/// The JSON schema (draft 2020-12) of `seatrial.yaml`. It judges form: names
/// that refer to nothing, globs and regular expressions are left to `load`.
#[must_use]
pub fn schema() -> Json {
    let mut schema = File::schema();
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    schema["title"] = "seatrial.yaml".into();
    schema
}

/// Every field with type and default, as Markdown tables.
#[must_use]
pub fn reference() -> String {
    let mut text = String::new();
    for chapter in chapters() {
        let mut line = |line: String| writeln!(text, "{line}").expect("a String takes all text");
        line(format!("### {}\n\n{}\n", chapter.heading, prose(chapter.doc)));
        line("| field | what | value | when left out |\n| --- | --- | --- | --- |".to_owned());
        for field in chapter.fields {
            let absent = match (field.required, field.default) {
                (true, _) => "**required**",
                (false, Some(default)) if !default.is_empty() => default,
                (false, _) => "nothing",
            };
            let name = spelled(field.name);
            line(format!("| `{name}` | {} | {} | {absent} |", prose(field.doc), (field.what)()));
        }
        line(String::new());
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

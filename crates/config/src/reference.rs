//! The format for machines and people: a JSON schema and a table of fields,
//! both from the declarations in [`mod@crate::file`].

use std::fmt::Write as _;

use serde_json::{Map as Object, Value as Json, json};

use crate::file::{File, chapters};
use crate::read::{Read, Section, prose, spelled};

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

/// The schema of a section, from its declaration.
pub(crate) fn section_schema<S: Section>() -> Json {
    let mut properties = Object::new();
    for field in S::FIELDS {
        let mut schema = (field.schema)();
        let mut description = prose(field.doc);
        if let Some(default) = field.default.filter(|text| !text.is_empty()) {
            description.push_str(&format!(" Default: {default}."));
        }
        schema["description"] = description.into();
        properties.insert(spelled(field.name), schema);
    }
    let required = S::FIELDS.iter().filter(|field| field.required).map(|f| spelled(f.name));
    json!({
        "type": "object",
        "description": prose(S::DOC),
        "properties": properties,
        "required": required.collect::<Vec<_>>(),
        "patternProperties": { "^x-": {} },
        "additionalProperties": false,
    })
}

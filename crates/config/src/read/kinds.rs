//! How each kind of value is read: text, lists, mappings.

use std::rc::Rc;

use serde_json::{Value as Json, json};

use super::{Entry, FromText, List, Map, NonEmpty, Read, Reader, Spanned};
use crate::diagnostic::{Code, Diagnostic, quote};
use crate::tree::{Node, Value};

/// What a plain scalar is in the core schema of YAML 1.2, section 10.3.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Plain {
    Null,
    Bool(bool),
    Number,
    Text,
}

impl Plain {
    pub(super) fn of(text: &str) -> Self {
        let digits = |prefix, radix| {
            text.strip_prefix(prefix).is_some_and(|t| u64::from_str_radix(t, radix).is_ok())
        };
        // The digit keeps `infinity` and `nan` out, which Rust reads.
        let decimal = text.contains(|c: char| c.is_ascii_digit()) && text.parse::<f64>().is_ok();
        let number = decimal || digits("0x", 16) || digits("0o", 8);
        match text {
            "" | "~" | "null" | "Null" | "NULL" => Self::Null,
            "true" | "True" | "TRUE" => Self::Bool(true),
            "false" | "False" | "FALSE" => Self::Bool(false),
            _ if number => Self::Number,
            _ => Self::Text,
        }
    }
}

impl<T: FromText> Read for T {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let Value::Scalar { text, plain } = &node.value else {
            reader.wrong_type(node, T::WHAT);
            return None;
        };
        let kind = if *plain { Plain::of(text) } else { Plain::Text };
        match kind {
            Plain::Null => {
                reader.wrong_type(node, T::WHAT);
                return None;
            }
            Plain::Bool(_) | Plain::Number if !T::VERBATIM => {
                let place = reader.place();
                let message = format!("expected {}, found {}{place}", T::WHAT, quote(text));
                let hint = format!("quote it: \"{}\"", quote(text).trim_matches('`'));
                let unquoted = Diagnostic::new(Code::WrongType, message).hint(hint);
                reader.report(node.span, unquoted);
                return None;
            }
            _ => {}
        }
        match T::from_text(text, reader.known) {
            Ok(value) => Some(value),
            Err(diagnostic) => {
                reader.report(node.span, diagnostic);
                None
            }
        }
    }

    fn what() -> String {
        T::WHAT.to_owned()
    }

    fn schema() -> Json {
        <T as FromText>::schema()
    }
}

impl Read for bool {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        match &node.value {
            Value::Scalar { text, plain: true } if let Plain::Bool(value) = Plain::of(text) => {
                return Some(value);
            }
            _ => reader.wrong_type(node, "`true` or `false`"),
        }
        None
    }

    fn what() -> String {
        "`true` or `false`".to_owned()
    }

    fn schema() -> Json {
        json!({ "type": "boolean" })
    }
}

impl<T: Read> Read for List<T> {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let Value::List(items) = &node.value else {
            reader.wrong_type(node, &Self::what());
            return None;
        };
        let item =
            |node: &Rc<Node>| T::read(node, reader).map(|value| Spanned { value, span: node.span });
        Some(items.iter().filter_map(item).collect())
    }

    fn what() -> String {
        format!("a list, each item {}", T::what())
    }

    fn schema() -> Json {
        json!({ "type": "array", "items": T::schema() })
    }
}

impl<K: FromText, V: Read> Read for Map<K, V> {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let mut entries = Vec::new();
        for (key, node) in reader.map(node, &Self::what())? {
            let name = K::from_text(&key.text, reader.known);
            let value = reader.below(key, |reader| V::read(node, reader));
            match name {
                Ok(name) => entries.push(Entry { key: key.clone(), name, value }),
                Err(diagnostic) => reader.report(key.span, diagnostic),
            }
        }
        Some(Self(entries))
    }

    fn what() -> String {
        format!("a mapping of {} to {}", K::WHAT, V::what())
    }

    fn schema() -> Json {
        json!({ "type": "object", "propertyNames": K::schema(), "additionalProperties": V::schema() })
    }
}

impl<T: Read> Read for NonEmpty<T> {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let empty = match &node.value {
            Value::List(items) => items.is_empty(),
            Value::Map(entries) => entries.is_empty(),
            Value::Scalar { .. } => false,
        };
        if empty {
            let message = format!("there is nothing{}", reader.place());
            let hint = "leave the field out for its default, or give it something";
            reader.report(node.span, Diagnostic::new(Code::BadValue, message).hint(hint));
            return None;
        }
        T::read(node, reader).map(Self)
    }

    fn what() -> String {
        T::what()
    }

    fn schema() -> Json {
        let mut schema = T::schema();
        let least = if schema["type"] == "array" { "minItems" } else { "minProperties" };
        schema[least] = 1.into();
        schema
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_are_those_of_the_core_schema() {
        for number in ["0", "-1", "+1", "1.37", ".5", "5.", "1e3", "0x1F", "0o17", "0755"] {
            assert_eq!(Plain::of(number), Plain::Number, "{number}");
        }
        for text in ["no", "off", "1.2.3", "infinity", "nan", "e", "1_000", "5m", "0xzz", "-"] {
            assert_eq!(Plain::of(text), Plain::Text, "{text}");
        }
        assert_eq!(Plain::of("~"), Plain::Null);
        assert_eq!(Plain::of("True"), Plain::Bool(true));
    }
}

//! Words of a fixed list.

use seatrial_core::pipeline::{Adapter, Isolation};
use serde_json::{Value as Json, json};

use crate::Known;
use crate::diagnostic::{Code, Diagnostic, listed, nearest, quote};
use crate::read::FromText;

/// A word of a fixed list.
macro_rules! words {
    ($type:ty, $what:literal, $($word:literal => $value:expr),* $(,)?) => {
        impl FromText for $type {
            const WHAT: &'static str = $what;

            fn from_text(text: &str, _: &Known<'_>) -> Result<Self, Diagnostic> {
                const WORDS: &[&str] = &[$($word),*];
                match text {
                    $($word => Ok($value),)*
                    _ => {
                        let message = format!("{} is not {}", quote(text), $what);
                        Err(Diagnostic::new(Code::BadValue, message)
                            .nearest(nearest(text, WORDS.iter().copied()))
                            .hint(format!("allowed are {}", listed(WORDS.iter().copied()))))
                    }
                }
            }

            fn schema() -> Json {
                json!({ "enum": [$($word),*] })
            }
        }
    };
}

words!(Adapter, "an adapter",
    "go" => Self::Go,
    "ginkgo" => Self::Ginkgo,
    "rust" => Self::Rust,
    "pytest" => Self::Pytest,
    "junit" => Self::Junit,
    "exec" => Self::Exec,
);

words!(Isolation, "an isolation",
    "shared" => Self::Shared,
    "serial" => Self::Serial,
    "fresh" => Self::Fresh,
);

/// The type of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ParamType {
    Bool,
    String,
    Enum,
}

words!(ParamType, "a type of a parameter",
    "bool" => Self::Bool,
    "string" => Self::String,
    "enum" => Self::Enum,
);

//! Durations, sizes and numbers.

use std::time::Duration;

use seatrial_core::quantity::{ParseQuantityError, parse_duration, parse_size};
use serde_json::{Value as Json, json};

use super::whole;
use crate::Known;
use crate::diagnostic::{Code, Diagnostic, quote};
use crate::read::FromText;

impl FromText for Duration {
    const WHAT: &'static str = "a duration such as `90s` or `1h30m`";
    const VERBATIM: bool = true;

    fn from_text(text: &str, _: &Known<'_>) -> Result<Self, Diagnostic> {
        parse_duration(text).map_err(|error| {
            let bad = quantity("duration", text, &error);
            match error {
                ParseQuantityError::Unit => bad.label(format!("`{text}s` are seconds")),
                ParseQuantityError::TooLarge => bad.hint("the longest duration is 30 days: `720h`"),
                _ => {
                    bad.hint("whole numbers with the units `ms`, `s`, `m` and `h`: `90s`, `1h30m`")
                }
            }
        })
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": "^([0-9]+(ms|s|m|h))+$" })
    }
}

/// Bytes of memory.
pub(crate) struct Memory(pub(crate) u64);

impl FromText for Memory {
    const WHAT: &'static str = "a size such as `512Mi` or `2Gi`";
    const VERBATIM: bool = true;

    fn from_text(text: &str, _: &Known<'_>) -> Result<Self, Diagnostic> {
        parse_size(text).map(Self).map_err(|error| {
            let bad = quantity("size", text, &error);
            match error {
                ParseQuantityError::UnknownUnit(unit) if unit == "m" => {
                    bad.hint("`m` would be thousandths of a byte; mebibytes are `Mi`")
                }
                _ => bad.hint("a whole number with the unit `Ki`, `Mi`, `Gi` or `Ti`: `512Mi`"),
            }
        })
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": "^[0-9]+(Ki|Mi|Gi|Ti)$" })
    }
}

/// Thousandths of a core.
pub(crate) struct Cpu(pub(crate) u64);

impl FromText for Cpu {
    const WHAT: &'static str = "a number of cores such as `2`, `0.5` or `500m`";
    const VERBATIM: bool = true;

    fn from_text(text: &str, _: &Known<'_>) -> Result<Self, Diagnostic> {
        const MOST: u64 = 1024;
        let bad = |why: &str| {
            Diagnostic::new(
                Code::BadQuantity,
                format!("{} is no number of cores: {why}", quote(text)),
            )
            .hint("cores with at most three decimals, or thousandths: `2`, `0.5`, `500m`")
        };
        let millis = match text.strip_suffix('m') {
            Some(digits) => whole(digits),
            None => {
                let (cores, decimals) = text.split_once('.').unwrap_or((text, "0"));
                let short = (1..=3).contains(&decimals.len());
                let thousandths = short.then(|| whole(&format!("{decimals:0<3}"))).flatten();
                let cores = whole(cores).and_then(|cores| cores.checked_mul(1000));
                cores.zip(thousandths).and_then(|(c, t)| c.checked_add(t))
            }
        };
        match millis {
            None => Err(bad("it does not read as one")),
            Some(0) => Err(bad("zero is not allowed")),
            Some(n) if n > MOST * 1000 => Err(bad("this is more than 1024 cores")),
            Some(n) => Ok(Self(n)),
        }
    }

    fn schema() -> Json {
        json!({
            "oneOf": [
                { "type": "number", "exclusiveMinimum": 0, "maximum": 1024 },
                { "type": "string", "pattern": "^[0-9]+(m|(\\.[0-9]{1,3})?)$" },
            ],
        })
    }
}

/// A whole number from `MIN` to `MAX`.
pub(crate) struct Number<const MIN: u32, const MAX: u32>(pub(crate) u32);

impl<const MIN: u32, const MAX: u32> FromText for Number<MIN, MAX> {
    const WHAT: &'static str = "a whole number";
    const VERBATIM: bool = true;

    fn from_text(text: &str, _: &Known<'_>) -> Result<Self, Diagnostic> {
        match whole(text).and_then(|n| u32::try_from(n).ok()) {
            Some(n) if (MIN..=MAX).contains(&n) => Ok(Self(n)),
            _ => {
                let message = format!("{} is no whole number from {MIN} to {MAX}", quote(text));
                Err(Diagnostic::new(Code::BadQuantity, message))
            }
        }
    }

    fn schema() -> Json {
        json!({ "type": "integer", "minimum": MIN, "maximum": MAX })
    }
}

fn quantity(kind: &str, text: &str, error: &ParseQuantityError) -> Diagnostic {
    // The unit can be as long as the text that was given.
    let why = match error {
        ParseQuantityError::UnknownUnit(unit) => format!("{} is not a unit here", quote(unit)),
        error => error.to_string(),
    };
    Diagnostic::new(Code::BadQuantity, format!("{} is no {kind}: {why}", quote(text)))
}

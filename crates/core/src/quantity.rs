//! Durations and sizes as people write them: `90s`, `1m30s`, `2Gi`.

use std::time::Duration;

/// Why some text is not a duration or a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseQuantityError {
    /// There is nothing, or no digit where one must be.
    #[error("a number is missing")]
    Number,
    /// A number stands without a unit.
    #[error("a unit is missing")]
    Unit,
    /// The unit is not known, or not one of this kind of quantity.
    #[error("`{0}` is not a unit here")]
    UnknownUnit(String),
    /// The quantity is zero.
    #[error("zero is not allowed")]
    Zero,
    /// The quantity is larger than can be meant.
    #[error("this is too large")]
    TooLarge,
}

/// Longest duration that a pipeline may name: 30 days.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

/// Parses a positive duration: one or more numbers with the units `ms`, `s`,
/// `m`, `h`, in that notation's usual order or any other (`1h30m`, `500ms`).
///
/// # Errors
/// When a number or a unit is missing or unknown, or the sum is zero or over
/// 30 days. `5 m`, `-5s` and `1.5h` are refused: each has a plain spelling.
pub fn parse_duration(text: &str) -> Result<Duration, ParseQuantityError> {
    let mut rest = text;
    let mut sum = Duration::ZERO;
    if rest.is_empty() {
        return Err(ParseQuantityError::Number);
    }
    while !rest.is_empty() {
        let (number, tail) = split_number(rest)?;
        let end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let millis: u64 = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "" => return Err(ParseQuantityError::Unit),
            other => return Err(ParseQuantityError::UnknownUnit(other.to_owned())),
        };
        let part = number.checked_mul(millis).ok_or(ParseQuantityError::TooLarge)?;
        sum = sum.checked_add(Duration::from_millis(part)).ok_or(ParseQuantityError::TooLarge)?;
        rest = tail;
    }
    match sum {
        Duration::ZERO => Err(ParseQuantityError::Zero),
        sum if sum > LONGEST => Err(ParseQuantityError::TooLarge),
        sum => Ok(sum),
    }
}

/// Parses a positive size in bytes with a binary unit, as Kubernetes writes
/// memory: `64Mi`, `2Gi`.
///
/// # Errors
/// When the number or unit is missing, the unit is not `Ki`, `Mi`, `Gi` or
/// `Ti` (`5m` of memory would be five thousandths of a byte), or it is zero or
/// does not fit 64 bits.
pub fn parse_size(text: &str) -> Result<u64, ParseQuantityError> {
    let (number, unit) = split_number(text)?;
    let shift = match unit {
        "Ki" => 10,
        "Mi" => 20,
        "Gi" => 30,
        "Ti" => 40,
        "" => return Err(ParseQuantityError::Unit),
        other => return Err(ParseQuantityError::UnknownUnit(other.to_owned())),
    };
    match number.checked_mul(1 << shift) {
        None => Err(ParseQuantityError::TooLarge),
        Some(0) => Err(ParseQuantityError::Zero),
        Some(bytes) => Ok(bytes),
    }
}

fn split_number(text: &str) -> Result<(u64, &str), ParseQuantityError> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    if digits.is_empty() {
        return Err(ParseQuantityError::Number);
    }
    let number = digits.parse().map_err(|_| ParseQuantityError::TooLarge)?;
    Ok((number, rest))
}

/// A duration for people: `412 ms`, `3.2 s`, `2 m 05 s`, `1 h 02 m`.
#[must_use]
pub fn show_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    match millis {
        0..1_000 => format!("{millis} ms"),
        1_000..60_000 => format!("{}.{} s", millis / 1_000, millis % 1_000 / 100),
        60_000..3_600_000 => format!("{} m {:02} s", millis / 60_000, millis % 60_000 / 1_000),
        _ => format!("{} h {:02} m", millis / 3_600_000, millis % 3_600_000 / 60_000),
    }
}

/// A size for people: `17 B`, `3.4 MiB`.
#[must_use]
pub fn show_size(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut scale = 1_u64;
    while unit + 1 < units.len() && bytes / scale >= 1024 {
        scale *= 1024;
        unit += 1;
    }
    match unit {
        0 => format!("{bytes} B"),
        _ => format!("{}.{} {}", bytes / scale, bytes % scale * 10 / scale, units[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ParseQuantityError::{Number, TooLarge, Unit, UnknownUnit, Zero};

    #[test]
    fn durations() {
        let check = |text, expect: Result<u64, _>| {
            assert_eq!(parse_duration(text), expect.map(Duration::from_millis), "{text:?}");
        };
        check("5m", Ok(300_000));
        check("1m30s", Ok(90_000));
        check("500ms", Ok(500));
        check("720h", Ok(2_592_000_000));
        check("721h", Err(TooLarge));
        check("", Err(Number));
        check("5", Err(Unit));
        check("5m30", Err(Unit));
        check("-5s", Err(Number));
        check("NaN", Err(Number));
        check("1.5h", Err(UnknownUnit(".".into())));
        check("5 m", Err(UnknownUnit(" m".into())));
        check("5Gi", Err(UnknownUnit("Gi".into())));
        check("0s", Err(Zero));
        check("99999999999999999999s", Err(TooLarge));
        check("9999999999999999999h", Err(TooLarge));
    }

    #[test]
    fn sizes() {
        let check = |text, expect| assert_eq!(parse_size(text), expect, "{text:?}");
        check("2Gi", Ok(2 << 30));
        check("64Mi", Ok(64 << 20));
        check("5m", Err(UnknownUnit("m".into())));
        check("5M", Err(UnknownUnit("M".into())));
        check("5", Err(Unit));
        check("0Gi", Err(Zero));
        check("-1Gi", Err(Number));
        check("99999999999Ti", Err(TooLarge));
    }

    #[test]
    fn shown_for_people() {
        let duration = |ms| show_duration(Duration::from_millis(ms));
        assert_eq!(duration(412), "412 ms");
        assert_eq!(duration(3_250), "3.2 s");
        assert_eq!(duration(125_999), "2 m 05 s");
        assert_eq!(duration(3_720_000), "1 h 02 m");
        assert_eq!(show_size(17), "17 B");
        assert_eq!(show_size(3_565_158), "3.3 MiB");
    }
}

//! The `Range` header (RFC 9110, section 14), as far as clients of registries
//! use it: one range of bytes.

use std::ops::Range;

/// Which bytes of `size` a header asks for. `None`: all of them, as for a
/// header that is not understood; `Some(Err)`: none that exist.
pub(crate) fn parse(header: Option<&str>, size: u64) -> Option<Result<Range<u64>, ()>> {
    let (first, last) = header?.strip_prefix("bytes=")?.split_once('-')?;
    let number = |text: &str| -> Option<u64> {
        text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
    };
    let range = match (first, last) {
        ("", last) => size.saturating_sub(number(last)?)..size,
        (first, "") => number(first)?..size,
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            if last < first {
                return None;
            }
            first..last.saturating_add(1).min(size)
        }
    };
    Some(if range.is_empty() { Err(()) } else { Ok(range) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let check = |header, expected| assert_eq!(parse(Some(header), 10), expected, "{header}");
        assert_eq!(parse(None, 10), None);
        check("bytes=0-3", Some(Ok(0..4)));
        check("bytes=4-", Some(Ok(4..10)));
        check("bytes=-3", Some(Ok(7..10)));
        check("bytes=-30", Some(Ok(0..10)));
        check("bytes=5-99", Some(Ok(5..10)));
        check("bytes=10-", Some(Err(())));
        check("bytes=-0", Some(Err(())));
        check("bytes=5-4", None);
        check("bytes=0-1,3-4", None);
        check("bytes=+1-2", None);
        check("lines=0-1", None);
        check("bytes=99999999999999999999-", None);
        assert_eq!(parse(Some("bytes=0-0"), 0), Some(Err(())));
        assert_eq!(parse(Some(&format!("bytes=0-{}", u64::MAX)), 10), Some(Ok(0..10)));
    }
}

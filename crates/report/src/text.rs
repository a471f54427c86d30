//! Text that is safe to show: names and output come from the repository and
//! from tests, and may hold anything.

use std::fmt::Write as _;

/// Most lines of one block of output that are shown: of its beginning, where
/// the cause of all that follows often stands (what a test did before its
/// program dumped its stacks), and of its end, where programs say why they died.
const HEAD_LINES: usize = 20;
const TAIL_LINES: usize = 60;

/// Most characters of one line of output that are shown.
const LINE_CHARS: usize = 1000;

/// Makes a name or a message fit for one line: control characters, and those
/// that change the direction of writing, become visible escapes, so two
/// different names never look the same by them.
pub(crate) fn line(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if deceives(c) { safe.extend(c.escape_default()) } else { safe.push(c) }
    }
    safe
}

/// Makes output fit to be shown: escape sequences are taken out, a carriage
/// return ends a line (progress bars), a tab is four spaces, other control
/// characters are dropped. Ends without a newline.
pub(crate) fn block(text: &str) -> String {
    let text = text.replace("\r\n", "\n").replace('\r', "\n").replace('\t', "    ");
    let mut safe = strip_ansi_escapes::strip_str(text);
    safe.retain(|c| c == '\n' || !deceives(c));
    safe.truncate(safe.trim_end().len());
    safe
}

/// Writes a block with `indent` in front of each line; of a long one the
/// beginning and the end.
pub(crate) fn indented(block: &str, indent: &str) -> String {
    let lines: Vec<&str> = block.lines().collect();
    let left_out = lines.len().saturating_sub(HEAD_LINES + TAIL_LINES);
    let mut text = String::new();
    for (place, line) in lines.iter().enumerate() {
        if left_out > 0 && place == HEAD_LINES {
            let _ = writeln!(text, "{indent}({} left out)", count(left_out, "line"));
        }
        if (HEAD_LINES..HEAD_LINES + left_out).contains(&place) {
            continue;
        }
        let shown = line.char_indices().nth(LINE_CHARS).map_or(*line, |(end, _)| &line[..end]);
        let cut = if shown.len() < line.len() { " ..." } else { "" };
        let _ = writeln!(text, "{}", format!("{indent}{shown}{cut}").trim_end());
    }
    text
}

/// Writes all of a text with `indent` in front of each line.
pub(crate) fn indented_all(text: &str, indent: &str) -> String {
    let lines = text.lines().map(|line| format!("{indent}{line}"));
    lines.map(|line| format!("{}\n", line.trim_end())).collect()
}

/// Whether a character would do something else than stand in its line.
fn deceives(c: char) -> bool {
    c.is_control()
        // Unicode's bidirectional controls, line and paragraph separators, and
        // the two characters that XML 1.0 does not have.
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{fffe}' | '\u{ffff}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A duration in microseconds as people read it: `0.3 s`, `3 m 05 s`.
pub(crate) fn duration(us: u64) -> String {
    let tenths = us.saturating_add(50_000) / 100_000;
    if tenths < 600 {
        return format!("{}.{} s", tenths / 10, tenths % 10);
    }
    let seconds = us.saturating_add(500_000) / 1_000_000;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours == 0 {
        format!("{minutes} m {seconds:02} s")
    } else {
        format!("{hours} h {minutes:02} m {seconds:02} s")
    }
}

/// Microseconds as seconds with one decimal, for columns of numbers.
pub(crate) fn tenths(us: u64) -> String {
    let tenths = us.saturating_add(50_000) / 100_000;
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// Bytes as people read them: `4.0 GiB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match UNITS.iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{:.1} {name}", bytes as f64 / *unit as f64),
        None => format!("{bytes} B"),
    }
}

/// `1 test`, `2 tests`.
pub(crate) fn count(number: usize, word: &str) -> String {
    format!("{number} {word}{}", if number == 1 { "" } else { "s" })
}

/// Whole shares of `units` in proportion to `parts`, by largest remainder, so
/// that rounded rows still add up to their total.
pub(crate) fn apportion(parts: &[u64], units: u64) -> Vec<u64> {
    let sum: u128 = parts.iter().map(|part| u128::from(*part)).sum();
    if sum == 0 {
        return vec![0; parts.len()];
    }
    let scaled = |part: &u64| u128::from(*part) * u128::from(units);
    // A share is at most `units`, which fits.
    let mut shares: Vec<u64> = parts.iter().map(|part| (scaled(part) / sum) as u64).collect();
    let missing = units - shares.iter().sum::<u64>();
    let mut by_remainder: Vec<usize> = (0..parts.len()).collect();
    by_remainder.sort_by_key(|i| std::cmp::Reverse(scaled(&parts[*i]) % sum));
    for i in by_remainder.into_iter().take(missing as usize) {
        shares[i] += 1;
    }
    shares
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_cannot_move_the_cursor() {
        assert_eq!(line("Test\u{1b}[2J\nPASS\u{202e}x"), r"Test\u{1b}[2J\nPASS\u{202e}x");
        assert_eq!(line("TestGrößer/Ü"), "TestGrößer/Ü");
    }

    #[test]
    fn output_keeps_its_lines_and_loses_its_escapes() {
        let output = "\u{1b}[31mred\u{1b}[0m\tx\r\n10 %\r20 %\u{8}\u{1b}]0;title\u{7}!\u{2067}\n\n";
        assert_eq!(block(output), "red    x\n10 %\n20 %!");
        assert_eq!(block("a\u{9b}31m b\u{fffe}"), "a31m b", "nothing is left that acts");
    }

    #[test]
    fn of_long_output_the_beginning_and_the_end_are_shown() {
        let long: String = (0..83).map(|i| format!("line {i}\n")).collect();
        let shown = indented(&long, "  ");
        assert!(shown.starts_with("  line 0\n"), "{shown}");
        assert!(shown.contains("  line 19\n  (3 lines left out)\n  line 23\n"), "{shown}");
        assert!(shown.ends_with("  line 82\n"), "{shown}");
        assert_eq!(indented(&"x\n".repeat(80), "").lines().count(), 80, "nothing is left out");
        assert_eq!(indented(&"é".repeat(1001), "").chars().count(), 1000 + " ...\n".len());
    }

    #[test]
    fn durations() {
        let shown = [49_999, 1_250_000, 59_949_999, 59_950_000, 185_000_000, 3_723_000_000];
        assert_eq!(
            shown.map(duration),
            ["0.0 s", "1.3 s", "59.9 s", "1 m 00 s", "3 m 05 s", "1 h 02 m 03 s"]
        );
        assert_eq!(duration(u64::MAX), "5124095576 h 01 m 49 s");
    }

    proptest! {
        #[test]
        fn shares_add_up_and_are_near(parts in prop::collection::vec(0..u64::MAX / 64, 1..20), units in 0..2000_u64) {
            let shares = apportion(&parts, units);
            let sum: u128 = parts.iter().map(|part| u128::from(*part)).sum();
            prop_assert_eq!(shares.iter().sum::<u64>(), if sum == 0 { 0 } else { units });
            for (part, share) in parts.iter().zip(shares) {
                let exact = *part as f64 / (sum as f64).max(1.0) * units as f64;
                prop_assert!((share as f64 - exact).abs() < 1.001);
            }
        }

        #[test]
        fn nothing_shown_holds_a_control_character(text in any::<String>()) {
            prop_assert!(!line(&text).chars().any(deceives));
            prop_assert!(!block(&text).replace('\n', "").chars().any(deceives));
        }
    }
}

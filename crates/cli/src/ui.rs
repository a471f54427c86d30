//! Text for a person. Data goes to standard output, everything else to
//! standard error.

use std::io::{IsTerminal as _, Write as _};

use seatrial_config::Style;
use seatrial_core::failure::Failure;

use crate::error::CommandError;

/// Shows what ended a command.
pub(crate) fn show_error(error: &CommandError) {
    match error {
        CommandError::Diagnostics(diagnostics) => {
            note(&seatrial_config::render(diagnostics, style()));
        }
        CommandError::Failure(failure) => show_failure(failure),
    }
}

/// Shows a failure: what, what to look at, what to do now.
pub(crate) fn show_failure(failure: &Failure) {
    let mut text = format!("error[{}]: {}\n", failure.code, failure.message);
    for line in failure.detail.lines() {
        text.push_str("  | ");
        text.push_str(line);
        text.push('\n');
    }
    for hint in &failure.hints {
        text.push_str("hint: ");
        text.push_str(hint);
        text.push('\n');
    }
    note(&text);
}

/// Writes to standard error. There is nobody to tell when that fails.
pub(crate) fn note(text: &str) {
    let mut out = std::io::stderr().lock();
    let _ = out.write_all(text.as_bytes());
    if !text.ends_with('\n') {
        let _ = out.write_all(b"\n");
    }
}

/// Writes text that is data to standard output.
///
/// # Errors
/// When it cannot be written; a reader that has gone is no error.
pub(crate) fn data(text: &str) -> std::io::Result<()> {
    bytes(text.as_bytes())
}

/// Writes data to standard output, as [`data`] does.
pub(crate) fn bytes(bytes: &[u8]) -> std::io::Result<()> {
    match std::io::stdout().lock().write_all(bytes) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// How diagnostics look on this standard error.
pub(crate) fn style() -> Style {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let color = std::io::stderr().is_terminal() && !plain;
    Style::Fancy { color, width: 100 }
}

/// Rows of text as columns that are as wide as they need to be.
pub(crate) fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default()
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            // Not by a width of `format!`, which has a limit.
            let pad = width.saturating_sub(cell.chars().count()) + 2;
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', pad));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_need_to_be() {
        let rows = [["a", "ü", "c"], ["aa", "b", ""]].map(|row| row.map(str::to_owned));
        assert_eq!(columns(&rows), "a   ü  c\naa  b\n");
        let wide = [["x".repeat(70_000), "b".to_owned()], ["a".to_owned(), "b".to_owned()]];
        assert!(columns(&wide).lines().all(|line| line.len() == 70_003));
    }
}

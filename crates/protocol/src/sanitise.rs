//! Makes text that strangers wrote safe for a terminal.
//!
//! Logs are kept as they came and made inert where they are shown. Colours
//! stay; whatever moves the cursor, sets a title or the clipboard, links
//! somewhere or reorders what is read does not. The formats are those of
//! ECMA-48 and of xterm's control sequences.

use std::iter::Peekable;
use std::str::Chars;

/// Text that can be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sanitised {
    /// The text. Its only control characters are line feed, tab and those of
    /// colour sequences; colours that it leaves on are switched off at its end.
    pub text: String,
    /// How many sequences and characters were dropped or made visible: what
    /// `log.sequence_dropped` counts.
    pub dropped: u64,
}

/// Longest colour sequence that is kept, in characters between `ESC [` and `m`.
const COLOUR_LIMIT: usize = 32;

/// Makes `text` safe. Sequences end at a line feed at the latest, so a log can
/// be given line by line.
#[must_use]
pub fn sanitise(text: &str) -> Sanitised {
    let mut out = Sanitised { text: String::with_capacity(text.len()), dropped: 0 };
    let mut coloured = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\n' | '\t' => out.text.push(c),
            '\r' if chars.peek() == Some(&'\n') => {}
            // What would overwrite the line begins a new one: a progress bar
            // is many lines then, and hides nothing.
            '\r' => out.text.push('\n'),
            '\x1b' => match chars.peek() {
                Some('[') => {
                    chars.next();
                    control_sequence(&mut chars, &mut out, &mut coloured);
                }
                Some(']' | 'P' | 'X' | '^' | '_') => {
                    chars.next();
                    control_string(&mut chars);
                    out.dropped += 1;
                }
                _ => {
                    escape(&mut chars);
                    out.dropped += 1;
                }
            },
            '\u{9b}' => control_sequence(&mut chars, &mut out, &mut coloured),
            '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}' => {
                control_string(&mut chars);
                out.dropped += 1;
            }
            '\u{80}'..='\u{9f}' => out.dropped += 1,
            // Shown as what they are: the pictures of U+2400 and after.
            '\0'..='\x1f' | '\x7f' => {
                let picture = if c == '\x7f' { 0x2421 } else { 0x2400 + u32::from(c) };
                out.text.extend(char::from_u32(picture));
                out.dropped += 1;
            }
            _ if reorders(c) => {
                out.text.push(char::REPLACEMENT_CHARACTER);
                out.dropped += 1;
            }
            _ => out.text.push(c),
        }
    }
    if coloured {
        // Before a last line feed, so that lines stay lines.
        let at = out.text.strip_suffix('\n').map_or(out.text.len(), str::len);
        out.text.insert_str(at, "\x1b[0m");
    }
    out
}

/// After `ESC [`: kept when it is a colour and nothing else.
fn control_sequence(chars: &mut Peekable<Chars<'_>>, out: &mut Sanitised, coloured: &mut bool) {
    let mut parameters = String::new();
    // Parameters, then intermediates, then one final byte.
    while let Some(c) = chars.next_if(|c| matches!(c, '\x20'..='\x3f')) {
        if parameters.len() <= COLOUR_LIMIT {
            parameters.push(c);
        }
    }
    let last = chars.next_if(|c| matches!(c, '\x40'..='\x7e'));
    let plain = parameters.bytes().all(|b| matches!(b, b'0'..=b'9' | b';' | b':'));
    if last == Some('m') && plain && parameters.len() <= COLOUR_LIMIT {
        *coloured = !parameters.bytes().all(|b| matches!(b, b'0' | b';'));
        out.text.push_str("\x1b[");
        out.text.push_str(&parameters);
        out.text.push('m');
    } else {
        out.dropped += 1;
    }
}

/// After the introducer of an OSC, DCS, SOS, PM or APC: up to its terminator.
fn control_string(chars: &mut Peekable<Chars<'_>>) {
    while let Some(c) = chars.next_if(|c| *c != '\n') {
        match c {
            '\x07' | '\u{9c}' => return,
            '\x1b' => {
                chars.next_if_eq(&'\\');
                return;
            }
            _ => {}
        }
    }
}

/// After an `ESC` that begins none of the above: intermediates and a final.
fn escape(chars: &mut Peekable<Chars<'_>>) {
    while chars.next_if(|c| matches!(c, '\x20'..='\x2f')).is_some() {}
    chars.next_if(|c| matches!(c, '\x30'..='\x7e'));
}

/// Bidirectional controls, which show text in another order than it has.
fn reorders(c: char) -> bool {
    matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str, dropped: u64) {
        let expected = Sanitised { text: expected.to_owned(), dropped };
        assert_eq!(sanitise(text), expected, "{text:?}");
    }

    #[test]
    fn plain_text_and_colours_stay() {
        check("plain\ttext ä 漢\n", "plain\ttext ä 漢\n", 0);
        check("\x1b[1;31mred\x1b[0m\n", "\x1b[1;31mred\x1b[0m\n", 0);
        check("\x1b[38;2;1;2;3mx\x1b[m\n", "\x1b[38;2;1;2;3mx\x1b[m\n", 0);
        check("dos\r\n", "dos\n", 0);
    }

    #[test]
    fn colours_do_not_leak() {
        check("\x1b[31mred\n", "\x1b[31mred\x1b[0m\n", 0);
        check("\x1b[31mred", "\x1b[31mred\x1b[0m", 0);
    }

    #[test]
    fn whatever_acts_on_the_terminal_is_gone() {
        check("a\x1b]8;;javascript:alert(1)\x07link\x1b]8;;\x1b\\b", "alinkb", 2);
        check("\x1b]52;c;aGk=\x07x", "x", 1);
        check("\x1b]0;title\u{9c}x", "x", 1);
        check("\x1bP+q\x1b\\x", "x", 1);
        check("\x1b[2J\x1b[1;1Hx\x1b[?1049h", "x", 3);
        check("\u{9b}2Jx\u{85}", "x", 2);
        check("\x1bcx\x1b(0y", "xy", 2);
        check("\x1b[>4;1mx", "x", 1);
        check("progress 1\rprogress 2", "progress 1\nprogress 2", 0);
        check("ab\x08\x08cd\x07\0", "ab␈␈cd␇␀", 4);
        check("\u{202e}evil", "\u{fffd}evil", 1);
    }

    #[test]
    fn what_does_not_end_ends_at_the_line() {
        check("\x1b]0;title\nnext", "\nnext", 1);
        check("\x1b[12\nnext", "\nnext", 1);
        check("\x1b", "", 1);
        check(&format!("\x1b[{}mx", "1;".repeat(1000)), "x", 1);
    }

    #[test]
    fn text_that_other_systems_obey_is_text() {
        check("::set-env name=PATH::/evil\n", "::set-env name=PATH::/evil\n", 0);
        check("<script>alert(1)</script>", "<script>alert(1)</script>", 0);
    }
}

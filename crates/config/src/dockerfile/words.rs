//! Words of an instruction: quotes, escapes and variables.

use std::collections::BTreeMap;

/// Most bytes that a word may come to.
const LONGEST: usize = 64 << 10;

/// A word, and the bytes of the instruction that it stands in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// What is wrong with a word, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) message: String,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Values of variables.
pub(super) struct Variables<'a> {
    pub(super) known: &'a BTreeMap<String, String>,
    /// Whether there may be others, of a base whose environment is not known
    /// here; else those are empty.
    pub(super) others: bool,
    pub(super) escape: char,
}

/// Splits text into words at spaces outside of quotes, and puts in the values of
/// variables. With `whole`, all of it is one word.
pub(super) fn words(
    text: &str,
    variables: &Variables<'_>,
    whole: bool,
) -> Result<Vec<Word>, Wrong> {
    let mut words = Vec::new();
    let mut word: Option<(String, usize)> = None;
    let mut quote = None;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if c.is_whitespace() && quote.is_none() && !whole {
            if let Some((text, start)) = word.take() {
                words.push(Word { text, start, end: at });
            }
            continue;
        }
        let (value, start) = word.get_or_insert_with(|| (String::new(), at));
        match (c, quote) {
            ('"' | '\'', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            (c, None | Some('"')) if c == variables.escape => match chars.next() {
                Some((_, next)) => {
                    // Within quotes only what would mean something else.
                    if quote.is_some() && !['"', '$', c].contains(&next) {
                        value.push(c);
                    }
                    value.push(next);
                }
                None => value.push(c),
            },
            ('$', None | Some('"')) => {
                let rest = &text[at + 1..];
                let (found, length) = variable(rest, variables).map_err(|message| Wrong {
                    message,
                    start: at,
                    end: text.len(),
                })?;
                value.push_str(&found);
                while chars.peek().is_some_and(|(next, _)| *next < at + 1 + length) {
                    chars.next();
                }
            }
            (c, _) => value.push(c),
        }
        if value.len() > LONGEST {
            let message = format!("it comes to more than {} KiB", LONGEST >> 10);
            return Err(Wrong { message, start: *start, end: at });
        }
    }
    if quote.is_some() {
        let start = word.map_or(0, |(_, start)| start);
        return Err(Wrong { message: "a quote is not closed".to_owned(), start, end: text.len() });
    }
    words.extend(word.map(|(value, start)| Word { text: value, start, end: text.len() }));
    Ok(words)
}

/// The value of the variable that `rest` begins with, behind its `$`, and the
/// bytes of its name.
fn variable(rest: &str, variables: &Variables<'_>) -> Result<(String, usize), String> {
    let name_of = |text: &str| {
        let inner = |c: char| c.is_ascii_alphanumeric() || c == '_';
        text.find(|c: char| !inner(c)).unwrap_or(text.len())
    };
    let get = |name: &str| match variables.known.get(name) {
        Some(value) => Ok(Some(value.clone())),
        None if variables.others => Err(format!(
            "`${name}` is not set in this Dockerfile, and what its base sets is not known here"
        )),
        None => Ok(None),
    };
    let Some(braced) = rest.strip_prefix('{') else {
        let end = name_of(rest);
        return match &rest[..end] {
            "" => Ok(("$".to_owned(), 0)),
            name => Ok((get(name)?.unwrap_or_default(), end)),
        };
    };
    let close = braced.find('}').ok_or("`${` is not closed")?;
    let inside = &braced[..close];
    let (name, rest) = inside.split_at(name_of(inside));
    let set = |name: &str| variables.known.get(name).filter(|value| !value.is_empty());
    let value = match (name, rest) {
        ("", _) => None,
        (name, "") => Some(get(name)?.unwrap_or_default()),
        (name, rest) if variables.others && !variables.known.contains_key(name) => {
            let _ = rest;
            return Err(get(name).err().unwrap_or_default());
        }
        (name, rest) => match (rest.strip_prefix(":-"), rest.strip_prefix(":+")) {
            (Some(text), _) if !text.contains('$') => {
                Some(set(name).cloned().unwrap_or_else(|| text.to_owned()))
            }
            (_, Some(text)) if !text.contains('$') => {
                Some(set(name).map(|_| text.to_owned()).unwrap_or_default())
            }
            _ => None,
        },
    };
    match value {
        Some(value) => Ok((value, close + 2)),
        None => Err(format!("`${{{}}}` is a form that is not read here", inside.escape_debug())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, others: bool) -> String {
        let known = [("A", "1"), ("E", ""), ("S", "x y")];
        let known = known.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        match words(text, &Variables { known: &known, others, escape: '\\' }, false) {
            Ok(words) => words.iter().map(|w| w.text.as_str()).collect::<Vec<_>>().join("|"),
            Err(wrong) => format!("{}: {}", wrong.start, wrong.message),
        }
    }

    #[test]
    fn quotes_escapes_and_variables() {
        for (text, expected) in [
            ("a  b", "a|b"),
            ("a=\"b c\"d 'e f'", "a=b cd|e f"),
            (r#"a\ b "c\"d\n" '\'"#, r#"a b|c"d\n|\"#),
            ("$A${A}x $S '$A' \\$A", "11x|x y|$A|$A"),
            ("${E:-d} ${A:-d} ${A:+y}${E:+y}.", "d|1|y."),
            ("$none.", "."),
            ("$ $1", "$|"),
            ("'open", "0: a quote is not closed"),
            ("x${A", "1: `${` is not closed"),
            ("${A#x}", "0: `${A#x}` is a form that is not read here"),
        ] {
            assert_eq!(shown(text, false), expected, "{text}");
        }
        let unknown =
            "`$PATH` is not set in this Dockerfile, and what its base sets is not known here";
        assert_eq!(shown("x:$PATH", true), format!("2: {unknown}"));
        assert_eq!(shown("${PATH:-x}", true), format!("0: {unknown}"));
    }
}

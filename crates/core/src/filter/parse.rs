//! Text to a tree: recursive descent, bounded in length and depth.

use std::ops::Range;

use regex::RegexBuilder;

use super::{Expr, FilterError, LONGEST, Matcher};

/// How deep parentheses and negations may be nested.
const DEEPEST: usize = 32;

/// Bytes that a regular expression may have when compiled.
const COMPILED: usize = 1 << 20;

/// What stands in front of parentheses.
const SETS: &[&str] = &["test", "program", "all", "none"];

/// What an expression begins with.
const BEGINS: &[&str] = &["test", "program", "all", "none", "not"];

/// What stands between two expressions.
const BETWEEN: &[&str] = &["and", "or"];

pub(super) fn parse(text: &str) -> Result<Expr, FilterError> {
    if text.len() > LONGEST {
        let message = format!("a filter of {} bytes, at most {LONGEST} are allowed", text.len());
        return Err(FilterError { message, at: 0..text.len(), allowed: &[] });
    }
    let mut parser = Parser { text, at: 0, depth: 0 };
    let expr = parser.or()?;
    match parser.rest().chars().next() {
        None => Ok(expr),
        Some(')') => Err(parser.here("this `)` closes nothing", &[])),
        Some(_) => Err(parser.here("expected `and`, `or` or the end here", BETWEEN)),
    }
}

struct Parser<'a> {
    text: &'a str,
    /// Bytes that were read.
    at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn or(&mut self) -> Result<Expr, FilterError> {
        let mut one = self.and()?;
        while self.word("or") || self.sign('|') || self.sign('+') {
            one = Expr::Or(Box::new(one), Box::new(self.and()?));
        }
        Ok(one)
    }

    fn and(&mut self) -> Result<Expr, FilterError> {
        let mut one = self.not()?;
        loop {
            let other = if self.word("and") || self.sign('&') {
                self.not()?
            } else if self.sign('-') {
                Expr::Not(Box::new(self.not()?))
            } else {
                return Ok(one);
            };
            one = Expr::And(Box::new(one), Box::new(other));
        }
    }

    fn not(&mut self) -> Result<Expr, FilterError> {
        self.space();
        if self.depth >= DEEPEST {
            return Err(self.here(&format!("nested more than {DEEPEST} deep"), &[]));
        }
        self.depth += 1;
        let expr = if self.word("not") || self.sign('!') {
            Expr::Not(Box::new(self.not()?))
        } else {
            self.basic()?
        };
        self.depth -= 1;
        Ok(expr)
    }

    fn basic(&mut self) -> Result<Expr, FilterError> {
        let open = self.at;
        if self.sign('(') {
            let expr = self.or()?;
            return match self.sign(')') {
                true => Ok(expr),
                false if self.rest().is_empty() => {
                    Err(error(open..open + 1, "this `(` is never closed", &[]))
                }
                false => Err(self.here("expected `and`, `or` or `)` here", BETWEEN)),
            };
        }
        let word = self.next_word();
        let at = self.at..self.at + word.len();
        if word.is_empty() {
            return Err(match self.rest() {
                "" if self.text.trim().is_empty() => self.here("the filter is empty", BEGINS),
                "" => self.here("the filter ends where an expression should begin", BEGINS),
                _ => self.here("expected an expression here", BEGINS),
            });
        }
        if !SETS.contains(&word) {
            return Err(error(at, &format!("there is no set `{word}`"), BEGINS));
        }
        self.at = at.end;
        let open = self.at;
        if !self.sign('(') {
            return Err(error(at, &format!("`{word}` needs parentheses: `{word}(...)`"), &[]));
        }
        match word {
            "test" => Ok(Expr::Test(self.matcher(open)?)),
            "program" => Ok(Expr::Program(self.matcher(open)?)),
            _ if !self.sign(')') => {
                Err(error(at, &format!("`{word}()` has nothing between its parentheses"), &[]))
            }
            "all" => Ok(Expr::All),
            _ => Ok(Expr::None),
        }
    }

    /// What stands in the parentheses that began at `open`, and their end.
    fn matcher(&mut self, open: usize) -> Result<Matcher, FilterError> {
        self.space();
        if self.sign('/') {
            return self.regex(open);
        }
        let is = self.sign('=');
        let contains = !is && (self.sign('~') || !self.rest().starts_with('#'));
        if !is && !contains {
            let message = "`#` begins a glob, which filters here do not have";
            return Err(error(self.at..self.at + 1, message, &["=", "~", "/regex/"]));
        }
        let (from, text) = (self.at, self.until(')', open)?);
        if text.is_empty() {
            let end = (from + 1).min(self.text.len());
            return Err(error(from..end, "there is no name between the parentheses", &[]));
        }
        Ok(if is { Matcher::Is(text) } else { Matcher::Contains(text) })
    }

    fn regex(&mut self, open: usize) -> Result<Matcher, FilterError> {
        let from = self.at;
        let mut pattern = String::new();
        let mut chars = self.rest().char_indices();
        let end = loop {
            match chars.next() {
                None => return Err(error(from - 1..from, "this `/` has no second one", &[])),
                Some((at, '/')) => break at,
                // Only the slash is escaped here; the rest is the expression's.
                Some((_, '\\')) => match chars.next() {
                    Some((_, '/')) => pattern.push('/'),
                    Some((_, other)) => pattern.extend(['\\', other]),
                    None => {}
                },
                Some((_, other)) => pattern.push(other),
            }
        };
        self.at = from + end + 1;
        let span = from..from + end;
        // Linear in the text by construction; the size bounds what it compiles to.
        let regex = RegexBuilder::new(&pattern).size_limit(COMPILED).build();
        let regex = regex.map_err(|problem| {
            let why = match problem {
                regex::Error::CompiledTooBig(_) => "it is too large when compiled".to_owned(),
                other => {
                    let other = other.to_string();
                    let last = other.lines().last().unwrap_or_default();
                    last.trim_start_matches("error: ").to_owned()
                }
            };
            error(span, &format!("no regular expression: {why}"), &[])
        })?;
        match self.sign(')') {
            true => Ok(Matcher::Matches(regex)),
            false if self.rest().is_empty() => Err(unclosed(open)),
            false => Err(self.here("expected `)` after the regular expression", &[])),
        }
    }

    /// Text up to an end that is not escaped, which is read too.
    fn until(&mut self, end: char, open: usize) -> Result<String, FilterError> {
        let from = self.at;
        let mut text = String::new();
        let mut chars = self.rest().char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => match chars.next() {
                    Some((_, 'n')) => text.push('\n'),
                    Some((_, 'r')) => text.push('\r'),
                    Some((_, 't')) => text.push('\t'),
                    Some((_, c @ ('\\' | '(' | ')' | ',' | '/'))) => text.push(c),
                    Some((until, c)) => {
                        let at = from + at..from + until + c.len_utf8();
                        let message = format!("`\\{c}` is no escape");
                        let allowed = &["\\\\", "\\(", "\\)", "\\,", "\\/", "\\n", "\\r", "\\t"];
                        return Err(error(at, &message, allowed));
                    }
                    None => break,
                },
                c if c == end => {
                    self.at = from + at + c.len_utf8();
                    return Ok(text.trim().to_owned());
                }
                c => text.push(c),
            }
        }
        Err(unclosed(open))
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn space(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn sign(&mut self, sign: char) -> bool {
        self.space();
        let found = self.rest().starts_with(sign);
        self.at += if found { sign.len_utf8() } else { 0 };
        found
    }

    fn word(&mut self, word: &str) -> bool {
        let found = self.next_word() == word;
        self.at += if found { word.len() } else { 0 };
        found
    }

    fn next_word(&mut self) -> &'a str {
        self.space();
        let rest = self.rest();
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        &rest[..end]
    }

    /// An error about the next word or character.
    fn here(&mut self, message: &str, allowed: &'static [&'static str]) -> FilterError {
        let word = self.next_word().len();
        let one = self.rest().chars().next().map_or(0, char::len_utf8);
        error(self.at..self.at + word.max(one), message, allowed)
    }
}

fn unclosed(open: usize) -> FilterError {
    error(open..open + 1, "this `(` is never closed", &[])
}

fn error(at: Range<usize>, message: &str, allowed: &'static [&'static str]) -> FilterError {
    FilterError { message: message.to_owned(), at, allowed }
}

//! Which tests an override of a suite is for: the filter language.
//!
//! It is the part of nextest's filtersets that has a meaning here, with the
//! same precedence, so that what people know works:
//!
//! ```text
//! test(name)   test(~name)   the name of the test contains this
//! test(=name)                it is this
//! test(/regex/)              it matches this somewhere
//! program(...)               the same of the name of its program
//! all()   none()
//! not A   !A                 binds most tightly
//! A and B   A & B   A - B    `-`: A and not B
//! A or B    A | B   A + B
//! (A)
//! ```
//!
//! Owns parsing and matching, both pure. `seatrial-config` shows mistakes at
//! their place; whoever has a list of tests asks [`Filter::matches`].

mod parse;

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Bytes that a filter may have.
pub const LONGEST: usize = 1 << 10;

/// A checked filter. Two are equal when they are written alike.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Filter {
    text: String,
    expr: Expr,
}

/// What is wrong with a filter, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct FilterError {
    /// What, as a lowercase fragment.
    pub message: String,
    /// Bytes of the text that it is about.
    pub at: Range<usize>,
    /// Words of which one could stand there.
    pub allowed: &'static [&'static str],
}

/// A filter as a tree.
#[derive(Debug, Clone)]
enum Expr {
    All,
    None,
    Test(Matcher),
    Program(Matcher),
    Not(Box<Self>),
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
}

/// How a name is compared.
#[derive(Debug, Clone)]
enum Matcher {
    Is(String),
    Contains(String),
    Matches(regex::Regex),
}

impl Filter {
    /// Whether a test of a program is one of those that are meant.
    #[must_use]
    pub fn matches(&self, program: &str, test: &str) -> bool {
        self.expr.matches(program, test)
    }

    /// The filter as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl Expr {
    fn matches(&self, program: &str, test: &str) -> bool {
        match self {
            Self::All => true,
            Self::None => false,
            Self::Test(matcher) => matcher.matches(test),
            Self::Program(matcher) => matcher.matches(program),
            Self::Not(one) => !one.matches(program, test),
            Self::And(one, other) => one.matches(program, test) && other.matches(program, test),
            Self::Or(one, other) => one.matches(program, test) || other.matches(program, test),
        }
    }
}

impl Matcher {
    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Is(text) => name == text,
            Self::Contains(text) => name.contains(text.as_str()),
            Self::Matches(regex) => regex.is_match(name),
        }
    }
}

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        Ok(Self { expr: parse::parse(text)?, text: text.to_owned() })
    }
}

impl TryFrom<String> for Filter {
    type Error = FilterError;

    fn try_from(text: String) -> Result<Self, FilterError> {
        text.parse()
    }
}

impl From<Filter> for String {
    fn from(filter: Filter) -> Self {
        filter.text
    }
}

impl PartialEq for Filter {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Filter {}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

#[cfg(test)]
mod tests;

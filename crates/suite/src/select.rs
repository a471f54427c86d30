//! Which of the listed tests are run: a pure function of their names.

use std::collections::HashSet;

use regex::RegexBuilder;
use seatrial_core::failure::Failure;
use seatrial_core::filter::Filter;
use seatrial_core::name::Name;
use seatrial_core::pipeline::{Adapter, Suite};

use crate::list::Listing;

/// How long a pattern may be, in bytes.
pub const PATTERN_LIMIT: usize = 1 << 10;

/// The listings of a suite's programs with only the tests that one of
/// `patterns` matches somewhere in the name; without patterns all of them.
/// Programs of which no test is left are gone.
///
/// # Errors
/// `config.bad_pattern`: a pattern is no regular expression, or too big.
/// `report.ambiguous`: two selected tests cannot be told apart.
/// `run.nothing_selected`: no test is left, or a pattern matches none, as when
/// a test was renamed. That is never a success.
pub fn select(
    suite: &str,
    listings: Vec<Listing>,
    patterns: &[String],
) -> Result<Vec<Listing>, Failure> {
    let mut patterns = patterns
        .iter()
        .map(|text| Ok(Pattern { text, regex: compile(suite, text)?, found: false }))
        .collect::<Result<Vec<_>, Failure>>()?;
    let listed: usize = listings.iter().map(|l| l.tests.len()).sum();
    let programs = listings.len();
    let mut names = HashSet::new();
    let mut selected = Vec::new();
    for mut listing in listings {
        if !names.insert(listing.program.name.clone()) {
            return Err(ambiguous(suite, "two programs", &listing.program.name));
        }
        // A command that writes JUnit names its tests only afterwards.
        let named_later = listing.adapter == Adapter::Junit;
        if named_later && !patterns.is_empty() {
            let message = format!("`select` of suite `{suite}`: a `junit` suite is run as a whole");
            return Err(Failure::config("config.bad_pattern", message));
        }
        listing.tests.retain(|test| patterns.is_empty() || find(&mut patterns, test));
        let mut tests = HashSet::new();
        if let Some(twice) = listing.tests.iter().find(|test| !tests.insert(test.as_str())) {
            return Err(ambiguous(suite, "two tests", twice));
        }
        if !listing.tests.is_empty() || named_later {
            selected.push(listing);
        }
    }
    let lost = patterns.iter().find(|pattern| !pattern.found);
    if selected.is_empty() || lost.is_some() {
        let message = if programs == 0 {
            format!("suite `{suite}` has no test program")
        } else if listed == 0 && programs == 1 {
            format!("suite `{suite}` has no tests: its one program lists none")
        } else if listed == 0 {
            format!("suite `{suite}` has no tests: {programs} programs list none")
        } else if let (Some(lost), false) = (lost, selected.is_empty()) {
            format!(
                "`{}` in `select` of suite `{suite}` matches none of its {listed} tests",
                lost.text
            )
        } else {
            format!("suite `{suite}` selects none of its {listed} tests")
        };
        let hint = if programs == 0 {
            "`files` must match what the build leaves in `$OUT`"
        } else {
            "`select` holds regular expressions; a test is run when one of them matches its name"
        };
        return Err(Failure::config("run.nothing_selected", message).hint(hint));
    }
    Ok(selected)
}

/// The listings with only these tests, by program and name, of those that are
/// still listed: what is tried again, or alone.
///
/// # Errors
/// `suite.tests_gone`: none of them is listed any more.
pub fn only(
    suite: &str,
    listings: Vec<Listing>,
    tests: &[(String, String)],
) -> Result<Vec<Listing>, Failure> {
    let listings = those(listings, tests);
    if listings.is_empty() {
        let message = format!(
            "suite `{suite}` no longer lists the tests that are to be run on their own: {}",
            tests.iter().map(|(_, test)| test.as_str()).take(10).collect::<Vec<_>>().join(", ")
        );
        return Err(Failure::product("suite.tests_gone", message)
            .hint("a program should list the same tests each time that it is asked"));
    }
    Ok(listings)
}

/// The listings with only these tests, by program and name; programs of which
/// no test is left are gone.
#[must_use]
pub fn those(mut listings: Vec<Listing>, tests: &[(String, String)]) -> Vec<Listing> {
    let wanted: HashSet<(&str, &str)> =
        tests.iter().map(|(program, test)| (program.as_str(), test.as_str())).collect();
    for listing in &mut listings {
        let program = &listing.program.name;
        listing.tests.retain(|test| wanted.contains(&(program.as_str(), test.as_str())));
    }
    listings.retain(|listing| !listing.tests.is_empty());
    listings
}

/// What is said of overrides that are for none of the listed tests, as when a
/// test was renamed.
#[must_use]
pub fn overrides_without_tests(name: &Name, suite: &Suite, listings: &[Listing]) -> Vec<Failure> {
    let meant = |filter: &Filter| {
        listings.iter().any(|listing| {
            listing.tests.iter().any(|test| filter.matches(&listing.program.name, test))
        })
    };
    let filters = suite.overrides.iter().map(|other| &other.filter);
    let without = filters.filter(|filter| !meant(filter));
    let warning = |filter: &Filter| {
        let message = format!(
            "the override for `{}` of suite `{name}` is for none of its tests",
            filter.as_str()
        );
        Failure::config("suite.override_without_tests", message)
            .hint("a filter names tests as they are listed, without their parts: `test(=TestA)`")
    };
    without.map(warning).collect()
}

struct Pattern<'a> {
    text: &'a str,
    regex: regex::Regex,
    /// Whether a test was found by it.
    found: bool,
}

/// Whether a pattern matches; each that does is told so.
fn find(patterns: &mut [Pattern<'_>], test: &str) -> bool {
    let mut found = false;
    for pattern in patterns {
        if pattern.regex.is_match(test) {
            pattern.found = true;
            found = true;
        }
    }
    found
}

fn compile(suite: &str, pattern: &str) -> Result<regex::Regex, Failure> {
    let refuse = |why: String| {
        Failure::config("config.bad_pattern", format!("`select` of suite `{suite}`: {why}"))
    };
    if pattern.len() > PATTERN_LIMIT {
        return Err(refuse(format!(
            "a pattern of {} bytes, at most {PATTERN_LIMIT} are allowed",
            pattern.len()
        )));
    }
    // Linear in the text by construction; the size bounds what it compiles to.
    RegexBuilder::new(pattern)
        .size_limit(1 << 20)
        .build()
        .map_err(|error| refuse(format!("`{pattern}` is no regular expression: {error}")))
}

fn ambiguous(suite: &str, what: &str, name: &str) -> Failure {
    Failure::product(
        "report.ambiguous",
        format!(
            "{what} of suite `{suite}` are both named `{name}`: results could not be told apart"
        ),
    )
    .hint("rename one of them")
}

#[cfg(test)]
mod tests {
    use seatrial_core::pipeline::Override;

    use super::*;

    fn listing(program: &str, tests: &[&str]) -> Listing {
        Listing::of(Adapter::Go, program, tests)
    }

    fn names(selected: &[Listing]) -> Vec<String> {
        selected
            .iter()
            .flat_map(|l| l.tests.iter().map(|t| format!("{}:{t}", l.program.name)))
            .collect()
    }

    fn patterns(patterns: &[&str]) -> Vec<String> {
        patterns.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn any_pattern_selects_and_none_selects_all() {
        let all = || vec![listing("a.test", &["TestA", "TestB"]), listing("b.test", &["TestC"])];
        assert_eq!(
            names(&select("e2e", all(), &[]).unwrap()),
            ["a.test:TestA", "a.test:TestB", "b.test:TestC"]
        );
        assert_eq!(
            names(&select("e2e", all(), &patterns(&["B$", "^TestC"])).unwrap()),
            ["a.test:TestB", "b.test:TestC"]
        );
        assert_eq!(names(&select("e2e", all(), &patterns(&["TestA"])).unwrap()), ["a.test:TestA"]);
    }

    #[test]
    fn what_is_run_alone_is_still_listed() {
        let all = || vec![listing("a.test", &["TestA", "TestB"]), listing("b.test", &["TestA"])];
        let tests = |tests: &[(&str, &str)]| -> Vec<(String, String)> {
            tests.iter().map(|(p, t)| ((*p).to_owned(), (*t).to_owned())).collect()
        };
        let some = only("e2e", all(), &tests(&[("a.test", "TestA"), ("a.test", "TestGone")]));
        assert_eq!(names(&some.expect("one is listed")), ["a.test:TestA"]);
        let gone =
            only("e2e", all(), &tests(&[("b.test", "TestB")])).expect_err("it is not listed");
        assert_eq!(gone.code, "suite.tests_gone");
    }

    #[test]
    fn an_override_for_nothing_is_told() {
        let other = |filter: &str| Override {
            filter: filter.parse().expect("a filter"),
            isolation: None,
            test_timeout: None,
            retries: Some(1),
        };
        let overrides = ["test(=TestA)", "test(=TestA) and program(b)"].map(other).to_vec();
        let suite = Suite { overrides, ..crate::run::tests::suite(Adapter::Go) };
        let name = "e2e".parse().expect("a name");
        let listings = [listing("a.test", &["TestA"])];
        let said = overrides_without_tests(&name, &suite, &listings);
        let said: Vec<_> = said.into_iter().map(|warning| warning.message).collect();
        assert_eq!(
            said,
            [
                "the override for `test(=TestA) and program(b)` of suite `e2e` is for none of its tests"
            ]
        );
    }

    #[test]
    fn nothing_selected_is_never_green() {
        let failure = |listings, p: &[&str]| select("e2e", listings, &patterns(p)).unwrap_err();
        let none = failure(vec![listing("a.test", &["TestA"])], &["TestZ"]);
        assert_eq!(
            (none.code.as_str(), none.message.as_str()),
            ("run.nothing_selected", "suite `e2e` selects none of its 1 tests")
        );
        assert_eq!(
            failure(vec![listing("a.test", &[])], &[]).message,
            "suite `e2e` has no tests: its one program lists none"
        );
        let renamed = failure(vec![listing("a.test", &["TestA"])], &["TestA", "TestB"]);
        assert_eq!(
            (renamed.code.as_str(), renamed.message.as_str()),
            (
                "run.nothing_selected",
                "`TestB` in `select` of suite `e2e` matches none of its 1 tests"
            )
        );
        assert_eq!(failure(vec![], &[]).message, "suite `e2e` has no test program");
    }

    #[test]
    fn bad_patterns_and_doubles_are_refused() {
        let code = |listings, p: &[&str]| select("e2e", listings, &patterns(p)).unwrap_err().code;
        let one = || vec![listing("a.test", &["TestA"])];
        assert_eq!(code(one(), &["("]), "config.bad_pattern");
        assert_eq!(code(one(), &["(?=look)ahead"]), "config.bad_pattern");
        assert_eq!(code(one(), &[&"a".repeat(1025)]), "config.bad_pattern");
        assert_eq!(code(one(), &["((a{1000}){1000}){1000}"]), "config.bad_pattern");
        assert_eq!(code(vec![listing("a.test", &["x", "x"])], &[]), "report.ambiguous");
        assert_eq!(code(vec![listing("a", &["x"]), listing("a", &["y"])], &[]), "report.ambiguous");
        let junit = Listing::of(Adapter::Junit, "unit", &[]);
        assert_eq!(code(vec![junit.clone()], &["x"]), "config.bad_pattern");
        assert_eq!(select("unit", vec![junit.clone()], &[]), Ok(vec![junit]));
        // Doubles that are not selected harm nobody.
        assert!(select("e2e", vec![listing("a", &["x", "x", "y"])], &patterns(&["y"])).is_ok());
    }
}

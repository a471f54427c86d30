//! What filters mean, and what is said of those that mean nothing.

use proptest::prelude::*;

use super::*;

fn matches(filter: &str, test: &str) -> bool {
    let filter: Filter = filter.parse().unwrap_or_else(|error| panic!("{filter}: {error}"));
    filter.matches("e2e.test", test)
}

#[test]
fn names_and_programs() {
    assert!(matches("test(Failover)", "TestFailoverFast"));
    assert!(matches("test( ~Failover )", "TestFailoverFast"));
    assert!(!matches("test(=Failover)", "TestFailover"));
    assert!(matches("test(=TestFailover)", "TestFailover"));
    assert!(matches(r"test(/^Test(A|B)$/)", "TestB"));
    assert!(!matches(r"test(/^Test(A|B)$/)", "TestBC"));
    assert!(matches(r"test(/a\/b/)", "a/b"));
    assert!(matches("program(e2e) and not program(=e2e)", "TestA"));
    assert!(matches(r"test(=[sig-apps] a \(b\))", "[sig-apps] a (b)"));
    assert!(matches(r"test([sig-apps] a (b\))", "[sig-apps] a (b)"));
    assert!(matches("all()", "x") && !matches("none()", "x"));
}

#[test]
fn precedence_is_that_of_nextest() {
    // `and` and `-` bind more tightly than `or`, `not` most of all.
    assert!(matches("all() or none() and none()", "x"));
    assert!(!matches("(all() or none()) and none()", "x"));
    assert!(matches("not none() and all()", "x"));
    assert!(!matches("!(none() | all())", "x"));
    assert!(matches("all() - none() & all()", "x"));
    assert!(!matches("test(a) - test(b)", "ab"));
    assert!(matches("test(a)+test(b)", "b") && matches("!test(a)&!test(b)", "c"));
    assert!(matches("not not all()", "x"));
}

/// What is wrong, with the place marked.
fn refused(text: &str) -> String {
    let error = text.parse::<Filter>().expect_err(text);
    let at = error.at;
    let (before, marked, after) = (&text[..at.start], &text[at.clone()], &text[at.end..]);
    format!("{before}[{marked}]{after}: {}", error.message)
}

#[test]
fn mistakes_have_a_place() {
    let mistakes = [
        "",
        "tset(~A)",
        "test",
        "test(~A",
        "test()",
        "test(=)",
        "test(/(/)",
        "test(/a)",
        "test(/a/ b)",
        "test(#a*)",
        r"test(a\d)",
        "all(x)",
        "test(a) test(b)",
        "test(a) xor test(b)",
        "test(a) and",
        "(test(a)",
        "test(a))",
        "and",
        "~A",
    ];
    insta::assert_snapshot!(mistakes.map(refused).join("\n"), @r"
    []: the filter is empty
    [tset](~A): there is no set `tset`
    [test]: `test` needs parentheses: `test(...)`
    test[(]~A: this `(` is never closed
    test([)]: there is no name between the parentheses
    test(=[)]: there is no name between the parentheses
    test(/[(]/): no regular expression: unclosed group
    test([/]a): this `/` has no second one
    test(/a/ [b]): expected `)` after the regular expression
    test([#]a*): `#` begins a glob, which filters here do not have
    test(a[\d]): `\d` is no escape
    [all](x): `all()` has nothing between its parentheses
    test(a) [test](b): expected `and`, `or` or the end here
    test(a) [xor] test(b): expected `and`, `or` or the end here
    test(a) and[]: the filter ends where an expression should begin
    [(]test(a): this `(` is never closed
    test(a)[)]: this `)` closes nothing
    [and]: there is no set `and`
    [~]A: expected an expression here
    ");
    assert!(refused(&"!".repeat(100)).ends_with("nested more than 32 deep"));
    assert!(refused(&format!("test({})", "a".repeat(1024))).contains("at most 1024 are allowed"));
    assert!(refused("test(/((a{1000}){1000}){1000}/)").ends_with("too large when compiled"));
}

type Means = fn(&str) -> bool;

/// A filter as text, with what it means of a name.
fn filters() -> impl Strategy<Value = (String, Means)> {
    let leaves: [(&str, Means); 5] = [
        ("all()", |_| true),
        ("none()", |_| false),
        ("test(a)", |name| name.contains('a')),
        ("test(=b)", |name| name == "b"),
        ("test(/b$/)", |name| name.ends_with('b')),
    ];
    proptest::sample::select(leaves.to_vec()).prop_map(|(text, means)| (text.to_owned(), means))
}

proptest! {
    #[test]
    fn operators_do_what_they_say(one in filters(), other in filters(), third in filters()) {
        for name in ["a", "b", "ab"] {
            let (a, b, c) = ((one.1)(name), (other.1)(name), (third.1)(name));
            let (one, other, third) = (&one.0, &other.0, &third.0);
            prop_assert_eq!(matches(&format!("{one} and {other} or {third}"), name), a && b || c);
            prop_assert_eq!(matches(&format!("{one}|{other}&{third}"), name), a || b && c);
            prop_assert_eq!(matches(&format!("!{one} - {other}"), name), !a && !b);
            prop_assert_eq!(matches(&format!("not ({one} + {other})"), name), !(a || b));
        }
    }

    #[test]
    fn whatever_is_written_the_place_is_in_it(text in "[a-z()!&|~=/\\\\ é-]{0,40}") {
        match text.parse::<Filter>() {
            Ok(filter) => {
                let read: Filter = serde_json::from_str(&serde_json::to_string(&filter).unwrap()).unwrap();
                prop_assert_eq!(read, filter);
            }
            Err(error) => prop_assert!(text.get(error.at.clone()).is_some(), "{:?}", error),
        }
    }

    #[test]
    fn escaped_names_are_found(name in "[a-z()\\\\/, ]{1,20}") {
        let escaped: String = name
            .trim()
            .chars()
            .flat_map(|c| matches!(c, '\\' | '(' | ')' | '/' | ',').then_some('\\').into_iter().chain([c]))
            .collect();
        prop_assume!(!escaped.is_empty());
        prop_assert!(matches(&format!("test(={escaped})"), name.trim()), "{escaped}");
    }
}

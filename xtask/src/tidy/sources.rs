//! Rules for the text of source files and of everything else.
//!
//! Patterns are written in two pieces, so that they are not found here.

use super::Text;

/// What no Rust file may contain, and why. Sleeps and such are clippy's affair
/// (`clippy.toml`), as is a missing reason.
const NEVER: &[(&str, &str)] = &[
    (concat!("#[ig", "nore"), "a test that does not run says nothing"),
    (concat!("#[should", "_panic"), "a test says what it expects of an error"),
    (
        concat!("[all", "ow("),
        "expect a lint, with a reason: it is told when it is no longer needed",
    ),
];

/// How code that the compiler does not check begins.
const UNCHECKED: &[&str] = &[
    concat!("uns", "afe {"),
    concat!("uns", "afe fn"),
    concat!("uns", "afe impl"),
    concat!("uns", "afe extern"),
    concat!("uns", "afe trait"),
    concat!("#[uns", "afe("),
    concat!("(uns", "afe_code"),
];

/// Where such code may be.
const UNCHECKED_IN: &str = "crates/sandbox/";

/// Beginnings of paths on somebody's machine. `/home/me/` and `/home/app/` are
/// nobody's.
const MACHINES: &[&str] = &[concat!("/ho", "me/"), concat!("/Us", "ers/"), concat!("/wo", "rk/")];
const NOBODY: &[&str] = &["me", "app"];

/// What is wrong with the text of files.
pub(super) fn check(texts: &[Text]) -> Vec<String> {
    let mut wrong = Vec::new();
    for Text { path, text } in texts {
        let is_rust = path.ends_with(".rs");
        for (n, line) in (1..).zip(text.lines()) {
            let mut add = |what: String| wrong.push(format!("{path}:{n}: {what}"));
            if is_rust {
                let code = line.split("//").next().unwrap_or_default();
                for (pattern, why) in NEVER.iter().filter(|(pattern, _)| code.contains(pattern)) {
                    add(format!("`{pattern}`: {why}"));
                }
                if !path.starts_with(UNCHECKED_IN) && UNCHECKED.iter().any(|p| code.contains(p)) {
                    add(format!("code that the compiler does not check outside {UNCHECKED_IN}"));
                }
            }
            if machine(line) {
                add("a path of one machine".to_owned());
            }
        }
    }
    wrong
}

/// Whether a path on somebody's machine is in the line.
fn machine(line: &str) -> bool {
    MACHINES.iter().any(|start| {
        line.match_indices(start).any(|(at, _)| {
            // `/x/home/` is another path.
            let begins =
                !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '.' || c == '_');
            let rest = &line[at + start.len()..];
            let name = rest.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
            begins && !name.is_empty() && !NOBODY.contains(&name)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(path: &str, text: &str) -> Vec<String> {
        check(&[Text { path: path.to_owned(), text: text.to_owned() }])
    }

    #[test]
    fn tests_that_do_not_run_and_lints_switched_off_are_found() {
        for (pattern, why) in NEVER {
            let text = format!("// {pattern}\nfn f() {{}}\n    {pattern}\n");
            assert_eq!(
                wrong("crates/x/src/lib.rs", &text),
                [format!("crates/x/src/lib.rs:3: `{pattern}`: {why}")]
            );
        }
    }

    #[test]
    fn unchecked_code_is_for_one_crate() {
        for pattern in UNCHECKED {
            assert_eq!(wrong("crates/store/src/lib.rs", pattern).len(), 1, "{pattern}");
            assert_eq!(wrong("crates/sandbox/src/lib.rs", pattern).len(), 0, "{pattern}");
        }
        assert_eq!(wrong("crates/store/src/lib.rs", "// unsafe in a comment").len(), 0);
    }

    #[test]
    fn paths_of_one_machine_are_found_everywhere() {
        let path = format!("{}jane/src", MACHINES[0]);
        assert_eq!(wrong("README.md", &path), ["README.md:1: a path of one machine"]);
        for fine in ["below me/app/", "x/me/jane/"].map(|rest| format!("/srv{}", rest)) {
            assert_eq!(wrong("README.md", &fine), Vec::<String>::new());
        }
        for fine in [format!("{}me/x", MACHINES[0]), format!("/srv{}x", MACHINES[2])] {
            assert_eq!(wrong("README.md", &fine), Vec::<String>::new(), "{fine}");
        }
    }
}

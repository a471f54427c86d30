//! Input that is made to hurt: it is refused with its code, soon, and without a
//! panic.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use seatrial_config::{Code, Known, Style, load, render};

const KNOWN: Known<'_> = Known { kubernetes: &["1.37"], tools: &["go"], images: None };

/// The code and place of the first mistake.
fn refused(text: impl AsRef<[u8]>) -> (Code, usize, usize) {
    let begin = Instant::now();
    let mistakes = load(text.as_ref(), "seatrial.yaml", &KNOWN).expect_err("bad input");
    for style in [Style::Narrow, Style::Fancy { color: true, width: 60 }] {
        let shown = render(&mistakes, style);
        assert!(shown.len() < 400_000, "{} bytes of diagnostics", shown.len());
    }
    let took = begin.elapsed();
    // Generous, for a busy machine and a build without optimisation; what is
    // not bounded takes minutes here.
    assert!(took < Duration::from_secs(60), "{took:?}");
    let place = mistakes[0].place.as_ref().map_or((0, 0), |p| (p.line, p.column));
    (mistakes[0].code, place.0, place.1)
}

#[test]
fn characters_that_nobody_sees() {
    assert_eq!(refused(b"seatrial: 1\nbuilds: \xff\n"), (Code::BadText, 2, 9));
    assert_eq!(refused("\u{feff}seatrial: 1\n"), (Code::BadText, 1, 1));
    assert_eq!(refused("seatrial: 1\n# \0\n"), (Code::BadText, 2, 3));
    assert_eq!(refused("seatrial: 1 # \u{202e}1\n"), (Code::BadText, 1, 15));
    assert_eq!(refused("seatrial: 1\rbuilds: {}\n"), (Code::BadText, 1, 12));
    assert_eq!(refused("seatrial: 1\n\u{1b}[2J"), (Code::BadText, 2, 1));
    assert_eq!(refused("seatrial: 1\n\u{2028}x: y\n"), (Code::BadText, 2, 1));
    assert!(load(b"seatrial: 1\r\nbuilds: {}\r\n", "f", &KNOWN).is_ok());
}

#[test]
fn nothing_in_a_diagnostic_acts_on_the_terminal() {
    let text =
        "seatrial: 1\nbuilds: { \u{202e}\u{1b}]0;x\u{7}: 1, \"\\e[2J\\u202e\": 2 }\n\u{feff}";
    for text in [text, "seatrial: 1\nx\\: 1\n\"\\e[2J\\u202e\": 2\nbuilds: \"\\x07\\x9b\"\n"] {
        let mistakes = load(text.as_bytes(), "f", &KNOWN).expect_err("bad input");
        for style in [Style::Narrow, Style::Fancy { color: false, width: 80 }] {
            let shown = render(&mistakes, style);
            let acts = |c: char| c.is_control() && c != '\n' || "\u{202e}\u{feff}".contains(c);
            assert!(!shown.contains(acts), "{shown:?}");
        }
    }
}

#[test]
fn size() {
    assert_eq!(refused(vec![b'#'; (1 << 20) + 1]).0, Code::TooLarge);
    assert_eq!(refused(vec![b'['; 1 << 20]).0, Code::TooDeep);
    assert_eq!(refused(vec![b'a'; 1 << 20]).0, Code::WrongType);
    let many = |item: &str, n: usize| format!("seatrial: 1\nx-a: [{}]\n", item.repeat(n));
    assert!(load(many("a, ", 49_000).as_bytes(), "f", &KNOWN).is_ok());
    assert_eq!(refused(many("a, ", 60_000)), (Code::TooLarge, 2, 149_992));
    assert_eq!(refused(many("{}, ", 60_000)).0, Code::TooLarge);
}

#[test]
fn depth() {
    let nested = |open: &str, close: &str, n: usize| {
        format!("seatrial: 1\nx-a: {}{}\n", open.repeat(n), close.repeat(n))
    };
    assert!(load(nested("[", "]", 63).as_bytes(), "f", &KNOWN).is_ok());
    assert_eq!(refused(nested("[", "]", 64)).0, Code::TooDeep);
    assert_eq!(refused(nested("{a: ", "}", 64)).0, Code::TooDeep);
    assert_eq!(refused("- ".repeat(100_000)).0, Code::TooDeep);
    let mut block = String::new();
    for depth in 0..1000 {
        writeln!(block, "{}a:", " ".repeat(depth)).expect("a String takes all text");
    }
    assert_eq!(refused(block).0, Code::TooDeep);
    // Nested by aliases: each line stands inside the next.
    let mut aliases = "x0: &a0 []\n".to_owned();
    for n in 1..100 {
        writeln!(aliases, "x{n}: &a{n} [*a{}]", n - 1).expect("a String takes all text");
    }
    assert_eq!(refused(aliases), (Code::TooDeep, 64, 12));
}

#[test]
fn aliases_multiply_values_and_bytes() {
    let mut nine = "x0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..40 {
        let of = format!("*a{}, ", n - 1).repeat(9);
        writeln!(nine, "x{n}: &a{n} [{of}]").expect("a String takes all text");
    }
    assert_eq!(refused(nine).0, Code::AliasBudget);
    let long = format!("x-a: &a {}\nx-b: [{}]\n", "a".repeat(100_000), "*a, ".repeat(20_000));
    assert_eq!(refused(long).0, Code::AliasBudget);
    assert_eq!(refused("seatrial: 1\nx-a: &a [*a]\n").0, Code::BadAlias);
}

#[test]
fn thousands_of_mistakes_are_counted() {
    let mut text = "seatrial: 1\nbuilds:\n".to_owned();
    for n in 0..4000 {
        writeln!(text, "  build-{n}: {{ run: make, params: [p{n}], inptus: [] }}")
            .expect("a String takes all text");
    }
    let mistakes = load(text.as_bytes(), "f", &KNOWN).expect_err("bad input");
    assert_eq!(mistakes.len(), 101);
    assert_eq!(
        mistakes[100].to_string(),
        "error[config.too_many]: 7900 further mistakes are not shown"
    );
    refused(text);
}

#[test]
fn expensive_names_and_references() {
    let mut text = "seatrial: 1\nbuilds:\n".to_owned();
    for n in 0..6000 {
        writeln!(text, "  build-{n}: {{ run: make }}").expect("a String takes all text");
    }
    text.push_str("environments:\n");
    for n in 0..6000 {
        writeln!(text, "  e{n}: {{ base: e{} }}", (n + 1) % 6000).expect("a String takes all text");
    }
    text.push_str("images:\n");
    for n in 0..3000 {
        writeln!(text, "  i{n}: {{ base: {{ image: bild-{n} }} }}")
            .expect("a String takes all text");
    }
    refused(text);
    let templates = "{{".repeat(400_000);
    refused(format!("seatrial: 1\nbuilds: {{ a: {{ run: \"{templates}\", inptus: [] }} }}"));
    let key = "k".repeat(500_000);
    refused(format!("seatrial: 1\n? {key}\n: 1\nbuilds: {{ ? {key}\n: {{}} }}\n"));
}

proptest! {
    #[test]
    fn any_bytes_are_loaded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = load(&bytes, "f", &KNOWN).map_err(|mistakes| render(&mistakes, Style::Narrow));
    }

    /// Pieces of pipelines in any order come further than bytes do.
    #[test]
    fn any_pieces_are_loaded_or_refused(pieces in prop::collection::vec(piece(), 0..60)) {
        let text = pieces.concat();
        if let Err(mistakes) = load(text.as_bytes(), "f", &KNOWN) {
            prop_assert!(!mistakes.is_empty());
            let _ = render(&mistakes, Style::Fancy { color: true, width: 80 });
            for mistake in mistakes.iter().filter_map(|m| m.place.as_ref()) {
                prop_assert!(mistake.span.end <= text.len() && mistake.line >= 1, "{:?}", mistake);
                prop_assert!(text.is_char_boundary(mistake.span.start), "{:?}", mistake);
            }
        }
    }
}

fn piece() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "seatrial: 1\n",
        "builds:\n",
        "  server:\n",
        "    run: make\n",
        "    inputs: [a, \"b/**\"]\n",
        "images: { web: { base: { image: web }, files: [{ build: server, path: ., to: / }] } }\n",
        "environments:\n",
        "  default:\n",
        "    base: default\n",
        "    install:\n",
        "      - apply: x\n",
        "suites: { e2e: { adapter: go, build: server } }\n",
        "  &a\n",
        "*a",
        "? ",
        ": ",
        "- ",
        "[",
        "]",
        "{",
        "}",
        ", ",
        "\n",
        "  ",
        "\t",
        "\"",
        "'",
        "|\n",
        ">-\n",
        "# c\n",
        "---\n",
        "...\n",
        "!!str ",
        "%YAML 1.2\n",
        "ä",
        "\u{202e}",
        "\u{1f980}",
        "<<: *a\n",
        "1.37",
        "5m",
        "~",
        "\r\n",
        "\\x",
    ])
}

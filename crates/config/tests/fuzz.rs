//! Pipeline files with edits: each is loaded or refused, soon and in few words.

use proptest::prelude::*;
use seatrial_config::{Known, Style, load, render};
use seatrial_core::fuzz::bytes;

const KNOWN: Known<'_> =
    Known { kubernetes: &["1.37"], tools: &["go", "helm", "kubectl"], images: None };
const EXAMPLES: [&str; 2] =
    [include_str!("good/design.yaml"), include_str!("good/everything.yaml")];

proptest! {
    #[test]
    fn fuzz_pipeline_file(bytes in bytes(&EXAMPLES)) {
        if let Err(mistakes) = load(&bytes, "f", &KNOWN) {
            prop_assert!(!mistakes.is_empty());
            for style in [Style::Narrow, Style::Fancy { color: true, width: 80 }] {
                prop_assert!(render(&mistakes, style).len() < 400_000);
            }
            for mistake in mistakes.iter().filter_map(|m| m.place.as_ref()) {
                prop_assert!(mistake.span.end <= bytes.len() && mistake.line >= 1, "{:?}", mistake);
            }
        }
    }
}

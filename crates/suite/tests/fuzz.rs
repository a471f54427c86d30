//! Reports with edits: each is read or refused.

use proptest::prelude::*;
use seatrial_core::fuzz::mutated;
use seatrial_suite::junit;

const JUNIT: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites><testsuite name="s" tests="3"><testcase classname="c" name="a &lt;b&#10;" time="0.5"/>
<testcase name="f"><failure message="m">why <![CDATA[<x>]]></failure><system-out>o</system-out></testcase>
<testcase name="s"><skipped/></testcase></testsuite></testsuites>
"#;

proptest! {
    #[test]
    fn fuzz_junit(edits in prop::collection::vec(any::<(u8, u16, u8)>(), 0..12)) {
        let _ = junit::parse(&mutated(JUNIT.as_bytes(), &edits));
    }
}

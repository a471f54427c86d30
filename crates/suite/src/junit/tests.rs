use super::*;

fn cases(xml: &str) -> String {
    let report = parse(xml.as_bytes()).unwrap();
    report
        .cases
        .iter()
        .map(|c| {
            format!("{} {:?} {:?} {:?} {:?}\n", c.name, c.outcome, c.time, c.message, c.output)
        })
        .collect()
}

fn refused(xml: &str) -> String {
    parse(xml.as_bytes()).unwrap_err().to_string()
}

#[test]
fn what_tools_write() {
    let xml = r#"<?xml version="1.0" encoding="utf-8"?>
        <!-- pytest, Surefire and Gradle, in one -->
        <testsuites><testsuite name="pytest" errors="0" failures="1" tests="2" time="1.5"><properties><property name="a" value="b"/></properties>
        <testcase classname="tests.test_x" name="test_a[1 &lt; 2]" time="0.25"/>
        <testcase classname="tests.test_x" name="test_b" time="1.25"><failure message="assert 1 == 2" type="AssertionError">def test_b():
>   assert 1 == 2 &amp; &#x41;</failure><system-out><![CDATA[out <b>]]></system-out><system-err>err</system-err></testcase>
        <testcase name="skipped"><skipped message="not today"/></testcase>
        <testcase name="error"><error>died</error></testcase>
        <testcase name="again"><flakyFailure message="first">trace</flakyFailure></testcase>
        <testcase name="both"><skipped/><failure/></testcase>
        </testsuite></testsuites>"#;
    insta::assert_snapshot!(cases(xml), @r#"
    tests.test_x.test_a[1 < 2] Passed 250ms None ""
    tests.test_x.test_b Failed 1.25s Some("def test_b():\n>   assert 1 == 2 & A") "out <b>err"
    skipped Skipped 0ns Some("not today") ""
    error Failed 0ns Some("died") ""
    again Flaky 0ns Some("first\ntrace") ""
    both Failed 0ns None ""
    "#);
}

#[test]
fn what_cannot_be_trusted_is_refused() {
    let one = |inner: &str| format!("<testsuite>{inner}</testsuite>");
    let deep = format!("{}{}", "<testsuite>".repeat(65), "</testsuite>".repeat(65));
    let attributes: String = (0..70).map(|n| format!(" a{n}='x'")).collect();
    let said = [
        refused(
            "<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><testsuite><testcase name='&e;'/></testsuite>",
        ),
        refused(&one("<testcase name='&lol9;'/>")),
        refused(&one("<testcase name='a'><failure>&lol9;</failure></testcase>")),
        refused(&one("<testcase name='a' time='-1'/>")),
        refused(&one("<testcase name='a' time='NaN'/>")),
        refused(&one("<testcase name='a' time='1e400'/>")),
        refused(&one("<testcase name='a' time='1,5'/>")),
        refused(&one("")),
        refused(&one("<testcase classname='a'/>")),
        refused(&one(&format!("<testcase name='{}'/>", "x".repeat(4097)))),
        refused(&one(&format!("<testcase name='a'{attributes}/>"))),
        refused(&one("<testcase name='a' name='b'/>")),
        refused(&deep),
        refused("<html><body/></html>"),
        refused("<testsuite><testcase name='a'>"),
        refused("<testsuite><testcase name='a'></testsuite>"),
        refused("not xml"),
        refused(""),
    ];
    insta::assert_snapshot!(said.join("\n"), @r"
    has a document type, at byte 0
    refers to the entity `lol9` at byte 11
    refers to the entity `lol9` at byte 39
    has the time `-1` at byte 11, which is no number of seconds
    has the time `NaN` at byte 11, which is no number of seconds
    has the time `1e400` at byte 11, which is no number of seconds
    has the time `1,5` at byte 11, which is no number of seconds
    has no test cases
    has a test case at byte 11 without a name or with one longer than 4096 bytes
    has a test case at byte 11 without a name or with one longer than 4096 bytes
    is nested more than 64 deep or has more than 64 attributes, at byte 11
    is not XML at byte 11: position 18: duplicated attribute, previous declaration at position 9
    is nested more than 64 deep or has more than 64 attributes, at byte 704
    is not JUnit: its root is `html`
    is not XML at byte 30: it ends inside an element
    is not XML at byte 30: ill-formed document: expected `</testcase>`, but `</testsuite>` was found
    has no test cases
    has no test cases
    ");
    assert_eq!(parse(b"<testsuite \xff/>").unwrap_err().to_string(), "is not UTF-8");
    assert!(matches!(parse(&vec![b' '; SIZE_LIMIT + 1]), Err(JunitError::TooLong)));
    let many = one(&"<testcase name='a'/>".repeat(4));
    assert!(matches!(parse_limited(many.as_bytes(), 3), Err(JunitError::TooMany(3))));
    assert!(parse_limited(many.as_bytes(), 4).is_ok());
}

#[test]
fn long_texts_are_cut() {
    let report = parse(
        format!(
            "<testsuite failures='1'><testcase name='a'><failure>{}</failure><system-out>{}</system-out></testcase></testsuite>",
            "ä".repeat(20_000),
            "o".repeat(20_000),
        )
        .as_bytes(),
    )
    .unwrap();
    assert!(report.declared_failures);
    assert_eq!(report.cases[0].output.len(), TEXT_LIMIT);
    assert_eq!(report.cases[0].message.as_ref().unwrap().len(), TEXT_LIMIT);
}

proptest::proptest! {
    #[test]
    fn never_panics(
        parts in proptest::collection::vec(proptest::sample::select(vec![
            "<testsuite>", "</testsuite>", "<testcase name='a'>", "<testcase name='b'/>", "</testcase>",
            "<failure>", "</failure>", "<skipped/>", "<system-out>", "</system-out>", "&lt;", "&x;", "&#0;",
            "text", "<![CDATA[", "]]>", "<!--", "-->", "<?xml", "?>", "<", ">", "'", "=", "\0",
        ]), 0..30),
    ) {
        let _ = parse(parts.concat().as_bytes());
    }
}

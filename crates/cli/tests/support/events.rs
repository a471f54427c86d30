//! What a run said with `--format json`.

use serde_json::Value;

use crate::support::Ran;

/// What ended a run, and its exit code.
pub(crate) fn failures_of(ran: &Ran) -> String {
    let mut text = String::new();
    for event in events(ran, "verdict-reached") {
        for failure in event["failures"].as_array().expect("a list") {
            let string = |name: &str| failure[name].as_str().unwrap_or_default();
            text.push_str(&format!("{}: {}\n", string("code"), string("message")));
            text.extend(string("detail").lines().map(|line| format!("| {line}\n")));
            let hints = failure["hints"].as_array().map(Vec::as_slice).unwrap_or_default();
            text.extend(hints.iter().map(|hint| format!("hint: {}\n", hint.as_str().unwrap())));
        }
        text.push_str(&format!("{}, ", event["verdict"].as_str().expect("a word")));
    }
    if text.is_empty() {
        text.push_str(&ran.stderr);
    }
    format!("{text}exit code {}\n", ran.code)
}

pub(crate) fn events(ran: &Ran, kind: &str) -> Vec<Value> {
    events_of(ran, &[kind])
}

/// Events of any of these kinds, as they happened.
pub(crate) fn events_of(ran: &Ran, kinds: &[&str]) -> Vec<Value> {
    let is_one = |event: &Value| kinds.iter().any(|kind| event["event"] == *kind);
    ran.stdout.lines().map(parse).filter(is_one).collect()
}

fn parse(line: &str) -> Value {
    serde_json::from_str(line).expect("an event is a line of JSON")
}

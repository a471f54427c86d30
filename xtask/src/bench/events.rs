//! The events of a run, as `--format json` prints them.

use anyhow::Context as _;
use serde_json::Value;

/// The events of one run, in order.
pub(crate) struct Events(Vec<Value>);

/// When a node began and ended, in seconds since the run began.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Span {
    pub(crate) start: f64,
    pub(crate) end: f64,
}

impl Span {
    pub(crate) fn length(self) -> f64 {
        self.end - self.start
    }

    /// How long both went on at once.
    pub(crate) fn overlap(self, other: Self) -> f64 {
        (self.end.min(other.end) - self.start.max(other.start)).max(0.0)
    }
}

impl Events {
    /// Reads lines of JSON.
    pub(crate) fn read(text: &str) -> anyhow::Result<Self> {
        let events = text.lines().filter(|line| !line.trim().is_empty()).map(serde_json::from_str);
        let events = events.collect::<Result<_, _>>().context("a line is no event")?;
        Ok(Self(events))
    }

    /// When the first event of this kind happened, in seconds since the run
    /// began.
    pub(crate) fn first(&self, kind: &str) -> anyhow::Result<f64> {
        let event = self.0.iter().find(|event| event["event"] == kind);
        event.and_then(at).with_context(|| format!("the run has no event `{kind}`"))
    }

    /// Names of the planned nodes whose name begins so.
    pub(crate) fn nodes(&self, prefix: &str) -> Vec<String> {
        let names = self.planned().iter().filter_map(|node| node["name"].as_str());
        names.filter(|name| name.starts_with(prefix)).map(str::to_owned).collect()
    }

    /// When a node began and ended.
    pub(crate) fn span(&self, name: &str) -> anyhow::Result<Span> {
        let missing = || format!("the node `{name}` did not begin and end");
        let start = self.of(name).find(|event| event["event"] == "node-started");
        let end = self.of(name).find(|event| event["event"] == "node-finished");
        Ok(Span {
            start: start.and_then(at).with_context(missing)?,
            end: end.and_then(at).with_context(missing)?,
        })
    }

    /// Core-seconds that a node used.
    pub(crate) fn core_seconds(&self, name: &str) -> f64 {
        let usage = self.of(name).find_map(|event| event["usage"]["core_us"].as_f64());
        usage.unwrap_or(0.0) / 1e6
    }

    /// What a node said about how far it was, and when.
    pub(crate) fn progress(&self, name: &str) -> Vec<(f64, String)> {
        let events = self.of(name).filter(|event| event["event"] == "node-progress");
        events.filter_map(|event| Some((at(event)?, event["text"].as_str()?.to_owned()))).collect()
    }

    fn planned(&self) -> &[Value] {
        let planned = self.0.iter().find(|event| event["event"] == "planned");
        planned.and_then(|event| event["nodes"].as_array()).map_or(&[], Vec::as_slice)
    }

    fn of(&self, name: &str) -> impl Iterator<Item = &Value> {
        let place = self.planned().iter().position(|node| node["name"] == name);
        self.0.iter().filter(move |event| {
            place.is_some_and(|place| event["node"].as_u64() == Some(place as u64))
        })
    }
}

fn at(event: &Value) -> Option<f64> {
    Some(event["at_us"].as_f64()? / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_progress_and_use_are_read() {
        let events = Events::read(
            r#"{"at_us":10,"event":"planned","nodes":[{"name":"build/a"},{"name":"default/boot"}]}
{"at_us":1000000,"event":"node-started","node":1}
{"at_us":1500000,"event":"node-progress","node":1,"text":"served"}
{"at_us":3000000,"event":"node-finished","node":1,"usage":{"core_us":2500000}}
"#,
        );
        let events = events.expect("lines of JSON");
        assert_eq!(events.first("planned").expect("there"), 1e-5);
        assert_eq!(events.nodes("build/"), ["build/a"]);
        let span = events.span("default/boot").expect("it ran");
        assert_eq!(span, Span { start: 1.0, end: 3.0 });
        assert_eq!(span.overlap(Span { start: 2.5, end: 9.0 }), 0.5);
        assert_eq!(events.progress("default/boot"), [(1.5, "served".to_owned())]);
        assert_eq!(events.core_seconds("default/boot"), 2.5);
        assert!(events.span("build/a").is_err());
    }
}

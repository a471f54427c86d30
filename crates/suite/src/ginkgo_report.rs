//! The JSON report of Ginkgo 2 (`--ginkgo.json-report`), as far as it matters
//! here. Fields are those of `types.Report` and `types.SpecReport` in
//! github.com/onsi/ginkgo/v2; others are ignored.

use seatrial_core::failure::Failure;
use seatrial_protocol::test::TestOutcome;
use serde::Deserialize;

use crate::REPORT_LIMIT;

/// One suite's report. A test program has exactly one.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct GinkgoReport {
    #[serde(rename = "SuiteDescription", default)]
    pub(crate) description: String,
    #[serde(rename = "SuiteSucceeded", default)]
    pub(crate) succeeded: bool,
    #[serde(rename = "SuiteHasProgrammaticFocus", default)]
    pub(crate) focused: bool,
    #[serde(rename = "SpecialSuiteFailureReasons", default, deserialize_with = "nullable")]
    pub(crate) reasons: Vec<String>,
    #[serde(rename = "SpecReports", default, deserialize_with = "nullable")]
    pub(crate) specs: Vec<SpecReport>,
}

/// One spec, or a node such as `BeforeSuite`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct SpecReport {
    #[serde(deserialize_with = "nullable")]
    container_hierarchy_texts: Vec<String>,
    pub(crate) leaf_node_type: String,
    leaf_node_text: String,
    pub(crate) state: String,
    /// Nanoseconds.
    run_time: u64,
    num_attempts: u32,
    max_flake_attempts: u32,
    failure: GinkgoFailure,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct GinkgoFailure {
    message: String,
    forwarded_panic: String,
    location: Location,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Location {
    file_name: String,
    line_number: u64,
}

impl GinkgoReport {
    /// Reads the report of `program`.
    pub(crate) fn parse(program: &str, bytes: &[u8]) -> Result<Self, Failure> {
        let refuse = |why: String| {
            Failure::product("report.bad_json", format!("the Ginkgo report of `{program}` {why}"))
        };
        if bytes.len() > REPORT_LIMIT {
            return Err(refuse(format!("is longer than {REPORT_LIMIT} bytes")));
        }
        let reports: Vec<Self> = serde_json::from_slice(bytes)
            .map_err(|error| refuse(format!("cannot be read: {error}")))?;
        match <[Self; 1]>::try_from(reports) {
            Ok([report]) => Ok(report),
            Err(reports) => Err(refuse(format!("holds {} suites instead of one", reports.len()))),
        }
    }
}

impl SpecReport {
    /// Whether it is a test, not a node such as `BeforeSuite`.
    pub(crate) fn is_test(&self) -> bool {
        self.leaf_node_type == "It"
    }

    /// The text that Ginkgo's filters match, without the suite's description.
    pub(crate) fn name(&self) -> String {
        let mut texts: Vec<&str> =
            self.container_hierarchy_texts.iter().map(String::as_str).collect();
        texts.push(&self.leaf_node_text);
        texts.retain(|text| !text.is_empty());
        texts.join(" ")
    }

    /// How it ended; `None`: it did not run at all, and could.
    pub(crate) fn outcome(&self) -> Option<TestOutcome> {
        match self.state.as_str() {
            "passed" if self.max_flake_attempts > 1 && self.num_attempts > 1 => {
                Some(TestOutcome::Flaky)
            }
            "passed" => Some(TestOutcome::Passed),
            "timedout" => Some(TestOutcome::TimedOut),
            "pending" => None,
            // Ginkgo calls specs skipped that it never came to; only those
            // that called Skip say why.
            "skipped" if self.failure.message.is_empty() => None,
            // The texts are those of `internal/group.go`. Such a spec cannot
            // be run again without those before it.
            "skipped"
                if self.failure.message.starts_with("Spec skipped because an earlier spec")
                    || self.failure.message.starts_with("Spec skipped because a BeforeAll") =>
            {
                Some(TestOutcome::NotRun)
            }
            "skipped" => Some(TestOutcome::Skipped),
            _ => Some(TestOutcome::Failed),
        }
    }

    /// Whether it is a failure in Ginkgo's own eyes.
    pub(crate) fn failed(&self) -> bool {
        matches!(self.outcome(), Some(TestOutcome::Failed | TestOutcome::TimedOut))
    }

    /// How long it took, in microseconds.
    pub(crate) fn duration_us(&self) -> u64 {
        self.run_time / 1000
    }

    /// Why it failed or was skipped, and where.
    pub(crate) fn message(&self) -> Option<String> {
        let failure = &self.failure;
        let mut message = failure.message.clone();
        if !failure.forwarded_panic.is_empty() {
            message = format!("{message} {}", failure.forwarded_panic);
        }
        if message.is_empty() {
            return None;
        }
        if !failure.location.file_name.is_empty() {
            let at = &failure.location;
            message = format!("{message}\nat {}:{}", at.file_name, at.line_number);
        }
        Some(message)
    }
}

/// Go writes an empty slice as `null`.
fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

//! The rows of the step table.

use serde::{Deserialize, Serialize};

/// What kind of work an instant of a run was spent on: one row of the table
/// that every run prints. The rows are those of the published trace that
/// Seatrial compares itself with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Reading the project's files.
    Source,
    /// Getting images that the project did not build.
    ImagePull,
    /// Getting a cluster.
    ClusterSetup,
    /// Building the product and its images.
    ImageBuild,
    /// Building the tests.
    TestCompile,
    /// Putting the product into the cluster until it is ready.
    TestSetup,
    /// Running tests.
    TestExecution,
    /// Evidence, reports, dropping environments.
    PostTest,
}

impl Step {
    /// All steps, in the order of the table.
    pub const ALL: [Self; 8] = [
        Self::Source,
        Self::ImagePull,
        Self::ClusterSetup,
        Self::ImageBuild,
        Self::TestCompile,
        Self::TestSetup,
        Self::TestExecution,
        Self::PostTest,
    ];

    /// The row's name.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::ImagePull => "image pull",
            Self::ClusterSetup => "cluster setup",
            Self::ImageBuild => "image build",
            Self::TestCompile => "test compile",
            Self::TestSetup => "test setup",
            Self::TestExecution => "test execution",
            Self::PostTest => "post test",
        }
    }
}

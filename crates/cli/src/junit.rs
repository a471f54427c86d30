//! The file of a JUnit XML report: made before the run, so that a path that
//! cannot be written is told before minutes are spent.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use seatrial_core::failure::Failure;
use seatrial_report::Summary;

/// A report that is to be written. Dropped without it, it leaves no file: an
/// empty report, or that of an earlier run, would be read as this one's.
pub(crate) struct JunitFile {
    path: PathBuf,
    file: File,
    written: bool,
}

impl JunitFile {
    /// Makes the file, or empties the one that is there.
    pub(crate) fn create(path: &Path) -> Result<Self, Failure> {
        let file = File::create(path).map_err(|error| unwritable(path, &error))?;
        Ok(Self { path: path.to_owned(), file, written: false })
    }

    /// Writes the report of a run.
    pub(crate) fn write(mut self, summary: &Summary) -> Result<(), Failure> {
        seatrial_report::junit(summary, &mut self.file)
            .map_err(|error| Failure::environment("report.junit", Failure::chain(&error)))?;
        self.written = true;
        Ok(())
    }
}

impl Drop for JunitFile {
    fn drop(&mut self) {
        // Only a file of ours: the path may name a pipe or a device.
        if !self.written && self.file.metadata().is_ok_and(|it| it.is_file()) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    let message = format!("cannot write the JUnit report {}: {error}", path.display());
    Failure::config("cli.junit", message).hint("name a file in a directory that exists")
}

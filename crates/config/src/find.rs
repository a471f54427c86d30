//! Where the pipeline file is. The only part of this crate that looks at the
//! file system.

use std::path::{Path, PathBuf};

use crate::diagnostic::{Code, Diagnostic};

/// The name of the pipeline file.
pub const FILE_NAME: &str = "seatrial.yaml";

/// Names that look like it and are not read.
const LOOKALIKES: &[&str] = &[
    "seatrial.yml",
    ".seatrial.yaml",
    ".seatrial.yml",
    "Seatrial.yaml",
    ".seatrial/seatrial.yaml",
];

/// The pipeline file of a project's directory.
///
/// # Errors
/// When there is none, with a hint where a file with a similar name, or the
/// file of a directory above, is.
pub fn find(dir: &Path) -> Result<PathBuf, Diagnostic> {
    let path = dir.join(FILE_NAME);
    if path.is_file() {
        return Ok(path);
    }
    let message = format!("there is no {FILE_NAME} in {}", dir.display());
    let missing = Diagnostic::new(Code::NotFound, message);
    if path.is_dir() {
        return Err(missing.hint(format!("{FILE_NAME} is a directory there; it must be a file")));
    }
    if let Some(name) = LOOKALIKES.iter().find(|name| dir.join(name).is_file()) {
        return Err(missing.hint(format!("`{name}` is there: rename it to `{FILE_NAME}`")));
    }
    let above = std::path::absolute(dir).ok();
    let above = above.as_deref().into_iter().flat_map(|dir| dir.ancestors().skip(1));
    match above.into_iter().find(|dir| dir.join(FILE_NAME).is_file()) {
        Some(parent) => {
            Err(missing.hint(format!("there is one above: use `-C {}`", parent.display())))
        }
        None => Err(missing.hint("`seatrial init` writes one to start from")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_or_where_it_may_be() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let root = dir.path();
        let inner = root.join("a/b");
        std::fs::create_dir_all(&inner).expect("a directory");
        let write = |path: &str| std::fs::write(root.join(path), "seatrial: 1\n").expect("a file");
        let hint = || {
            find(&inner)
                .expect_err("no file")
                .hints
                .join("")
                .replace(&*root.to_string_lossy(), "DIR")
        };
        // The directory of the test may itself lie below a pipeline.
        write("seatrial.yaml");
        assert_eq!(hint(), "there is one above: use `-C DIR`");
        write("a/b/.seatrial.yaml");
        assert_eq!(hint(), "`.seatrial.yaml` is there: rename it to `seatrial.yaml`");
        write("a/b/seatrial.yml");
        assert_eq!(hint(), "`seatrial.yml` is there: rename it to `seatrial.yaml`");
        std::fs::create_dir(inner.join(FILE_NAME)).expect("a directory");
        assert_eq!(hint(), "seatrial.yaml is a directory there; it must be a file");
        assert_eq!(find(root).expect("a file"), root.join(FILE_NAME));
    }
}

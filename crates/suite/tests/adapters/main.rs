//! The adapters against real test programs, built here from `tests/fixtures`
//! with `go` and `rustc`, and against pytest.

mod ginkgo;
mod go;
mod pytest;
mod rust;
mod support;

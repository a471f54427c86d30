//! The adapters against real test programs, built here from `tests/fixtures`
//! with `go` and `rustc`; they need nothing else.

mod ginkgo;
mod go;
mod rust;
mod support;

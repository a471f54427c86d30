//! The adapters against real test programs, built here from `tests/fixtures`
//! with `go`; they need nothing else.

mod ginkgo;
mod go;
mod support;

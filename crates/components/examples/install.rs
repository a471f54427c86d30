//! `cargo run -p seatrial-components --example install -- CACHE-DIR [--from auto|release|go|DIR]`
//! installs the embedded lock and prints what happens.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to a terminal")]

use std::path::PathBuf;
use std::process::ExitCode;

use seatrial_components::{Components, From, Progress, Step};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (dir, from) = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [dir] => (dir, From::Auto),
        [dir, "--from", "auto"] => (dir, From::Auto),
        [dir, "--from", "release"] => (dir, From::Release),
        [dir, "--from", "go"] => (dir, From::Go),
        [dir, "--from", from] => (dir, From::Dir(PathBuf::from(from))),
        _ => {
            eprintln!("usage: install CACHE-DIR [--from auto|release|go|DIR]");
            return ExitCode::from(2);
        }
    };
    let mut last = String::new();
    let mut report = |progress: Progress| {
        let building =
            matches!(progress.step, Step::Building { elapsed, .. } if elapsed.as_secs() % 10 != 0);
        let line = progress.to_string();
        if !building && line != last {
            println!("{line}");
            last = line;
        }
    };
    match Components::locked().install(dir.as_ref(), &from, &mut report) {
        Ok(installed) => {
            println!("{}", installed.bin.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            let failure = error.failure();
            eprintln!("error: {}\n{}", failure.message, failure.detail);
            for hint in &failure.hints {
                eprintln!("hint: {hint}");
            }
            ExitCode::FAILURE
        }
    }
}

//! `cargo xtask generate`: files of the repository that the code writes.
//!
//! The schema and the tables of `docs/format.md` are written by a test of the
//! crate that reads the format; the help texts are asked of the command.

mod help;

use std::fs;

use anyhow::Context as _;

use crate::repository::{build, cargo, root, seatrial, succeed};

/// Arguments of `cargo xtask generate`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write nothing; fail where a file is not what the code says
    #[arg(long)]
    check: bool,
}

/// Writes the files, or checks them.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    build()?;
    if args.check {
        return check();
    }
    succeed(format_test().env("UPDATE", "1"))?;
    for (name, text) in by_command()? {
        let path = root().join(name);
        if fs::read_to_string(&path).is_ok_and(|committed| committed == text) {
            continue;
        }
        fs::write(&path, text).with_context(|| name.to_owned())?;
        println!("wrote {name}");
    }
    Ok(())
}

/// Fails where a file is not what the `seatrial` that is built says. The tables
/// of `docs/format.md` are checked by `cargo test`.
pub(crate) fn check() -> anyhow::Result<()> {
    for (name, text) in by_command()? {
        let committed = fs::read_to_string(root().join(name)).unwrap_or_default();
        let line = committed.lines().zip(text.lines()).position(|(old, new)| old != new);
        anyhow::ensure!(
            committed == text,
            "{name} is not current, from line {}: `cargo xtask generate` writes it",
            line.unwrap_or_else(|| committed.lines().count().min(text.lines().count())) + 1,
        );
    }
    Ok(())
}

/// What the command itself tells: files and their text.
fn by_command() -> anyhow::Result<Vec<(&'static str, String)>> {
    let schema = seatrial(&["schema"]).output().context("`seatrial schema`")?;
    anyhow::ensure!(schema.status.success(), "`seatrial schema` ended with {}", schema.status);
    Ok(vec![
        ("docs/seatrial.schema.json", String::from_utf8(schema.stdout)?),
        ("docs/cli.md", help::page(&mut help::ask)?),
    ])
}

fn format_test() -> std::process::Command {
    cargo(&["test", "--quiet", "--package", "seatrial-config", "--test", "format"])
}

//! The help texts of a command and all its subcommands, as one page.

use std::fmt::Write as _;

use anyhow::Context as _;

use crate::repository::seatrial;

/// Asks for the help of the subcommand that the words name.
pub(crate) fn ask(words: &[String]) -> anyhow::Result<String> {
    let mut command = seatrial(&[]);
    // A value that a variable gives would be shown; neither is there a terminal
    // whose width counts.
    for name in ["SEATRIAL_STATE_DIR", "SEATRIAL_CACHE_DIR", "COLUMNS"] {
        command.env_remove(name);
    }
    let output = command.args(words).arg("--help").output().context("seatrial does not start")?;
    anyhow::ensure!(output.status.success(), "the help of {words:?} ended with {}", output.status);
    String::from_utf8(output.stdout).context("the help is not UTF-8")
}

/// The page. `ask` gives the help of a subcommand, of the whole for no words.
pub(crate) fn page(
    ask: &mut dyn FnMut(&[String]) -> anyhow::Result<String>,
) -> anyhow::Result<String> {
    let mut page = "# The command line\n\n\
        <!-- Written by `cargo xtask generate` from `seatrial --help`. -->\n"
        .to_owned();
    add(&mut page, &[], ask)?;
    Ok(page)
}

fn add(
    page: &mut String,
    words: &[String],
    ask: &mut dyn FnMut(&[String]) -> anyhow::Result<String>,
) -> anyhow::Result<()> {
    let help = ask(words)?;
    let name = ["seatrial"].into_iter().chain(words.iter().map(String::as_str));
    let name = name.collect::<Vec<_>>().join(" ");
    let lines: Vec<_> = help.trim_end().lines().map(str::trim_end).collect();
    write!(page, "\n## {name}\n\n```text\n{}\n```\n", lines.join("\n"))?;
    for subcommand in subcommands(&help) {
        let words: Vec<_> = words.iter().cloned().chain([subcommand.to_owned()]).collect();
        add(page, &words, ask)?;
    }
    Ok(())
}

/// The names below `Commands:`, but for `help`, which helps with the others.
fn subcommands(help: &str) -> Vec<&str> {
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let lines = lines.take_while(|line| !line.is_empty());
    // What is indented more goes on with the line before.
    let names = lines.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    names.filter(|name| !name.is_empty() && *name != "help").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_every_subcommand_in_order() {
        let mut ask = |words: &[String]| {
            Ok(match words.join(" ").as_str() {
                "" => "Whole.\n\nCommands:\n  run   Run it,\n        all of it\n  env   By hand\n  help  Print\n\nOptions:\n",
                "env" => "Env.\n\nCommands:\n  up  Bring up\n",
                "run" => "Run.\n",
                "env up" => "Up.\n",
                other => anyhow::bail!("nobody said {other}"),
            }
            .to_owned())
        };
        let page = page(&mut ask).unwrap();
        let titles: Vec<_> = page.lines().filter(|line| line.starts_with("## ")).collect();
        assert_eq!(
            titles,
            ["## seatrial", "## seatrial run", "## seatrial env", "## seatrial env up"]
        );
        assert!(page.ends_with("\n## seatrial env up\n\n```text\nUp.\n```\n"), "{page}");
    }
}

//! Steps that people watch: each is named before it starts and timed.

use std::time::{Duration, Instant};

/// What was done so far.
pub(crate) struct Steps {
    /// Only steps with this in their name are done.
    only: String,
    began: Instant,
    done: Vec<(String, Duration)>,
}

impl Steps {
    /// Nothing is done yet. Steps without `only` in their name will be left
    /// out.
    pub(crate) fn new(only: &str) -> Self {
        Self { only: only.to_owned(), began: Instant::now(), done: Vec::new() }
    }

    /// Does one step. An error names it.
    pub(crate) fn step(
        &mut self,
        name: &str,
        work: impl FnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        if !name.contains(&self.only) {
            return Ok(());
        }
        println!("\n==> {name}");
        let began = Instant::now();
        let result = work();
        let took = began.elapsed();
        self.done.push((name.to_owned(), took));
        match &result {
            Ok(_) => println!("    {name}: {}", shown(took)),
            Err(_) => println!("RED {name}: after {}", shown(took)),
        }
        result.map_err(|error| error.context(name.to_owned()))
    }

    /// Prints how long each step took.
    pub(crate) fn summarize(&self) {
        println!();
        for (name, took) in &self.done {
            println!("{:>10}  {name}", shown(*took));
        }
        println!("{:>10}  in all", shown(self.began.elapsed()));
    }
}

/// `3.2 s`, or `12 m 05 s` for what is longer than a minute.
fn shown(time: Duration) -> String {
    match time.as_secs() {
        0..60 => format!("{:.1} s", time.as_secs_f64()),
        seconds => format!("{} m {:02} s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_step_is_named_by_its_error() {
        let mut steps = Steps::new("");
        let failed = steps.step("mend it", || anyhow::bail!("no"));
        assert_eq!(format!("{:#}", failed.unwrap_err()), "mend it: no");
        steps.step("count", || Ok(())).unwrap();
        assert_eq!(steps.done.len(), 2);
    }

    #[test]
    fn steps_that_were_not_asked_for_are_left_out() {
        let mut steps = Steps::new("tests");
        steps.step("build", || anyhow::bail!("was done")).unwrap();
        let mut done = false;
        steps
            .step("all tests", || {
                done = true;
                Ok(())
            })
            .unwrap();
        assert!(done);
    }

    #[test]
    fn times_are_short() {
        assert_eq!(shown(Duration::from_millis(3_240)), "3.2 s");
        assert_eq!(shown(Duration::from_millis(59_900)), "59.9 s");
        assert_eq!(shown(Duration::from_secs(725)), "12 m 05 s");
    }
}

//! Gets Kubernetes and friends, showing how far it is.

use std::io::IsTerminal as _;
use std::path::Path;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use seatrial_components::{Components, From, Installed, Progress, Step};

use crate::error::CommandError;
use crate::ui;

/// Returns the components, installing them first when they are missing.
pub(crate) fn ensure(cache: &Path) -> Result<Installed, CommandError> {
    let components = Components::locked();
    if let Some(installed) = components.locate(cache).installed {
        return Ok(installed);
    }
    ui::note("Kubernetes is not installed yet: installing it once, into");
    ui::note(&format!("  {}", cache.display()));
    install(cache, &From::Auto)
}

/// Installs the components.
pub(crate) fn install(cache: &Path, from: &From) -> Result<Installed, CommandError> {
    let components = Components::locked();
    let mut shown = Shown::new();
    let installed = components
        .install(cache, from, &mut |progress| shown.take(&progress))
        .map_err(|error| CommandError::Failure(error.failure()))?;
    shown.clear();
    Ok(installed)
}

/// Progress as a line that is drawn over on a terminal, as lines elsewhere.
struct Shown {
    bar: Option<ProgressBar>,
    /// Of lines, one a component every now and then.
    last: Option<(String, std::time::Instant)>,
}

/// How often a component that is being built says so where lines stay.
const PLAIN: Duration = Duration::from_secs(30);

impl Shown {
    fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{spinner} {wide_msg}");
            let style = style.unwrap_or_else(|_| ProgressStyle::default_spinner());
            let bar = ProgressBar::new_spinner().with_style(style);
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Self { bar, last: None }
    }

    fn take(&mut self, progress: &Progress) {
        let passing = matches!(
            progress.step,
            Step::Downloading { .. } | Step::Fetching { .. } | Step::Building { .. }
        );
        let text = progress.to_string();
        match &self.bar {
            Some(bar) if passing => bar.set_message(text),
            Some(bar) => bar.suspend(|| ui::note(&text)),
            None => {
                let now = std::time::Instant::now();
                let recent = self.last.as_ref().is_some_and(|(component, at)| {
                    *component == progress.component && now.duration_since(*at) < PLAIN
                });
                if !passing || !recent {
                    ui::note(&text);
                    self.last = Some((progress.component.clone(), now));
                }
            }
        }
    }

    fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

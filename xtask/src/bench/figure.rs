//! Figures: what was measured, and how it is shown.

use serde::Serialize;

/// One thing that was measured several times.
#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    /// The benchmark that measured it.
    benchmark: &'static str,
    /// What it is.
    what: String,
    /// Seconds, core-seconds: what the samples count.
    unit: Unit,
    /// What it may be at most; `None`: it only explains another.
    budget: Option<f64>,
    median: f64,
    worst: f64,
    samples: Vec<f64>,
    /// Load of the machine (1 minute) before and after.
    load: (f64, f64),
}

/// What samples count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Unit {
    Seconds,
    /// Seconds, shown as milliseconds.
    Millis,
    CoreSeconds,
}

impl Figure {
    /// A figure of at least one sample, in seconds or core-seconds.
    pub(crate) fn new(what: impl Into<String>, unit: Unit, samples: Vec<f64>) -> Self {
        let mut sorted = samples.clone();
        sorted.sort_by(f64::total_cmp);
        let median = match sorted.len() {
            0 => f64::NAN,
            n if n % 2 == 1 => sorted[n / 2],
            n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
        };
        let worst = sorted.last().copied().unwrap_or(f64::NAN);
        let (what, load) = (what.into(), (0.0, 0.0));
        Self { benchmark: "", what, unit, budget: None, median, worst, samples, load }
    }

    /// The same with a budget, in seconds.
    pub(crate) fn within(self, budget: f64) -> Self {
        Self { budget: Some(budget), ..self }
    }

    pub(crate) fn measured_by(self, benchmark: &'static str, load: (f64, f64)) -> Self {
        Self { benchmark, load, ..self }
    }

    pub(crate) fn median(&self) -> f64 {
        self.median
    }

    fn row(&self) -> [String; 7] {
        let show = |value: f64| match self.unit {
            Unit::Seconds => format!("{value:.3} s"),
            Unit::Millis => format!("{:.2} ms", value * 1e3),
            Unit::CoreSeconds => format!("{value:.2} core-s"),
        };
        let kept = match self.budget {
            Some(budget) if self.median <= budget => "kept",
            Some(_) => "missed",
            None => "",
        };
        [
            self.benchmark.to_owned(),
            self.what.clone(),
            show(self.median),
            show(self.worst),
            self.budget.map(show).unwrap_or_default(),
            kept.to_owned(),
            format!("{:.1}-{:.1}", self.load.0, self.load.1),
        ]
    }
}

/// All figures, as a table.
pub(crate) fn table(figures: &[Figure]) -> String {
    let head = ["benchmark", "what", "median", "worst", "budget", "", "load"].map(str::to_owned);
    let rows: Vec<_> = std::iter::once(head).chain(figures.iter().map(Figure::row)).collect();
    let mut widths = [0; 7];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.len().max(*width);
        }
    }
    let line = |row: &[String; 7]| {
        let cells =
            row.iter().zip(widths).enumerate().map(|(column, (cell, width))| match column {
                0 | 1 | 5 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_and_worst_are_shown_beside_the_budget() {
        let odd = Figure::new("odd", Unit::Seconds, vec![3.0, 1.0, 2.0]).within(2.5);
        let even = Figure::new("even", Unit::Millis, vec![0.004, 0.001]).within(0.001);
        let rows = [odd, even].map(|figure| figure.measured_by("b", (0.5, 1.0)).row().join(" "));
        assert_eq!(
            rows,
            [
                "b odd 2.000 s 3.000 s 2.500 s kept 0.5-1.0",
                "b even 2.50 ms 4.00 ms 1.00 ms missed 0.5-1.0",
            ]
        );
    }
}

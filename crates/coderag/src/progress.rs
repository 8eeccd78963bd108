use std::sync::Arc;
use std::time::Duration;

use coderag_core::{Progress, ProgressTask, Unit};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

/// Draws progress bars on standard error when it is a terminal, one below the other.
#[derive(Debug)]
pub(crate) struct ProgressBars(MultiProgress);

impl ProgressBars {
    /// Bars that are drawn, or none.
    pub(crate) fn new(hidden: bool) -> Self {
        // indicatif itself stays silent where standard error is not a terminal.
        let target =
            if hidden { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        Self(MultiProgress::with_draw_target(target))
    }
}

impl Progress for ProgressBars {
    fn task(&self, label: &str, total: Option<u64>, unit: Unit) -> Box<dyn ProgressTask> {
        let counts = match (total, unit) {
            (Some(_), Unit::Bytes) => {
                "{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta_precise} left {msg}"
            }
            (Some(_), Unit::Items) => {
                "{bar:30} {human_pos}/{human_len} {rate} {eta_precise} left {msg}"
            }
            (None, Unit::Bytes) => "{spinner} {bytes} {bytes_per_sec}",
            (None, Unit::Items) => "{spinner} {human_pos} {rate} {elapsed_precise}",
        };
        let style = ProgressStyle::with_template(&format!("{{prefix}} {counts}"))
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .with_key("rate", rate);
        let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
        let bar = self.0.add(bar.with_style(style));
        bar.set_prefix(label.to_owned());
        bar.enable_steady_tick(Duration::from_millis(200));
        Box::new(Bar(bar))
    }
}

/// `{per_sec}` with fewer decimals.
fn rate(state: &ProgressState, writer: &mut dyn std::fmt::Write) {
    // The bar's buffer takes everything.
    let _ = write!(writer, "{:.1}/s", state.per_sec());
}

struct Bar(ProgressBar);

impl ProgressTask for Bar {
    fn advance(&self, amount: u64) {
        self.0.inc(amount);
    }

    fn describe(&self, text: &str) {
        self.0.set_message(text.to_owned());
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// A task of which what is begun within it is a part.
pub(crate) struct Shared(Arc<dyn ProgressTask>);

impl Shared {
    pub(crate) fn new(task: Box<dyn ProgressTask>) -> Self {
        Self(task.into())
    }
}

impl Progress for Shared {
    fn task(&self, _label: &str, _total: Option<u64>, _unit: Unit) -> Box<dyn ProgressTask> {
        Box::new(Self(self.0.clone()))
    }
}

impl ProgressTask for Shared {
    fn advance(&self, amount: u64) {
        self.0.advance(amount);
    }

    fn describe(&self, text: &str) {
        self.0.describe(text);
    }
}

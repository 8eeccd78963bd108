use serde::Serialize;

use super::{Manifest, TaskCounts};
use crate::config::{Category, PartKind, SeedKind, SynthConfig, TaskConfig};
use crate::row::Gate;

/// How many candidates came to a gate and how many it turned away.
///
/// What costs a request comes late, so the gates are one after the other; of several parts of an answer each is
/// led through [`Gate::Language`] or [`Gate::Syntax`] in turn, and the first that fails decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct GateCounts {
    /// The gate.
    pub gate: Gate,
    /// Whether the candidates meet it at all.
    pub is_met: bool,
    /// Those that came to it; 0 where they do not meet it.
    pub reached: u64,
    /// Those that it turned away.
    pub rejected: u64,
}

impl Manifest {
    /// What each gate did to the candidates of all tasks, in the order of the gates. Candidates of tasks that do
    /// not meet a gate do not count as having reached it.
    pub fn funnel(&self) -> Vec<GateCounts> {
        let mut all =
            Gate::ALL.map(|gate| GateCounts { gate, is_met: false, reached: 0, rejected: 0 });
        for task in &self.tasks {
            for (sum, counts) in all.iter_mut().zip(self.funnel_of(task)) {
                sum.is_met |= counts.is_met;
                sum.reached += counts.reached;
                sum.rejected += counts.rejected;
            }
        }
        all.to_vec()
    }

    /// What each gate did to the candidates of a task, in the order of the gates.
    pub fn funnel_of(&self, task: &TaskCounts) -> Vec<GateCounts> {
        let config = self.run.config.tasks.iter().find(|config| config.name == task.name);
        let mut left = task.candidates.saturating_sub(task.failed);
        let count = |gate: Gate| {
            let rejected = task.rejected.get(&gate).copied().unwrap_or_default();
            let is_met =
                rejected > 0 || config.is_some_and(|task| meets(&self.run.config, task, gate));
            let reached = if is_met { left } else { 0 };
            left = left.saturating_sub(rejected);
            GateCounts { gate, is_met, reached, rejected }
        };
        Gate::ALL.into_iter().map(count).collect()
    }
}

/// Whether the candidates of a task meet a gate.
fn meets(config: &SynthConfig, task: &TaskConfig, gate: Gate) -> bool {
    let gates = &config.gates;
    let has = |kinds: &[PartKind]| task.answer.values().any(|kind| kinds.contains(kind));
    let runs = gates.execution.enabled && task.seed == SeedKind::Schema && has(&[PartKind::Sql]);
    match gate {
        Gate::Length => gates.length.enabled,
        Gate::Answer | Gate::ExactDuplicate | Gate::NearDuplicate => true,
        Gate::Language => gates.language && has(&[PartKind::Text]),
        Gate::Syntax => gates.syntax && has(&[PartKind::Code, PartKind::Sql]),
        Gate::Unchanged => gates.unchanged && task.seed == SeedKind::Code && has(&[PartKind::Code]),
        Gate::Execution => runs,
        Gate::Contamination => !gates.contamination.sets.is_empty(),
        Gate::Consistency => {
            runs && gates.consistency.enabled && task.category == Category::TextToSql
        }
        Gate::Label => {
            gates.label.enabled
                && (gates.label.tasks.is_empty() || gates.label.tasks.contains(&task.name))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::SmallRun;

    #[test]
    fn what_comes_in_goes_out() {
        let manifest = SmallRun::new().manifest;
        for task in &manifest.tasks {
            let funnel = manifest.funnel_of(task);
            assert!(funnel.iter().map(|counts| counts.gate).eq(Gate::ALL));
            assert_eq!(funnel[0].reached, task.candidates - task.failed);
            let last = funnel.last().unwrap();
            assert_eq!(last.reached - last.rejected, task.accepted);
            let met: Vec<_> = funnel.iter().filter(|counts| counts.is_met).collect();
            for pair in met.windows(2) {
                assert_eq!(pair[0].reached - pair[0].rejected, pair[1].reached);
            }
        }
        let rejected: u64 = manifest.funnel().iter().map(|counts| counts.rejected).sum();
        assert_eq!(rejected, manifest.rejected().values().sum::<u64>());
    }

    #[test]
    fn gates_that_a_task_does_not_meet_are_told() {
        let manifest = SmallRun::new().manifest;
        let of = |name: &str| {
            let task = manifest.tasks.iter().find(|task| task.name == name).unwrap();
            let funnel = manifest.funnel_of(task).into_iter();
            funnel.filter(|counts| !counts.is_met).map(|counts| counts.gate).collect::<Vec<_>>()
        };
        assert_eq!(
            of("code_to_summary"),
            [
                Gate::Syntax,
                Gate::Unchanged,
                Gate::Contamination,
                Gate::Execution,
                Gate::Consistency
            ]
        );
        assert_eq!(of("text_to_sql"), [Gate::Unchanged, Gate::Contamination]);
    }
}

use std::collections::VecDeque;

use crate::record::StepRecord;

/// How fast the last steps were, in words for the progress bar.
#[derive(Debug, Default)]
pub(super) struct Throughput {
    /// Pairs, tokens and seconds of each.
    last: VecDeque<(u64, u64, f64)>,
}

impl Throughput {
    const STEPS: usize = 20;

    pub(super) fn add(&mut self, step: &StepRecord) {
        if self.last.len() == Self::STEPS {
            self.last.pop_front();
        }
        self.last.push_back((step.pairs, step.tokens, step.seconds));
    }

    /// `loss 0.4321, 22.5 pairs/s, 2880 tokens/s`.
    pub(super) fn describe(&self, loss: f64) -> String {
        let seconds = self.last.iter().map(|(_, _, seconds)| seconds).sum::<f64>().max(1e-9);
        let pairs = self.last.iter().map(|(pairs, ..)| *pairs).sum::<u64>() as f64 / seconds;
        let tokens = self.last.iter().map(|(_, tokens, _)| *tokens).sum::<u64>() as f64 / seconds;
        format!("loss {loss:.4}, {pairs:.1} pairs/s, {tokens:.0} tokens/s")
    }
}

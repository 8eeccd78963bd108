use std::cell::Cell;
use std::time::Instant;

use super::kernels::Kernels;
use super::profile::{Profile, Stage};
use super::team::Member;

/// The rows that go through a block's feed-forward network together when a thread works alone: few enough
/// for the second-level cache, many enough that reading the weights costs little.
pub(super) const MOST_ROWS: usize = 112;

/// A thread on its way through the forward pass.
pub(super) struct Worker<'a> {
    pub(super) kernels: &'a Kernels,
    pub(super) member: Member<'a>,
    profile: &'a Profile,
    /// When the current stage began.
    start: Cell<Instant>,
}

impl<'a> Worker<'a> {
    pub(super) fn new(kernels: &'a Kernels, member: Member<'a>, profile: &'a Profile) -> Self {
        Self { kernels, member, profile, start: Cell::new(Instant::now()) }
    }

    /// Whether the thread has the pass to itself.
    pub(super) fn is_alone(&self) -> bool {
        self.member.count == 1
    }

    /// Runs `task` for every number below `count`, divided among the team, and waits for all of them.
    pub(super) fn for_each(&self, stage: Stage, count: usize, task: impl Fn(usize)) {
        self.member.for_each(count, task);
        self.lap(stage);
    }

    /// Books the time since the last call on a stage.
    pub(super) fn lap(&self, stage: Stage) {
        if self.member.index == 0 {
            let mut start = self.start.get();
            self.profile.lap(stage, &mut start);
            self.start.set(start);
        }
    }
}

//! In which order candidates are made and counted.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// The tasks take turns: in each round every task that still wants rows makes one candidate.
#[derive(Clone, Debug)]
pub(super) struct Rounds {
    finished: Vec<bool>,
    round: u64,
    next: usize,
}

impl Rounds {
    pub(super) fn new(tasks: usize) -> Self {
        Self { finished: vec![false; tasks], round: 0, next: 0 }
    }

    /// A task that makes no more candidates.
    pub(super) fn finish(&mut self, task: usize) {
        if let Some(finished) = self.finished.get_mut(task) {
            *finished = true;
        }
    }

    pub(super) fn is_finished(&self, task: usize) -> bool {
        self.finished.get(task).copied().unwrap_or(true)
    }
}

/// The next task and the number of its candidate.
impl Iterator for Rounds {
    type Item = (usize, u64);

    fn next(&mut self) -> Option<(usize, u64)> {
        if self.finished.iter().all(|finished| *finished) {
            return None;
        }
        loop {
            if self.next == self.finished.len() {
                self.next = 0;
                self.round += 1;
            }
            let task = self.next;
            self.next += 1;
            if !self.is_finished(task) {
                return Some((task, self.round));
            }
        }
    }
}

/// Hands candidates to the threads that make them, some way ahead of those that are counted.
///
/// Whether a task wants more is known only when its earlier candidates have been counted, in order. Candidates
/// that were begun in vain are dropped, so what a run holds does not depend on which thread was faster.
#[derive(Debug)]
pub(super) struct Schedule {
    state: Mutex<State>,
    changed: Condvar,
    /// How many candidates may be begun and not yet counted.
    most_ahead: usize,
}

#[derive(Debug)]
struct State {
    rounds: Rounds,
    ahead: usize,
    closed: bool,
}

impl Schedule {
    pub(super) fn new(rounds: Rounds, most_ahead: usize) -> Self {
        let state = State { rounds, ahead: 0, closed: false };
        Self { state: Mutex::new(state), changed: Condvar::new(), most_ahead }
    }

    /// The next candidate to make; none when there are no more.
    pub(super) fn next(&self) -> Option<(usize, u64)> {
        let mut state = self.lock();
        while state.ahead >= self.most_ahead && !state.closed {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.closed {
            return None;
        }
        let next = state.rounds.next()?;
        state.ahead += 1;
        Some(next)
    }

    /// Counts a candidate, or drops it.
    pub(super) fn counted(&self) {
        self.lock().ahead -= 1;
        self.changed.notify_all();
    }

    pub(super) fn finish(&self, task: usize) {
        self.lock().rounds.finish(task);
        self.changed.notify_all();
    }

    /// Begins nothing more.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_take_turns_until_they_are_finished() {
        let mut rounds = Rounds::new(3);
        let taken: Vec<_> = rounds.by_ref().take(4).collect();
        assert_eq!(taken, [(0, 0), (1, 0), (2, 0), (0, 1)]);
        rounds.finish(1);
        let taken: Vec<_> = rounds.by_ref().take(3).collect();
        assert_eq!(taken, [(2, 1), (0, 2), (2, 2)]);
        rounds.finish(0);
        rounds.finish(2);
        assert_eq!(rounds.next(), None);
    }

    #[test]
    fn a_closed_schedule_wakes_those_who_wait() {
        let schedule = Schedule::new(Rounds::new(1), 2);
        assert_eq!((schedule.next(), schedule.next()), (Some((0, 0)), Some((0, 1))));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| schedule.next());
            schedule.counted();
            assert_eq!(waiting.join().unwrap(), Some((0, 2)));
            let waiting = scope.spawn(|| schedule.next());
            schedule.close();
            assert_eq!(waiting.join().unwrap(), None);
        });
    }
}

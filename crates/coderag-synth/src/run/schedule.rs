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
/// A task has no more candidates under way than it still wants rows, so none is made in vain and what a run asks
/// does not depend on which thread was faster.
#[derive(Debug)]
pub(super) struct Schedule {
    state: Mutex<State>,
    changed: Condvar,
    /// How many candidates may be begun and not yet counted.
    most_ahead: usize,
}

#[derive(Debug)]
struct State {
    tasks: Vec<Wanted>,
    ahead: usize,
    closed: bool,
}

/// What a task still has to do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    /// How many rows it wants.
    pub(super) rows: u64,
    /// The most candidates that it makes.
    pub(super) candidates: u64,
    /// The number of its next candidate.
    next: u64,
    /// How many of its candidates are begun and not yet counted.
    under_way: u64,
}

impl Wanted {
    pub(super) fn new(rows: u64, candidates: u64) -> Self {
        Self { rows, candidates, next: 0, under_way: 0 }
    }

    fn is_finished(&self) -> bool {
        self.rows == 0 || self.next >= self.candidates
    }
}

impl Schedule {
    pub(super) fn new(tasks: Vec<Wanted>, most_ahead: usize) -> Self {
        let state = State { tasks, ahead: 0, closed: false };
        Self { state: Mutex::new(state), changed: Condvar::new(), most_ahead }
    }

    /// The next candidate to make: its task and number. `None` when there are no more.
    pub(super) fn next(&self) -> Option<(usize, u64)> {
        let mut state = self.lock();
        loop {
            if state.closed || state.tasks.iter().all(Wanted::is_finished) {
                return None;
            }
            let may_begin = |task: &Wanted| !task.is_finished() && task.under_way < task.rows;
            // The first in the order in which candidates are counted.
            let first = (state.tasks.iter().enumerate())
                .filter(|(_, task)| may_begin(task))
                .min_by_key(|(_, task)| task.next)
                .map(|(index, _)| index);
            if state.ahead < self.most_ahead
                && let Some(index) = first
                && let Some(task) = state.tasks.get_mut(index)
            {
                let number = task.next;
                task.next += 1;
                task.under_way += 1;
                state.ahead += 1;
                return Some((index, number));
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Counts a candidate, and whether it became a row.
    pub(super) fn counted(&self, task: usize, is_row: bool) {
        let mut state = self.lock();
        state.ahead = state.ahead.saturating_sub(1);
        if let Some(task) = state.tasks.get_mut(task) {
            task.under_way = task.under_way.saturating_sub(1);
            task.rows = task.rows.saturating_sub(is_row.into());
        }
        drop(state);
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
    fn no_more_is_under_way_than_is_wanted() {
        let schedule = Schedule::new(vec![Wanted::new(2, 5), Wanted::new(4, 9)], 10);
        let next = || schedule.next().unwrap();
        let taken: Vec<_> = (0..6).map(|_| next()).collect();
        assert_eq!(taken, [(0, 0), (1, 0), (0, 1), (1, 1), (1, 2), (1, 3)]);
        // The first is no row, so another is needed; the second is one.
        schedule.counted(0, false);
        assert_eq!(next(), (0, 2));
        schedule.counted(0, true);
        schedule.counted(0, true);
        (0..4).for_each(|_| schedule.counted(1, true));
        assert_eq!(schedule.next(), None);
    }

    #[test]
    fn a_task_gives_up_after_its_last_candidate() {
        let schedule = Schedule::new(vec![Wanted::new(1, 3)], 10);
        for number in 0..3 {
            assert_eq!(schedule.next(), Some((0, number)));
            schedule.counted(0, false);
        }
        assert_eq!(schedule.next(), None);
    }

    #[test]
    fn those_who_wait_are_woken() {
        let schedule = Schedule::new(vec![Wanted::new(9, 9)], 2);
        assert_eq!((schedule.next(), schedule.next()), (Some((0, 0)), Some((0, 1))));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| schedule.next());
            schedule.counted(0, false);
            assert_eq!(waiting.join().unwrap(), Some((0, 2)));
            let waiting = scope.spawn(|| schedule.next());
            schedule.close();
            assert_eq!(waiting.join().unwrap(), None);
        });
    }
}

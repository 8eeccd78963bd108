use std::collections::BTreeMap;
use std::path::Path;

use coderag_core::{Digest, Random};

use super::Manifest;
use super::read::{Pair, read_pairs, read_rejected};
use crate::Result;
use crate::row::RejectedRow;

/// Rows of a run that were drawn at random.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Pairs.
    pub accepted: Vec<Pair>,
    /// Rejected candidates.
    pub rejected: Vec<RejectedRow>,
}

impl Sample {
    /// Draws so many rows of all tasks, or of one, from the files of a run: of each task as many as of the others,
    /// as far as it has them.
    ///
    /// # Errors
    /// As of [`read_pairs`].
    pub fn draw(
        run: &Path,
        manifest: &Manifest,
        task: Option<&str>,
        seed: u64,
        (accepted, rejected): (usize, usize),
    ) -> Result<Self> {
        let is_wanted = |of: &str| task.is_none_or(|task| task == of);
        let mut pairs = Draw::new(seed, accepted);
        // Files are not read for nothing.
        if accepted > 0 {
            for pair in read_pairs(run, manifest) {
                let pair = pair?;
                if is_wanted(&pair.task) {
                    pairs.offer(&pair.task, &pair.id, &pair);
                }
            }
        }
        let mut rejects = Draw::new(seed, rejected);
        if rejected > 0 {
            for row in read_rejected(run, manifest) {
                let row = row?;
                if is_wanted(&row.task) {
                    rejects.offer(&row.task, &row.id, &row);
                }
            }
        }
        Ok(Self { accepted: pairs.finish(), rejected: rejects.finish() })
    }
}

/// Draws rows from a stream, holding no more than may be kept. Every row gets a random number that its name and
/// the seed decide, and those with the least ones are kept (bottom-k sampling: Cohen and Kaplan, "Summarizing data
/// using bottom-k sketches", PODC 2007), so that neither the order nor the number of the rows matters.
pub(crate) struct Draw<T> {
    seed: u64,
    most: usize,
    /// By task, and by the random number of the row.
    kept: BTreeMap<String, BTreeMap<u64, T>>,
}

impl<T: Clone> Draw<T> {
    /// Keeps at most so many rows.
    pub(crate) fn new(seed: u64, most: usize) -> Self {
        Self { seed, most, kept: BTreeMap::new() }
    }

    /// Keeps a row of a task, perhaps.
    pub(crate) fn offer(&mut self, task: &str, id: &str, row: &T) {
        if !self.kept.contains_key(task) {
            self.kept.insert(task.to_owned(), BTreeMap::new());
        }
        let Some(kept) = self.kept.get_mut(task) else { return };
        let number = Random::derived(self.seed, &[Digest::of(id).seed()]).next_u64();
        let is_least = kept.last_key_value().is_none_or(|(last, _)| number < *last);
        if kept.len() < self.most || is_least {
            kept.insert(number, row.clone());
        }
        if kept.len() > self.most {
            kept.pop_last();
        }
    }

    /// The rows drawn, those of a task together: of every task in turn the one with the least number, until there
    /// are enough.
    pub(crate) fn finish(self) -> Vec<T> {
        let mut tasks: Vec<_> =
            self.kept.into_values().map(|rows| (rows.into_values(), Vec::new())).collect();
        let mut count = 0;
        let mut has_more = true;
        while has_more && count < self.most {
            has_more = false;
            for (rows, drawn) in &mut tasks {
                if count == self.most {
                    break;
                }
                if let Some(row) = rows.next() {
                    drawn.push(row);
                    count += 1;
                    has_more = true;
                }
            }
        }
        tasks.into_iter().flat_map(|(_, drawn)| drawn).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(
        seed: u64,
        most: usize,
        ids: impl Iterator<Item = (&'static str, usize)>,
    ) -> Vec<String> {
        let mut draw = Draw::new(seed, most);
        for (task, number) in ids {
            let id = format!("{task}-{number}");
            draw.offer(task, &id, &id);
        }
        draw.finish()
    }

    #[test]
    fn tasks_share_alike_and_small_ones_leave_their_places_to_others() {
        let ids = || (0..100).map(|id| ("large", id)).chain((0..2).map(|id| ("small", id)));
        let drawn = draw(1, 12, ids());
        let of = |task: &str| drawn.iter().filter(|id| id.starts_with(task)).count();
        assert_eq!((of("large"), of("small")), (10, 2));
        assert_eq!(draw(1, 1000, ids()).len(), 102);
        assert_eq!(draw(1, 0, ids()).len(), 0);
    }

    #[test]
    fn the_seed_decides_and_the_order_does_not() {
        let forwards = draw(7, 5, (0..50).map(|id| ("task", id)));
        let backwards = draw(7, 5, (0..50).rev().map(|id| ("task", id)));
        assert_eq!(forwards, backwards);
        assert_ne!(forwards, draw(8, 5, (0..50).map(|id| ("task", id))));
    }

    #[test]
    fn every_row_is_drawn_as_often_as_any_other() {
        let mut counts = [0_u32; 10];
        for seed in 0..2000 {
            for id in draw(seed, 3, (0..10).map(|id| ("task", id))) {
                counts[id.strip_prefix("task-").unwrap().parse::<usize>().unwrap()] += 1;
            }
        }
        // 600 on average with a standard deviation of 20.5.
        assert!(counts.iter().all(|count| (510..690).contains(count)), "{counts:?}");
    }
}

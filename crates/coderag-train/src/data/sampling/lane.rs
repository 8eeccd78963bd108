use std::collections::VecDeque;

use super::distinct::Distinct;
use super::stream::Stream;
use super::{LastBatch, Order, Rows, SamplerSettings};
use coderag_core::Random;

/// A sequence of rows that is cut into batches on its own.
#[derive(Debug)]
pub(super) struct Lane {
    /// The sources it draws from, and how many rows are still to come from each.
    streams: Vec<(Stream, u64)>,
    random: Random,
    /// Rows that did not fit into a batch, in the order they were drawn or sorted in.
    waiting: VecDeque<u32>,
    /// Batches that were made ahead.
    ready: VecDeque<Vec<u32>>,
    distinct: Distinct,
    fingerprints: Vec<u64>,
}

/// What a lane gives.
#[derive(Debug)]
pub(super) enum Given {
    /// The next batch, never empty.
    Batch(Vec<u32>),
    /// The lane has ended. So many rows are left out, of which so many would make the largest batch.
    End { left_out: u64, largest: usize },
}

impl Lane {
    pub(super) fn new(streams: Vec<(Stream, u64)>, random: Random) -> Self {
        Self {
            streams,
            random,
            waiting: VecDeque::new(),
            ready: VecDeque::new(),
            distinct: Distinct::default(),
            fingerprints: Vec::new(),
        }
    }

    /// The rows that are still to be given.
    pub(super) fn remaining(&self) -> u64 {
        let ready = self.ready.iter().map(Vec::len).sum::<usize>();
        self.undrawn() + (self.waiting.len() + ready) as u64
    }

    fn undrawn(&self) -> u64 {
        self.streams.iter().map(|(_, remaining)| remaining).sum()
    }

    pub(super) fn next_batch(&mut self, rows: &impl Rows, settings: &SamplerSettings) -> Given {
        if settings.length_window > 0 && self.ready.is_empty() && self.undrawn() > 0 {
            self.fill_window(rows, settings);
        }
        let batch = match self.ready.pop_front() {
            Some(batch) => batch,
            None => self.form(rows, settings),
        };
        if batch.len() == settings.batch_size {
            return Given::Batch(batch);
        }
        // A batch falls short only when nothing is left to draw.
        match settings.last_batch {
            LastBatch::Keep if !batch.is_empty() => Given::Batch(batch),
            _ => {
                let left_out = (batch.len() + self.waiting.len()) as u64;
                self.waiting.clear();
                Given::End { left_out, largest: batch.len() }
            }
        }
    }

    /// Draws a row: of the first source that has any left, or of a random one in proportion to the rows
    /// it has left.
    fn draw(&mut self, order: Order) -> Option<u32> {
        let undrawn = self.undrawn();
        if undrawn == 0 {
            return None;
        }
        let mut position = match order {
            Order::File => 0,
            Order::Shuffled if self.streams.len() == 1 => 0,
            Order::Shuffled => self.random.below(undrawn),
        };
        for (stream, remaining) in &mut self.streams {
            if position < *remaining {
                *remaining -= 1;
                return Some(stream.next());
            }
            position -= *remaining;
        }
        None
    }

    /// Makes a batch of the rows that wait, in their order, and then of new ones. Rows that do not fit
    /// wait for the next batch.
    fn form(&mut self, rows: &impl Rows, settings: &SamplerSettings) -> Vec<u32> {
        let mut batch = Vec::with_capacity(settings.batch_size);
        let mut put_off = VecDeque::new();
        self.distinct.clear();
        while batch.len() < settings.batch_size
            && let Some(row) = self.waiting.pop_front()
        {
            if self.fits(row, rows, settings) { batch.push(row) } else { put_off.push_back(row) }
        }
        put_off.append(&mut self.waiting);
        self.waiting = put_off;
        while batch.len() < settings.batch_size
            && let Some(row) = self.draw(settings.order)
        {
            if self.fits(row, rows, settings) {
                batch.push(row);
            } else {
                self.waiting.push_back(row);
            }
        }
        batch
    }

    fn fits(&mut self, row: u32, rows: &impl Rows, settings: &SamplerSettings) -> bool {
        if !settings.no_duplicates {
            return true;
        }
        rows.fingerprints(row as usize, &mut self.fingerprints);
        self.distinct.add(&self.fingerprints)
    }

    /// Draws the rows of several batches, sorts them and those that wait by length, and makes all full
    /// batches there are, in random order. Draws more where there is not one.
    fn fill_window(&mut self, rows: &impl Rows, settings: &SamplerSettings) {
        let window = settings.length_window.saturating_mul(settings.batch_size);
        let mut drawn: Vec<u32> = std::mem::take(&mut self.waiting).into();
        while self.ready.is_empty() && self.undrawn() > 0 {
            let goal = drawn.len().saturating_add(window);
            while drawn.len() < goal
                && let Some(row) = self.draw(settings.order)
            {
                drawn.push(row);
            }
            drawn.sort_by_key(|row| rows.characters(*row as usize));
            let (batches, rest) = self.cut(&drawn, rows, settings);
            self.ready = batches.into();
            drawn = rest;
        }
        self.random.shuffle(self.ready.make_contiguous());
        self.waiting = drawn.into();
    }

    /// Cuts rows into full batches; returns these and the rows that are over.
    fn cut(
        &mut self,
        sorted: &[u32],
        rows: &impl Rows,
        settings: &SamplerSettings,
    ) -> (Vec<Vec<u32>>, Vec<u32>) {
        let mut batches = Vec::new();
        let mut rest = sorted.to_vec();
        loop {
            let mut batch = Vec::with_capacity(settings.batch_size);
            let mut over = Vec::new();
            self.distinct.clear();
            for row in &rest {
                if batch.len() < settings.batch_size && self.fits(*row, rows, settings) {
                    batch.push(*row);
                } else {
                    over.push(*row);
                }
            }
            if batch.len() < settings.batch_size {
                return (batches, rest);
            }
            batches.push(batch);
            rest = over;
        }
    }
}

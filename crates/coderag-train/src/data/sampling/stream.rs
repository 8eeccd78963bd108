use coderag_core::Random;

/// The rows of one source without end: pass after pass, each in an order of its own.
#[derive(Debug)]
pub(super) struct Stream {
    /// The number of the source's first row.
    first: u32,
    rows: u32,
    /// `None` for the order of the file.
    shuffle: Option<Shuffle>,
    pass: u64,
    position: u32,
}

#[derive(Debug)]
struct Shuffle {
    seed: u64,
    source: u64,
    /// The pass's rows.
    order: Vec<u32>,
}

impl Stream {
    /// The stream of the source with the number `source` after `drawn` rows. `seed` is `None` for the
    /// order of the file.
    pub(super) fn new(seed: Option<u64>, source: u64, first: u32, rows: u32, drawn: u64) -> Self {
        let pass = drawn / u64::from(rows.max(1));
        let position = (drawn % u64::from(rows.max(1))) as u32;
        let shuffle = seed.map(|seed| Shuffle { seed, source, order: Vec::new() });
        let mut stream = Self { first, rows, shuffle, pass, position };
        stream.begin_pass();
        stream
    }

    fn begin_pass(&mut self) {
        /// Tells these random numbers from others of the same seed.
        const STREAM: u64 = 1;
        if let Some(Shuffle { seed, source, order }) = &mut self.shuffle {
            order.clear();
            order.extend(self.first..self.first + self.rows);
            Random::derived(*seed, &[STREAM, *source, self.pass]).shuffle(order);
        }
    }

    pub(super) fn next(&mut self) -> u32 {
        if self.position == self.rows {
            self.pass += 1;
            self.position = 0;
            self.begin_pass();
        }
        let position = self.position;
        self.position += 1;
        match &self.shuffle {
            Some(shuffle) => shuffle.order[position as usize],
            None => self.first + position,
        }
    }
}

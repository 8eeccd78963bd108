use memmap2::Mmap;

/// Where each row's record and fingerprints are.
#[derive(Debug)]
pub(super) struct Table {
    rows: Mmap,
    fingerprints: Mmap,
}

/// A row of `rows.bin`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// Where the row's record begins in `texts.bin`.
    pub(super) record: u64,
    /// The number of its first fingerprint.
    pub(super) fingerprints: u64,
    /// The characters of its longest text.
    pub(super) characters: u32,
    /// How many texts it has, at least two.
    pub(super) texts: u32,
}

impl Entry {
    pub(super) const BYTES: usize = 24;

    pub(super) fn to_bytes(self) -> [u8; Self::BYTES] {
        let [a, b, c, d, e, f, g, h] = self.record.to_le_bytes();
        let [i, j, k, l, m, n, o, p] = self.fingerprints.to_le_bytes();
        let [q, r, s, t] = self.characters.to_le_bytes();
        let [u, v, w, x] = self.texts.to_le_bytes();
        [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, v, w, x]
    }

    fn of(bytes: &[u8; Self::BYTES]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, v, w, x] = *bytes;
        Self {
            record: u64::from_le_bytes([a, b, c, d, e, f, g, h]),
            fingerprints: u64::from_le_bytes([i, j, k, l, m, n, o, p]),
            characters: u32::from_le_bytes([q, r, s, t]),
            texts: u32::from_le_bytes([u, v, w, x]),
        }
    }
}

impl Table {
    /// The table in two mapped files, or what is wrong with them. `text_bytes` is the length of
    /// `texts.bin`.
    pub(super) fn new(rows: Mmap, fingerprints: Mmap, text_bytes: u64) -> Result<Self, String> {
        let table = Self { rows, fingerprints };
        if !table.rows.len().is_multiple_of(Entry::BYTES) {
            return Err("`rows.bin` does not hold whole rows".to_owned());
        }
        let (mut record, mut texts) = (0, 0);
        for (row, entry) in table.entries().enumerate() {
            if entry.texts < 2
                || entry.fingerprints != texts
                || entry.record < record
                || entry.record >= text_bytes
            {
                return Err(format!("row {row} of `rows.bin` is out of place"));
            }
            record = entry.record;
            texts += u64::from(entry.texts);
        }
        if texts * 8 != table.fingerprints.len() as u64 {
            return Err("`fingerprints.bin` has another number of texts than `rows.bin`".to_owned());
        }
        Ok(table)
    }

    pub(super) fn rows(&self) -> usize {
        self.rows.len() / Entry::BYTES
    }

    pub(super) fn entry(&self, row: usize) -> Option<Entry> {
        self.rows.as_chunks().0.get(row).map(Entry::of)
    }

    fn entries(&self) -> impl Iterator<Item = Entry> + Clone {
        self.rows.as_chunks().0.iter().map(Entry::of)
    }

    /// Puts a row's fingerprints into `fingerprints`, in the order of its texts.
    pub(super) fn fingerprints(&self, row: usize, fingerprints: &mut Vec<u64>) {
        fingerprints.clear();
        let Some(entry) = self.entry(row) else { return };
        let first = entry.fingerprints as usize;
        let found = self.fingerprints.as_chunks().0.get(first..first + entry.texts as usize);
        fingerprints
            .extend(found.unwrap_or_default().iter().map(|bytes| u64::from_le_bytes(*bytes)));
    }

    /// The fingerprints of every row's anchor and positive.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (u64, u64)> + Clone {
        let all = self.fingerprints.as_chunks().0;
        self.entries().filter_map(|entry| {
            let first = entry.fingerprints as usize;
            let [anchor, positive] = all.get(first..first + 2)? else { return None };
            Some((u64::from_le_bytes(*anchor), u64::from_le_bytes(*positive)))
        })
    }
}

use cudarc::driver::sys::CUdeviceptr;

use super::memory::{Places, Reserve};
use super::open::Card;
use crate::{Architecture, Error, Result};

/// How many sequences a kernel's grid has room for.
const MOST_SEQUENCES: usize = 65_535;

/// Sequences that go through the model in one call, on the card, all in i32.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    pub(super) tokens: usize,
    pub(super) sequences: usize,
    /// The tokens of the longest sequence.
    pub(super) longest: usize,
    /// `[sequences + 1]`
    pub(super) starts: CUdeviceptr,
    /// `[tokens]`
    pub(super) words: CUdeviceptr,
    /// `[tokens]`
    pub(super) positions: CUdeviceptr,
    /// Which tokens have each word, and which stand at each position, where their embeddings are trained.
    pub(super) rows: Option<[Segments; 2]>,
}

/// The tokens that belong to each row of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segments {
    pub(super) count: usize,
    /// The tokens in order of the rows, where each row's begin, and which rows they are.
    pub(super) places: [CUdeviceptr; 3],
}

impl Batch {
    /// Copies sequences to the card.
    ///
    /// # Errors
    /// [`Error::Sequence`] when the model cannot take one, [`Error::Training`] when there are too many,
    /// [`Error::Cuda`].
    pub(super) fn new(
        card: &Card,
        memory: &mut Reserve,
        sequences: &[&[u32]],
        architecture: &Architecture,
        trained: bool,
    ) -> Result<Self> {
        architecture.check_sequences(sequences)?;
        if sequences.len() > MOST_SEQUENCES {
            let problem = format!("a card takes {MOST_SEQUENCES} texts at once, not more");
            return Err(Error::Training(problem));
        }
        let mut starts = vec![0];
        let (mut words, mut positions) = (Vec::new(), Vec::new());
        for ids in sequences {
            words.extend(ids.iter().map(|id| *id as i32));
            match architecture {
                Architecture::Bert(config) => {
                    positions.extend(config.positions(ids).map(|position| position as i32));
                }
                Architecture::Qwen2(_) => positions.extend(0..ids.len() as i32),
            }
            starts.push(words.len() as i32);
        }
        let tokens = words.len();
        let longest = sequences.iter().map(|ids| ids.len()).max().unwrap_or(0);
        let segments = trained.then(|| [&words, &positions].map(|rows| by_row(rows)));
        let mut lists = vec![&starts, &words, &positions];
        lists.extend(segments.iter().flatten().flatten());

        let lay_out = |address| {
            let mut places = Places::from(address);
            let addresses: Vec<CUdeviceptr> =
                lists.iter().map(|list| places.take(list.len() * 4)).collect();
            (addresses, places.end())
        };
        let (_, bytes) = lay_out(0);
        let (addresses, _) = lay_out(memory.of(card, bytes)?);
        for (list, address) in lists.iter().zip(&addresses) {
            // SAFETY: the places are of the lists' lengths.
            #[allow(unsafe_code)]
            unsafe { card.write(*address, list) }?;
        }
        let rows = segments.as_ref().map(|segments| {
            let mut places = addresses[3..].chunks_exact(3);
            segments.each_ref().map(|[_, _, targets]| Segments {
                count: targets.len(),
                places: places.next().map_or([0; 3], |places| [places[0], places[1], places[2]]),
            })
        });
        Ok(Self {
            tokens,
            sequences: sequences.len(),
            longest,
            starts: addresses[0],
            words: addresses[1],
            positions: addresses[2],
            rows,
        })
    }
}

/// Tokens by the row of a table that each has: the tokens in order of the rows, where each row's begin and the last
/// ends, and the rows.
fn by_row(rows: &[i32]) -> [Vec<i32>; 3] {
    let mut order: Vec<i32> = (0..rows.len() as i32).collect();
    order.sort_by_key(|token| rows[*token as usize]);
    let (mut starts, mut targets) = (vec![0], Vec::new());
    for tokens in order.chunk_by(|one, other| rows[*one as usize] == rows[*other as usize]) {
        starts.push(starts[targets.len()] + tokens.len() as i32);
        targets.push(rows[tokens[0] as usize]);
    }
    [order, starts, targets]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_put_together_by_their_rows() {
        let [order, starts, targets] = by_row(&[7, 2, 7, 0, 2, 7]);
        assert_eq!(order, [3, 1, 4, 0, 2, 5]);
        assert_eq!(starts, [0, 1, 3, 6]);
        assert_eq!(targets, [0, 2, 7]);
    }
}

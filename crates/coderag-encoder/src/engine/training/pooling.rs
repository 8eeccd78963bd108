use crate::Pooling;
use crate::engine::training::rows::Rows;

impl Pooling {
    /// The gradient of a sequence's token states, `[tokens, hidden_size]`, from that of its vector. `states`
    /// are the token states themselves.
    ///
    /// # Safety
    /// Nobody else uses the gradient, or writes to the states.
    #[allow(unsafe_code)]
    pub(super) unsafe fn backward(self, vector: &[f32], states: Rows<'_>, gradient: Rows<'_>) {
        let (tokens, size) = (states.count(), vector.len());
        // SAFETY: the caller vouches for the memory.
        let row = |row: usize| unsafe { gradient.row_mut(row, size) };
        match self {
            Self::Mean => {
                for token in 0..tokens {
                    for (value, &vector) in row(token).iter_mut().zip(vector) {
                        *value = vector / tokens as f32;
                    }
                }
            }
            Self::Cls | Self::LastToken => {
                let chosen = if self == Self::Cls { 0 } else { tokens - 1 };
                for token in 0..tokens {
                    if token == chosen {
                        row(token).copy_from_slice(vector);
                    } else {
                        row(token).fill(0.0);
                    }
                }
            }
            Self::Max => {
                (0..tokens).for_each(|token| row(token).fill(0.0));
                for (column, &vector) in vector.iter().enumerate() {
                    // SAFETY: the caller vouches for the states.
                    let value = |token: usize| unsafe { states.row(token, size)[column] };
                    // The first of the greatest.
                    let greatest = (1..tokens).fold(0, |greatest, token| {
                        if value(token) > value(greatest) { token } else { greatest }
                    });
                    row(greatest)[column] = vector;
                }
            }
        }
    }
}

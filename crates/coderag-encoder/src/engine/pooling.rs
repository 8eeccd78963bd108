use super::kernels::Kernels;
use crate::Pooling;

impl Pooling {
    /// Takes one more token's state into `pooled`; `position` is the token's, `tokens` how many there are.
    pub(super) fn add(
        self,
        kernels: &Kernels,
        pooled: &mut [f32],
        state: &[f32],
        position: usize,
        tokens: usize,
    ) {
        match self {
            Self::Cls if position == 0 => pooled.copy_from_slice(state),
            Self::Cls => {}
            Self::Mean => {
                if position == 0 {
                    pooled.fill(0.0);
                }
                kernels.add_scaled(pooled, state, 1.0 / tokens as f32);
            }
            Self::LastToken if position + 1 == tokens => pooled.copy_from_slice(state),
            Self::LastToken => {}
            Self::Max if position == 0 => pooled.copy_from_slice(state),
            Self::Max => {
                for (pooled, &value) in pooled.iter_mut().zip(state) {
                    *pooled = pooled.max(value);
                }
            }
        }
    }
}

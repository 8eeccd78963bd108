use burn::tensor::backend::Backend;
use burn::tensor::{DType, Int, Tensor, TensorData};

use super::similarity::normalize;
use super::{Guide, LossBatch};

/// A [`LossBatch`] with what the losses read of it on the device of the vectors.
pub(super) struct DeviceBatch<'a, B: Backend> {
    pub(super) batch: &'a LossBatch,
    /// The group of each text, `[texts]`.
    pub(super) groups: Tensor<B, 1, Int>,
    /// The anchor of each text, `[texts]`.
    pub(super) owners: Tensor<B, 1, Int>,
    /// What decides which negatives are likely to be false, if not the model itself.
    pub(super) guide: Option<DeviceGuide<B>>,
    device: B::Device,
    dtype: DType,
}

/// A [`Guide`] on a device.
pub(super) enum DeviceGuide<B: Backend> {
    /// Vectors of unit length, `[texts, guide's dim]`.
    Vectors(Tensor<B, 2>),
    /// Scores, `[pairs, documents]`.
    Scores(Tensor<B, 2>),
}

impl<'a, B: Backend> DeviceBatch<'a, B> {
    /// Puts the batch where its vectors are.
    pub(super) fn new(batch: &'a LossBatch, embeddings: &Tensor<B, 2>) -> Self {
        let (device, dtype) = (embeddings.device(), embeddings.dtype());
        let pairs = batch.pairs();
        let owners = (0..pairs).chain(0..pairs).chain(batch.negative_owners().iter().copied());
        let guide = batch.guide().map(|guide| match guide {
            Guide::Embeddings(vectors) => {
                let shape = [vectors.len(), vectors.dimensions()];
                let data = TensorData::new(vectors.as_slice().to_vec(), shape);
                DeviceGuide::Vectors(normalize(matrix(data, &device, dtype)))
            }
            Guide::Scores(scores) => {
                let data = TensorData::new(scores.clone(), [pairs, batch.documents()]);
                DeviceGuide::Scores(matrix(data, &device, dtype))
            }
        });
        Self {
            batch,
            groups: integers(batch.groups().iter().map(|group| i64::from(*group)), &device),
            owners: integers(owners.map(|owner| owner as i64), &device),
            guide,
            device,
            dtype,
        }
    }

    /// Numbers of texts, `[count]`.
    pub(super) fn indices(&self, indices: impl IntoIterator<Item = usize>) -> Tensor<B, 1, Int> {
        integers(indices.into_iter().map(|index| index as i64), &self.device)
    }

    /// Numbers of the type of the vectors, `shape`.
    pub(super) fn matrix(&self, values: Vec<f64>, shape: [usize; 2]) -> Tensor<B, 2> {
        matrix(TensorData::new(values, shape), &self.device, self.dtype)
    }
}

fn integers<B: Backend>(
    values: impl IntoIterator<Item = i64>,
    device: &B::Device,
) -> Tensor<B, 1, Int> {
    let values: Vec<i64> = values.into_iter().collect();
    let count = values.len();
    Tensor::from_data(TensorData::new(values, [count]), device)
}

fn matrix<B: Backend>(data: TensorData, device: &B::Device, dtype: DType) -> Tensor<B, 2> {
    Tensor::from_data(data.convert_dtype(dtype), (device, dtype))
}

use burn::module::Module;
use burn::tensor::backend::Backend;

use super::adapter::Adapter;
use super::layer::LoraSlot;
use super::selection::LayerKind;
use crate::Result;

/// A layer where LoRA can be: its path as transformers names it, what it does, and its sizes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoraPlace {
    /// The module's dotted path, such as `encoder.layer.0.attention.self.query`.
    pub module: String,
    /// Whether the layer multiplies or looks up.
    pub kind: LayerKind,
    /// How many inputs and outputs it has.
    pub sizes: [usize; 2],
}

/// A model whose linear layers and embeddings take LoRA.
///
/// ```no_run
/// use burn::tensor::backend::Backend;
/// use coderag_encoder::BertConfig;
/// use coderag_encoder::lora::{Adapter, AdapterConfig, LoraModel, ModuleSelection};
///
/// # fn train<B: Backend>(bert: BertConfig, device: &B::Device) -> coderag_encoder::Result<()> {
/// let mut model = bert.init::<B>(device);
/// let config = AdapterConfig::new(16, 32.0, ModuleSelection::names(["query", "value"]));
/// let adapter = Adapter::initial(config, &model.lora_places(), 42)?;
/// model = model.with_adapter(&adapter)?;
/// // ... train `model`; only A and B have gradients ...
/// adapter.with_weights_of(&model)?.write("checkpoints/new/adapter".as_ref())?;
/// # Ok(())
/// # }
/// ```
pub trait LoraModel<B: Backend>: Module<B> {
    /// The layers with their modules' paths.
    fn lora_slots(&mut self) -> Vec<(String, LoraSlot<'_, B>)>;

    /// The layers' paths, kinds and sizes.
    fn lora_places(&self) -> Vec<LoraPlace> {
        let mut model = self.clone();
        let place = |(module, slot): (String, LoraSlot<'_, B>)| LoraPlace {
            module,
            kind: slot.kind(),
            sizes: slot.sizes(),
        };
        model.lora_slots().into_iter().map(place).collect()
    }

    /// Freezes every parameter and adds the adapter's A and B, which alone have gradients from then on. A and
    /// B that were there before are gone, but an embedding that another adapter replaced stays.
    ///
    /// # Errors
    /// [`Error::Adapter`](crate::Error::Adapter) when the adapter is not for this model.
    fn with_adapter(self, adapter: &Adapter) -> Result<Self> {
        let places = self.lora_places();
        let placement = adapter.place(&places)?;
        let mut model = self.no_grad();
        for (module, mut slot) in model.lora_slots() {
            slot.detach();
            if let Some(stored) = placement.replaced.get(module.as_str()) {
                slot.load(stored.values());
            }
            if let Some(placed) = placement.layers.get(module.as_str()) {
                slot.attach(placed.weights, placed.scale, adapter.config().dropout);
            }
        }
        Ok(model)
    }

    /// Adds each product of A and B to its weight; the model has no adapter afterwards and computes the
    /// same, up to rounding.
    #[must_use]
    fn merged(mut self) -> Self {
        for (_, mut slot) in self.lora_slots() {
            slot.merge();
        }
        self
    }
}

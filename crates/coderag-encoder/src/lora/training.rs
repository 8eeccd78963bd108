use std::collections::{BTreeMap, BTreeSet};

use super::adapter::{Adapter, Placed, Placement, WITHOUT_INFLUENCE, suffixes};
use super::model::LoraPlace;
use super::selection::LayerKind;
use super::weights::LoraWeights;
use crate::engine::AdapterLayer;
use crate::{Error, Result};

/// An adapter on its way to the [`TrainingEngine`](crate::engine::TrainingEngine), and back.
impl Adapter {
    /// A, B, rank and scale of each layer, as
    /// [`Trainable::Adapters`](crate::engine::Trainable::Adapters) takes them.
    ///
    /// # Errors
    /// [`Error::Adapter`] when the adapter is not for this model, [`Error::Training`] when it changes an
    /// embedding, which the engine cannot train.
    pub fn training_layers(&self, places: &[LoraPlace]) -> Result<Vec<AdapterLayer>> {
        let Placement { layers, replaced } = self.place(places)?;
        let adapted =
            layers.iter().filter(|(_, placed)| placed.weights.kind() != LayerKind::Linear);
        let embeddings: BTreeSet<&str> =
            adapted.map(|(module, _)| *module).chain(replaced.keys().copied()).collect();
        if !embeddings.is_empty() {
            let names = Vec::from_iter(embeddings).join("`, `");
            return Err(Error::Training(format!(
                "the engine on the processor has adapters of linear layers only, not of `{names}`"
            )));
        }
        let layer = |(module, Placed { weights, scale }): (&str, Placed<'_>)| AdapterLayer {
            layer: module.to_owned(),
            rank: weights.rank(),
            scale: scale as f32,
            a: weights.a().to_vec(),
            b: weights.b().to_vec(),
        };
        Ok(layers.into_iter().map(layer).collect())
    }

    /// This adapter with other A and B: what training made of it. A parameter's name is the layer's in the
    /// model and `.lora_A.weight` or `.lora_B.weight`, or `.lora_embedding_A` and `.lora_embedding_B` for an
    /// embedding; its values are in the order of PEFT's files: A `[rank, inputs]`, B `[outputs, rank]`.
    ///
    /// # Errors
    /// [`Error::Adapter`] when a layer that has an influence on embeddings is left out, when the adapter has
    /// no such layer, and when A or B has another size.
    pub fn with_trained<'a>(
        &self,
        parameters: impl IntoIterator<Item = (&'a str, &'a [f32])>,
    ) -> Result<Self> {
        let parameters: BTreeMap<&str, &[f32]> = parameters.into_iter().collect();
        let module = |name: &'a str| {
            let all = [LayerKind::Linear, LayerKind::Embedding].into_iter().flat_map(suffixes);
            { all }.find_map(|suffix| name.strip_suffix(suffix))
        };
        let modules: BTreeSet<&str> = parameters.keys().filter_map(|name| module(name)).collect();
        let prefix = self.prefix(modules)?.to_owned();
        let mut trained = self.clone();
        let mut problems = Vec::new();
        let mut used = BTreeSet::new();
        for (full, weights) in &mut trained.layers {
            let Some(module) = full.strip_prefix(&prefix) else { continue };
            let names = suffixes(weights.kind()).map(|suffix| format!("{module}{suffix}"));
            let [a, b] = names.each_ref().map(|name| parameters.get(name.as_str()));
            match (a, b) {
                (Some(a), Some(b)) => {
                    let [rank, inputs, outputs] =
                        [weights.rank(), weights.inputs(), weights.outputs()];
                    let (kind, sizes) = (weights.kind(), [inputs, outputs]);
                    match LoraWeights::new(kind, rank, sizes, a.to_vec(), b.to_vec()) {
                        Some(new) => *weights = new,
                        None => problems.push(format!(
                            "parameters `{}` and `{}` have {} and {} values instead of {rank} by {inputs} \
                             and {outputs} by {rank}",
                            names[0],
                            names[1],
                            a.len(),
                            b.len(),
                        )),
                    }
                }
                (None, None) if WITHOUT_INFLUENCE.iter().any(|part| module.starts_with(part)) => {}
                (None, _) => problems.push(format!("missing parameter `{}`", names[0])),
                (_, None) => problems.push(format!("missing parameter `{}`", names[1])),
            }
            used.extend(names);
        }
        let unknown = parameters.keys().filter(|name| !used.contains(**name));
        problems.extend(unknown.map(|name| format!("unexpected parameter `{name}`")));
        if problems.is_empty() { Ok(trained) } else { Err(self.error(problems)) }
    }
}

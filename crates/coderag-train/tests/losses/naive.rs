//! Multiple-negatives ranking and distillation, number by number, from their definitions.

use coderag_train::loss::{
    Direction, KlDivergence, Loss, MarginMse, MarginStrategy, MultipleNegativesRanking, Partition,
    Similarity,
};

/// A batch as the definitions see it.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    pub(crate) pairs: usize,
    pub(crate) owners: Vec<usize>,
    /// A number for each text: equal texts have equal numbers.
    pub(crate) texts: Vec<u8>,
    pub(crate) teacher: Vec<f32>,
    pub(crate) vectors: Vec<Vec<f64>>,
}

impl Batch {
    fn similarity(&self, similarity: Similarity, left: usize, right: usize) -> f64 {
        let (left, right) = (&self.vectors[left], &self.vectors[right]);
        let dot = |left: &[f64], right: &[f64]| -> f64 {
            left.iter().zip(right).map(|(x, y)| x * y).sum()
        };
        match similarity {
            Similarity::Dot => dot(left, right),
            Similarity::Cosine => dot(left, right) / (dot(left, left) * dot(right, right)).sqrt(),
        }
    }

    /// Whether two texts are connected by equal texts and by pairs.
    fn one_group(&self, left: usize, right: usize) -> bool {
        let mut reached = vec![false; self.texts.len()];
        let mut open = vec![left];
        while let Some(text) = open.pop() {
            if std::mem::replace(&mut reached[text], true) {
                continue;
            }
            let equal = |other: &usize| self.texts[*other] == self.texts[text];
            open.extend((0..self.texts.len()).filter(equal));
            match text {
                anchor if anchor < self.pairs => open.push(anchor + self.pairs),
                positive if positive < 2 * self.pairs => open.push(positive - self.pairs),
                _ => {}
            }
        }
        reached[right]
    }

    /// The anchor of a text.
    fn owner(&self, text: usize) -> usize {
        if text < 2 * self.pairs { text % self.pairs } else { self.owners[text - 2 * self.pairs] }
    }

    /// The loss, for those losses and settings that the properties use.
    pub(crate) fn value(&self, loss: &Loss) -> f64 {
        match loss {
            Loss::MultipleNegativesRanking(ranking) => self.ranking(ranking),
            Loss::MarginMse(loss) => self.margin_mse(loss),
            Loss::KlDivergence(loss) => self.kl_divergence(loss),
            Loss::Matryoshka(matryoshka) => matryoshka
                .dimensions
                .iter()
                .zip(&matryoshka.weights)
                .map(|(&dimensions, weight)| {
                    let mut shortened = self.clone();
                    for vector in &mut shortened.vectors {
                        vector.truncate(dimensions);
                        let norm = vector.iter().map(|x| x * x).sum::<f64>().sqrt();
                        vector.iter_mut().for_each(|x| *x /= norm);
                    }
                    weight * shortened.value(&matryoshka.loss)
                })
                .sum(),
        }
    }

    fn ranking(&self, ranking: &MultipleNegativesRanking) -> f64 {
        assert!(ranking.hardness.is_none(), "not here");
        let (pairs, texts) = (self.pairs, self.texts.len());
        let mut sum = 0.0;
        for anchor in 0..pairs {
            let score = |left, right| self.similarity(ranking.similarity, left, right);
            let positive = score(anchor, pairs + anchor);
            let counts = |score: f64| match ranking.false_negatives {
                None => true,
                Some(masking) => match masking.strategy {
                    MarginStrategy::Absolute => score <= positive - masking.margin,
                    MarginStrategy::Relative => score <= positive - positive.abs() * masking.margin,
                },
            };
            let mut directions = Vec::new();
            for direction in &ranking.directions {
                let (source, targets) = match direction {
                    Direction::AnchorToDocument => (anchor, pairs..texts),
                    Direction::AnchorToAnchor => (anchor, 0..pairs),
                    Direction::DocumentToAnchor => (pairs + anchor, 0..pairs),
                    Direction::DocumentToDocument => (pairs + anchor, pairs..texts),
                };
                let mut powers = 0.0;
                for target in targets {
                    let score = score(source, target);
                    let own_pair = [source, target] == [anchor, pairs + anchor]
                        || [source, target] == [pairs + anchor, anchor];
                    let own_document =
                        *direction == Direction::DocumentToDocument && self.owner(target) == anchor;
                    let counted = !self.one_group(source, target) && !own_document && counts(score);
                    if own_pair || counted {
                        powers += (score * ranking.scale).exp();
                    }
                }
                directions.push(powers);
            }
            let log_normalizer = match ranking.partition {
                Partition::Joint => directions.iter().sum::<f64>().ln(),
                Partition::PerDirection => {
                    directions.iter().map(|powers| powers.ln()).sum::<f64>()
                        / directions.len() as f64
                }
            };
            sum += log_normalizer - positive * ranking.scale;
        }
        sum / pairs as f64
    }

    fn margin_mse(&self, loss: &MarginMse) -> f64 {
        let error = |(negative, &anchor): (usize, &usize)| {
            let score = |document: usize| {
                self.similarity(loss.similarity, anchor, self.pairs + document)
                    - f64::from(self.teacher[document])
            };
            (score(anchor) - score(self.pairs + negative)).powi(2)
        };
        let errors = self.owners.iter().enumerate().map(error);
        errors.sum::<f64>() / self.owners.len() as f64
    }

    fn kl_divergence(&self, loss: &KlDivergence) -> f64 {
        let mut sum = 0.0;
        for anchor in 0..self.pairs {
            let documents: Vec<usize> =
                (self.pairs..self.texts.len()).filter(|&text| self.owner(text) == anchor).collect();
            let distribution = |score: &dyn Fn(usize) -> f64| {
                let powers: Vec<f64> = documents.iter().map(|&text| score(text).exp()).collect();
                let sum: f64 = powers.iter().sum();
                powers.into_iter().map(move |power| power / sum).collect::<Vec<f64>>()
            };
            let teacher = distribution(&|text| {
                f64::from(self.teacher[text - self.pairs]) / loss.teacher_temperature
            });
            let student = distribution(&|text| {
                self.similarity(loss.similarity, anchor, text) / loss.student_temperature
            });
            sum += teacher.iter().zip(&student).map(|(p, q)| p * (p / q).ln()).sum::<f64>();
        }
        loss.student_temperature.powi(2) * sum / self.pairs as f64
    }
}

use std::f64::consts::TAU;

/// Random numbers that depend on a seed alone and are the same on every machine: SplitMix64 (Steele, Lea and
/// Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The generator of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// One of many generators that share a seed: each `path` has its own.
    pub fn derived(seed: u64, path: &[u64]) -> Self {
        let mut random = Self(seed);
        for step in path {
            random.0 = random.next_u64() ^ step;
        }
        Self(random.next_u64())
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number below `bound`, each with the same probability (Lemire, "Fast random integer generation in
    /// an interval", 2019); 0 for the bound 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        let mut product = u128::from(self.next_u64()) * u128::from(bound);
        if (product as u64) < bound {
            let threshold = bound.wrapping_neg() % bound;
            while (product as u64) < threshold {
                product = u128::from(self.next_u64()) * u128::from(bound);
            }
        }
        (product >> 64) as u64
    }

    /// From 0 up to and without 1.
    pub fn uniform(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Of mean 0 and variance 1, by Box and Muller's transform.
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (TAU * self.uniform()).cos()
    }

    /// Puts items in random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first outputs of the reference implementation's `next()` for seed 1234567.
    #[test]
    fn the_numbers_are_splitmix64() {
        let mut random = Random::new(1_234_567);
        for output in [6_457_827_717_110_365_317, 3_203_168_211_198_807_973] {
            assert_eq!(random.next_u64(), output);
        }
    }

    #[test]
    fn numbers_below_a_bound_are_even() {
        let mut random = Random::new(3);
        let mut counts = [0_u32; 7];
        (0..70_000).for_each(|_| counts[random.below(7) as usize] += 1);
        // Six standard deviations of a binomial count.
        assert!(counts.iter().all(|count| count.abs_diff(10_000) < 560), "{counts:?}");
        let huge = (1 << 63) + 1;
        assert!((0..1000).all(|_| random.below(huge) < huge));
        assert_eq!((random.below(1), random.below(0)), (0, 0));
    }

    #[test]
    fn normal_numbers_have_mean_0_and_variance_1() {
        let mut random = Random::new(7);
        let values: Vec<f64> = (0..20_000).map(|_| random.normal()).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let variance = values.iter().map(|value| value * value).sum::<f64>() / values.len() as f64;
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.05, "{mean} {variance}");
    }

    #[test]
    fn every_order_of_a_shuffle_is_as_likely() {
        let mut counts = std::collections::BTreeMap::new();
        for number in 0..24_000 {
            let mut items = [0, 1, 2, 3];
            Random::derived(5, &[number]).shuffle(&mut items);
            *counts.entry(items).or_insert(0_u32) += 1;
        }
        assert_eq!(counts.len(), 24);
        assert!(counts.values().all(|count| count.abs_diff(1000) < 190), "{counts:?}");
    }

    #[test]
    fn paths_do_not_meet() {
        let first = |path: &[u64]| Random::derived(1, path).next_u64();
        let paths: [&[u64]; 6] = [&[], &[0], &[0, 0], &[0, 1], &[1, 0], &[1]];
        let numbers: std::collections::BTreeSet<u64> = paths.into_iter().map(first).collect();
        assert_eq!(numbers.len(), paths.len());
    }
}

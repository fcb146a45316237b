//! Uniform numbers for exact samples: random, or quasi-random from a scrambled Sobol sequence.

pub mod points;
pub mod sobol;

pub use points::{Points, Sampling};
use rand::{Rng, RngExt};
use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};

/// What a batch of samples is for; batches of different purpose never share a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// Samples of an optimisation step.
    Training,
    /// Samples on which steps are tried before one is taken.
    Trial,
    /// Samples that choose between candidate parameters.
    Selection,
    /// Samples of the final estimate.
    Estimate,
    /// Samples that test the health of the flow.
    Health,
    /// Samples for observables and for the analyses of users.
    Analysis,
}

/// The random stream of one part of one batch.
pub fn stream(seed: u64, purpose: Purpose, batch: u64, part: usize) -> Pcg64 {
    // PCG streams are selected by the increment; seed and stream are both spread over their 128 bits because
    // neighbouring small numbers would start from neighbouring states.
    let spread = |a: u64, b: u64| (u128::from(mix(a)) << 64) | u128::from(mix(b));
    let id = spread(batch.wrapping_mul(8).wrapping_add(purpose as u64), part as u64);
    Pcg64::new(spread(seed, !seed), id)
}

/// The finaliser of SplitMix64 (G. Steele, D. Lea, C. Flood, OOPSLA 2014).
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A uniform number in the open interval (0, 1).
pub fn open_uniform(rng: &mut impl Rng) -> f64 {
    unit(rng.random())
}

/// The centre of the interval of length 2^-52 that 64 bits name by their upper 52: never 0 nor 1.
fn unit(bits: u64) -> f64 {
    ((bits >> 12) as f64 + 0.5) * (-52f64).exp2()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_differ_by_seed_purpose_batch_and_chunk() {
        let first =
            |seed, purpose, batch, chunk| open_uniform(&mut stream(seed, purpose, batch, chunk));
        let mut seen = Vec::new();
        for seed in 0..3 {
            for purpose in [Purpose::Training, Purpose::Selection, Purpose::Estimate] {
                for batch in 0..4 {
                    for chunk in 0..4 {
                        seen.push(first(seed, purpose, batch, chunk));
                    }
                }
            }
        }
        assert!(seen.iter().all(|u| *u > 0.0 && *u < 1.0));
        let count = seen.len();
        seen.sort_by(f64::total_cmp);
        seen.dedup();
        assert_eq!(seen.len(), count);
        assert_eq!(first(1, Purpose::Estimate, 2, 3), first(1, Purpose::Estimate, 2, 3));
    }
}

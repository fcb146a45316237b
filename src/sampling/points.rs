//! Where the uniforms of a batch come from.
//!
//! A batch is named, and so are its points: any range of them can be made by itself, in any order and on any
//! thread.

use super::sobol::ScrambledSobol;
use super::{Purpose, mix, open_uniform, stream};
use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};

/// Kind of points that samples are made from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Sampling {
    /// Scrambled Sobol points: each sample is distributed exactly as a random one, but a batch is spread more
    /// evenly, so that means of smooth functions have smaller errors. The samples of a batch are not independent;
    /// different scramblings are.
    #[default]
    QuasiRandom,
    /// Independent points.
    Random,
}

/// The points of one batch.
#[derive(Clone, Debug)]
pub struct Points {
    dimensions: usize,
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    QuasiRandom(ScrambledSobol),
    Random { seed: u64, purpose: Purpose, batch: u64 },
}

impl Points {
    /// The points of the batch of this name. Quasi-random batches are different scramblings of the same sequence.
    pub fn new(
        sampling: Sampling,
        seed: u64,
        purpose: Purpose,
        batch: u64,
        dimensions: usize,
    ) -> Self {
        let source = match sampling {
            Sampling::QuasiRandom => {
                let id = batch.wrapping_mul(8).wrapping_add(purpose as u64);
                // Two rounds: neither neighbouring seeds nor neighbouring batches have related keys.
                Source::QuasiRandom(ScrambledSobol::new(mix(mix(seed) ^ id), dimensions))
            }
            Sampling::Random => Source::Random { seed, purpose, batch },
        };
        Points { dimensions, source }
    }

    /// Points from number `first` on. Random points come in streams of one for each `first`, so that two ranges
    /// that overlap without starting at the same point do not agree.
    pub fn starting_at(&self, first: usize) -> Stream<'_> {
        let state = match &self.source {
            Source::QuasiRandom(sobol) => State::QuasiRandom { sobol, next: first as u64 },
            &Source::Random { seed, purpose, batch } => {
                State::Random(Box::new(stream(seed, purpose, batch, first)))
            }
        };
        Stream { dimensions: self.dimensions, state }
    }
}

/// Consecutive points.
#[derive(Debug)]
pub struct Stream<'a> {
    dimensions: usize,
    state: State<'a>,
}

#[derive(Debug)]
enum State<'a> {
    QuasiRandom { sobol: &'a ScrambledSobol, next: u64 },
    Random(Box<Pcg64>),
}

impl Stream<'_> {
    /// Numbers in a point.
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// Writes the next point, as many numbers in (0, 1) as there are dimensions.
    pub fn next(&mut self, coordinates: &mut [f64]) {
        assert_eq!(coordinates.len(), self.dimensions, "one coordinate a dimension");
        match &mut self.state {
            State::QuasiRandom { sobol, next } => {
                sobol.point(*next, coordinates);
                *next += 1;
            }
            State::Random(rng) => coordinates.fill_with(|| open_uniform(rng)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(sampling: Sampling, seed: u64, purpose: Purpose, batch: u64, start: usize) -> f64 {
        let mut u = [0.0; 3];
        Points::new(sampling, seed, purpose, batch, 3).starting_at(start).next(&mut u);
        u[0]
    }

    #[test]
    fn points_differ_by_every_part_of_their_name() {
        for sampling in [Sampling::QuasiRandom, Sampling::Random] {
            let mut seen = Vec::new();
            for seed in 0..3 {
                for purpose in [Purpose::Training, Purpose::Selection, Purpose::Estimate] {
                    for batch in 0..4 {
                        for start in [0, 32, 64] {
                            seen.push(first(sampling, seed, purpose, batch, start));
                        }
                    }
                }
            }
            let count = seen.len();
            seen.sort_by(f64::total_cmp);
            seen.dedup();
            assert_eq!(seen.len(), count);
            let again = || first(sampling, 1, Purpose::Estimate, 2, 32);
            assert_eq!(again(), again());
        }
    }

    #[test]
    fn quasi_random_ranges_are_parts_of_one_sequence() {
        let points = Points::new(Sampling::QuasiRandom, 3, Purpose::Training, 5, 2);
        let (mut whole, mut part) = (points.starting_at(0), points.starting_at(40));
        let (mut a, mut b) = ([0.0; 2], [0.0; 2]);
        for i in 0..60 {
            whole.next(&mut a);
            if i >= 40 {
                part.next(&mut b);
                assert_eq!(a, b);
            }
        }
    }
}

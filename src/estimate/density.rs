//! One-body density on equal bins.

use crate::math::statistics::Moments;
use crate::system::Sector;

/// Counts particles per bin, for each spin.
#[derive(Clone, Debug)]
pub struct DensityEstimator {
    sector: Sector,
    start: f64,
    width: f64,
    bins: usize,
    samples: usize,
    /// Sums over samples of the count in a bin and of its square, spin up then down.
    sums: Vec<[(f64, f64); 2]>,
    /// Means of the count in a bin over each closed set.
    sets: Vec<[Moments; 2]>,
    scratch: Vec<[f64; 2]>,
}

impl DensityEstimator {
    /// `bins` equal bins from `a` to `b` (bohr); particles beyond, if any, count for the outermost bins.
    pub fn new(sector: Sector, (a, b): (f64, f64), bins: usize) -> Self {
        DensityEstimator {
            sector,
            start: a,
            width: (b - a) / bins as f64,
            bins,
            samples: 0,
            sums: vec![[(0.0, 0.0); 2]; bins],
            sets: vec![[Moments::default(); 2]; bins],
            scratch: vec![[0.0; 2]; bins],
        }
    }

    /// Adds one configuration.
    pub fn push(&mut self, x: &[f64]) {
        self.samples += 1;
        let bin = |v: f64| (((v - self.start) / self.width) as usize).min(self.bins - 1);
        for (i, &v) in x.iter().enumerate() {
            self.scratch[bin(v)][usize::from(i >= self.sector.up)] += 1.0;
        }
        for &v in x {
            let b = bin(v);
            for s in 0..2 {
                let c = std::mem::take(&mut self.scratch[b][s]);
                self.sums[b][s].0 += c;
                self.sums[b][s].1 += c * c;
            }
        }
    }

    /// Ends a set of samples. Sets are independent of each other and count equally, whatever the samples within
    /// them are; where there are any, they alone make the density and its errors.
    pub fn close_set(&mut self) {
        let n = std::mem::take(&mut self.samples) as f64;
        for (sums, sets) in self.sums.iter_mut().zip(&mut self.sets) {
            for (sum, set) in sums.iter_mut().zip(sets) {
                set.push(std::mem::take(sum).0 / n);
            }
        }
    }

    /// Bin edges in bohr.
    pub fn edges(&self) -> Vec<f64> {
        (0..=self.bins).map(|i| self.start + self.width * i as f64).collect()
    }

    /// Density in particles per bohr and its standard error, of spin up (0) or down (1).
    pub fn density(&self, spin: usize) -> Vec<(f64, f64)> {
        if self.sets.first().is_some_and(|s| s[spin].count() > 0) {
            let of = |m: Moments| (m.mean() / self.width, m.standard_error() / self.width);
            return self.sets.iter().map(|s| of(s[spin])).collect();
        }
        let n = self.samples as f64;
        self.sums
            .iter()
            .map(|s| {
                let mean = s[spin].0 / n;
                let variance = (s[spin].1 / n - mean * mean).max(0.0);
                (mean / self.width, (variance / (n - 1.0)).sqrt() / self.width)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integrates_to_the_number_of_particles() {
        let sector = Sector::new(2, 1);
        let mut d = DensityEstimator::new(sector, (-2.0, 2.0), 8);
        d.push(&[-1.9, 0.1, 0.2]);
        d.push(&[0.1, 0.2, 2.0]);
        let total = |s| d.density(s).iter().map(|(v, _)| v * 0.5).sum::<f64>();
        assert!((total(0) - 2.0).abs() < 1e-14 && (total(1) - 1.0).abs() < 1e-14);
        // Counts 1 and 2 in the same bin: mean 1.5, standard error of the mean 0.5.
        let (v, e) = d.density(0)[4];
        assert!((v * 0.5 - 1.5).abs() < 1e-14 && (e * 0.5 - 0.5).abs() < 1e-14);
    }

    #[test]
    fn the_scatter_of_sets_is_the_error() {
        let mut d = DensityEstimator::new(Sector::new(1, 0), (-1.0, 1.0), 2);
        // One in four samples in the right half, then three in four: 0.5 ± 0.25 a bin of length 1.
        for (left, right) in [(3, 1), (1, 3)] {
            (0..left).for_each(|_| d.push(&[-0.5]));
            (0..right).for_each(|_| d.push(&[0.5]));
            d.close_set();
        }
        for (v, e) in d.density(0) {
            assert!((v - 0.5).abs() < 1e-15 && (e - 0.25).abs() < 1e-15, "{v} ± {e}");
        }
    }
}

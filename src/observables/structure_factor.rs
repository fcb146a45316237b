//! The static structure factor `S(k) = < |sum_j exp(i k x_j)|² > / N`.

use super::replicates::Replicates;
use super::{Axis, Observable, Quantity, Sample, Setup};
use crate::math::linalg::EigenFailure;

pub(super) const ABOUT: &str = "static structure factor, with and without the part of the density";

/// Wave numbers: multiples of pi over the length of the interval (of 2 pi on a ring they are every other one).
const POINTS: usize = 81;
/// Largest wave number, in inverse mean distances `N / (2 width)`.
const REACH: f64 = 4.0;

struct StructureFactor {
    k: Vec<f64>,
    particles: f64,
}

pub(super) fn build(setup: &Setup) -> Option<Box<dyn Observable>> {
    let length = setup.window.1 - setup.window.0;
    let particles = setup.sector.particles() as f64;
    // The spacing is commensurate with the interval, so that on a ring every second wave number is an allowed one.
    let unit = std::f64::consts::PI / length;
    let size = if setup.extent > 0.0 { setup.extent } else { length };
    let largest = REACH * 2.0 * std::f64::consts::PI * particles / size;
    let step = (largest / ((POINTS - 1) as f64 * unit)).ceil().max(1.0) * unit;
    Some(Box::new(StructureFactor { k: (0..POINTS).map(|m| m as f64 * step).collect(), particles }))
}

impl Observable for StructureFactor {
    fn length(&self) -> usize {
        3 * POINTS
    }

    fn add(&self, sample: &Sample, sums: &mut [f64]) {
        for (k, sums) in self.k.iter().zip(sums.chunks_exact_mut(3)) {
            let (mut re, mut im) = (0.0, 0.0);
            for x in sample.x {
                let (sin, cos) = (k * x).sin_cos();
                re += cos;
                im += sin;
            }
            sums[0] += re * re + im * im;
            sums[1] += re;
            sums[2] += im;
        }
    }

    fn finish(&self, replicates: &Replicates) -> Result<Vec<Quantity>, EigenFailure> {
        let n = self.particles;
        let whole = replicates.linear(|m| m.chunks_exact(3).map(|m| m[0] / n).collect());
        let connected = replicates.jackknife(|m| {
            m.chunks_exact(3).map(|m| (m[0] - m[1] * m[1] - m[2] * m[2]) / n).collect()
        });
        let axis = || Axis::points("k", "1/bohr", self.k.clone());
        Ok(vec![
            Quantity::new(
                "structure_factor",
                "",
                "S(k) = <|sum_j exp(i k x_j)|²> / N; N at k = 0",
                whole,
            )
            .along(axis()),
            Quantity::new(
                "structure_factor_connected",
                "",
                "S(k) without the Fourier transform of the density, |<sum_j exp(i k x_j)>|² / N; 0 at k = 0",
                connected,
            )
            .along(axis()),
        ])
    }
}

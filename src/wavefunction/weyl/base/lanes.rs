//! Bases at eight configurations side by side: see [`Journey`].

use super::series::Series;
use crate::math::vector::lanes::{LANES, Lanes};
use crate::wavefunction::journey::{Journey, Partials, ZERO};

/// Scratch memory; each base uses its own part.
#[derive(Clone, Debug, Default)]
pub struct BaseLanes {
    /// Orbitals and their first two derivatives at the particles, row-major in (particle, orbital).
    pub(super) orbitals: [Vec<Lanes>; 3],
    pub(super) plain: [Vec<f64>; 4],
    /// Matrices of particles and orbitals.
    pub(super) inverse: Vec<Lanes>,
    pub(super) product: Vec<Lanes>,
    pub(super) pivots: Vec<[usize; LANES]>,
    /// `log |psi_0|` by the angles.
    pub(super) log: Partials,
    /// Determinants of the first 0, 1, .. particles, of spin up and of spin down.
    pub(super) minors: [Vec<Minors>; 2],
    pub(super) sums: Minors,
    pub(super) along: Vec<Lanes>,
    /// Partial sums over products of functions of gaps, and the next ones.
    pub(super) sums_of_gaps: [Vec<Lanes>; 2],
    /// What every gap is, and the power of it that its functions have, with two derivatives.
    pub(super) gaps: Vec<[Lanes; 4]>,
}

/// Functions of the configuration with derivatives in the positions.
#[derive(Clone, Debug, Default)]
pub(super) struct Minors {
    pub(super) value: Vec<Lanes>,
    pub(super) laplacian: Vec<Lanes>,
    /// Row-major, one row a function.
    pub(super) gradient: Vec<Lanes>,
}

impl Minors {
    /// So many functions of `n` positions, zero all over.
    pub(super) fn clear(&mut self, functions: usize, n: usize) {
        for (v, size) in [(&mut self.value, 1), (&mut self.laplacian, 1), (&mut self.gradient, n)] {
            v.clear();
            v.resize(size * functions, ZERO);
        }
    }
}

impl BaseLanes {
    /// Evaluates the functions of a series at some of the particles.
    pub(super) fn evaluate(
        &mut self,
        series: &Series,
        particles: std::ops::Range<usize>,
        journey: &Journey,
    ) {
        let m = series.functions();
        let samples = journey.samples();
        self.plain.iter_mut().for_each(|p| p.resize(m, 0.0));
        self.orbitals.iter_mut().for_each(|o| o.resize(particles.len() * m, ZERO));
        for (row, i) in particles.enumerate() {
            let at = row * m..(row + 1) * m;
            for s in 0..samples {
                series.evaluate(journey.points.value[i][s], 3, &mut self.plain);
                for (orbitals, plain) in self.orbitals.iter_mut().zip(&self.plain) {
                    let orbitals = &mut orbitals[at.clone()];
                    orbitals.iter_mut().zip(plain).for_each(|(o, p)| o[s] = *p);
                }
            }
            for o in self.orbitals.iter_mut().flat_map(|o| &mut o[at.clone()]) {
                let first = o[0];
                o[samples..].fill(first);
            }
        }
    }
}

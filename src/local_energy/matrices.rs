//! The matrices of a batch, and how their rows come to stay where they are written.

use super::Derivatives;
use crate::parallel::SAMPLE_CHUNK;
use crate::wavefunction::Wavefunction;

/// The matrices of a batch with derivatives, `O`, `d E_L / d p` and `d O / d x`, or the places of some of their rows.
///
/// They are by far the largest part of a batch, written where they stay, and their memory serves for the next one.
#[derive(Debug, Default)]
pub(super) struct Matrices<T> {
    pub(super) log_gradient: T,
    pub(super) energy_gradient: T,
    pub(super) mixed: T,
}

/// Memory of a batch that is no longer needed, for the next one: see [`draw_again`](super::draw_again).
#[derive(Debug, Default)]
pub(crate) struct Memory(pub(super) Matrices<Vec<f64>>);

impl Matrices<Vec<f64>> {
    /// With room for so many samples.
    pub(super) fn resize(&mut self, samples: usize, widths: &Matrices<usize>) {
        self.log_gradient.resize(samples * widths.log_gradient, 0.0);
        self.energy_gradient.resize(samples * widths.energy_gradient, 0.0);
        self.mixed.resize(samples * widths.mixed, 0.0);
    }

    /// Places of the samples of each chunk.
    pub(super) fn places(
        &mut self,
        samples: usize,
        widths: &Matrices<usize>,
    ) -> Vec<Matrices<&mut [f64]>> {
        fn split(data: &mut [f64], width: usize) -> impl Iterator<Item = &mut [f64]> {
            // Nothing is found in what was not asked for.
            data.chunks_mut((SAMPLE_CHUNK * width).max(1))
                .chain(std::iter::repeat_with(Default::default))
        }
        let mut log_gradient = split(&mut self.log_gradient, widths.log_gradient);
        let mut energy_gradient = split(&mut self.energy_gradient, widths.energy_gradient);
        let mut mixed = split(&mut self.mixed, widths.mixed);
        let mut place = || {
            Some(Matrices {
                log_gradient: log_gradient.next()?,
                energy_gradient: energy_gradient.next()?,
                mixed: mixed.next()?,
            })
        };
        (0..samples.div_ceil(SAMPLE_CHUNK)).map_while(|_| place()).collect()
    }

    /// Moves the rows of samples that are kept, the first ones of each chunk, together.
    pub(super) fn close_up(&mut self, kept: &[usize], widths: &Matrices<usize>) {
        let close = |data: &mut Vec<f64>, width: usize| {
            let mut end = 0;
            for (chunk, count) in kept.iter().enumerate() {
                let first = chunk * SAMPLE_CHUNK * width;
                if first > end {
                    data.copy_within(first..first + count * width, end);
                }
                end += count * width;
            }
            data.truncate(end);
        };
        close(&mut self.log_gradient, widths.log_gradient);
        close(&mut self.energy_gradient, widths.energy_gradient);
        close(&mut self.mixed, widths.mixed);
    }
}

impl Matrices<usize> {
    /// Numbers of a sample in each.
    pub(super) fn widths(psi: &dyn Wavefunction, derivatives: Derivatives) -> Self {
        let (n, p) = (psi.sector().particles(), psi.parameters().len());
        let of = |wanted: bool, width| if wanted { width } else { 0 };
        let dense = matches!(derivatives, Derivatives::LocalEnergy | Derivatives::Mixed);
        Matrices {
            log_gradient: of(dense, p),
            energy_gradient: of(derivatives == Derivatives::LocalEnergy, p),
            mixed: of(derivatives == Derivatives::Mixed, n * p),
        }
    }
}

impl Matrices<&mut [f64]> {
    /// The row of a sample in each.
    pub(super) fn sample(
        &mut self,
        sample: usize,
        widths: &Matrices<usize>,
    ) -> Matrices<&mut [f64]> {
        fn row(data: &mut [f64], sample: usize, width: usize) -> &mut [f64] {
            &mut data[sample * width..(sample + 1) * width]
        }
        Matrices {
            log_gradient: row(self.log_gradient, sample, widths.log_gradient),
            energy_gradient: row(self.energy_gradient, sample, widths.energy_gradient),
            mixed: row(self.mixed, sample, widths.mixed),
        }
    }

    pub(super) fn are_finite(&self) -> bool {
        // Without an early end: there are many, and nearly all are.
        let finite = |data: &[f64]| data.iter().fold(true, |all, v| all & v.is_finite());
        finite(self.log_gradient) & finite(self.energy_gradient) & finite(self.mixed)
    }
}

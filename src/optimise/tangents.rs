//! Centred quantities of a batch that carries `O` in factored form.
//!
//! With `w` the weights of the samples, of mean 1, the centred rows are `sqrt(w_s) (O_s - mean)`, `mean = O^T w / n`. The
//! mean is subtracted in the space of the samples wherever the result lives there, so that `O` stays in its factors.

use super::{Step, norm};
use crate::local_energy::Batch;
use crate::math::tall::Tall;
use crate::objective::ground_state::Clipped;
use crate::tangent::Tangent;
use faer::Mat;

/// See the module.
pub(super) struct CentredTangent<'a> {
    tangent: &'a Tangent,
    /// Weights and local energies.
    pub(super) clipped: Clipped,
}

impl<'a> CentredTangent<'a> {
    /// See [`Clipped::new`].
    pub(super) fn new(batch: &'a Batch, clip: f64) -> Self {
        CentredTangent { tangent: &batch.tangent, clipped: Clipped::new(batch, clip) }
    }

    /// Number of samples.
    pub(super) fn samples(&self) -> usize {
        self.clipped.weight.len()
    }

    /// Number of parameters.
    pub(super) fn parameters(&self) -> usize {
        self.tangent.parameters()
    }

    fn scale(&self) -> f64 {
        1.0 / self.samples().max(1) as f64
    }

    /// `O^T y / n` of the centred rows.
    pub(super) fn combine(&self, y: &[f64]) -> Vec<f64> {
        let Clipped { weight, root, .. } = &self.clipped;
        let scale = self.scale();
        let sum = root.iter().zip(y).map(|(r, y)| r * y).sum::<f64>() * scale;
        let of = |((r, y), w): ((&f64, &f64), &f64)| (r * y - w * sum) * scale;
        let y: Vec<f64> = root.iter().zip(y).zip(weight).map(of).collect();
        self.tangent.combine(&y)
    }

    /// `F_k = <O_k (E_L - E)>`, half the energy gradient.
    pub(super) fn force(&self) -> Vec<f64> {
        self.combine(&self.clipped.energy)
    }

    /// `O d` of the centred rows.
    pub(super) fn along(&self, d: &[f64]) -> Vec<f64> {
        let mut along = self.tangent.along(d);
        let pairs = along.iter().zip(&self.clipped.weight);
        let mean = pairs.map(|(a, w)| a * w).sum::<f64>() * self.scale();
        along.iter_mut().zip(&self.clipped.root).for_each(|(a, r)| *a = r * (*a - mean));
        along
    }

    /// `O O^T / n` of the centred rows.
    pub(super) fn gram(&self) -> Mat<f64> {
        let Clipped { weight, root, .. } = &self.clipped;
        let (n, scale) = (self.samples(), self.scale());
        let mut gram = self.tangent.gram();
        let mean: Vec<f64> = (0..n)
            .map(|j| gram.col_as_slice(j).iter().zip(weight).map(|(g, w)| g * w).sum::<f64>())
            .map(|sum| sum * scale)
            .collect();
        let whole = mean.iter().zip(weight).map(|(m, w)| m * w).sum::<f64>() * scale;
        for j in 0..n {
            let column = gram.col_as_slice_mut(j);
            for (i, g) in column.iter_mut().enumerate() {
                *g = root[i] * root[j] * scale * (*g - mean[i] - mean[j] + whole);
            }
        }
        gram
    }

    /// The largest diagonal element of `S = O^T O / n` of the centred rows.
    pub(super) fn largest_square(&self) -> f64 {
        let weight: Vec<f64> = self.clipped.weight.iter().map(|w| w * self.scale()).collect();
        let (mean, square) = self.tangent.moments(&weight);
        mean.iter().zip(&square).map(|(m, s)| s - m * m).fold(0.0, f64::max)
    }

    /// The centred rows as a matrix, row-major.
    pub(super) fn dense(&self) -> Vec<f64> {
        let o = self.tangent.dense();
        let rows = self.clipped.centred(&o, self.parameters());
        let mut centred = vec![0.0; o.len()];
        for (s, out) in centred.chunks_exact_mut(self.parameters().max(1)).enumerate() {
            rows.row(s, out);
        }
        centred
    }

    /// `sqrt(d^T S d)` without the matrix.
    fn metric_norm(&self, d: &[f64]) -> f64 {
        let square: f64 = self.along(d).iter().map(|v| v * v).sum();
        (square * self.scale()).sqrt()
    }

    /// A step inside the trust region.
    pub(super) fn finish(
        &self,
        change: Vec<f64>,
        force: &[f64],
        trust_radius: f64,
        tau: f64,
    ) -> Step {
        let step_norm = self.metric_norm(&change);
        Step::within(change, step_norm, norm(force), trust_radius, tau)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local_energy::{self, BatchId, Derivatives};
    use crate::math::{linalg, tall};
    use crate::sampling::{Purpose, Sampling};
    use crate::system::{External, Geometry, Hamiltonian, Interaction, Sector, System};
    use crate::wavefunction::WavefunctionSettings;
    use crate::wavefunction::waveflow::WaveflowSettings;
    use crate::wavefunction::weyl::WeylSettings;

    /// A batch at parameters far from the start, with weights that are not all one.
    fn batch(settings: &WavefunctionSettings, sector: Sector) -> Batch {
        let hamiltonian = Hamiltonian {
            title: String::new(),
            external: External::Nuclei { charges: vec![2.0], positions: vec![0.0], softening: 1.0 },
            interaction: Interaction::SoftCoulomb { strength: 1.0, softening: 1.0 },
        };
        let geometry = Geometry::Box { half_width: 6.0 };
        let system = System { hamiltonian: &hamiltonian, geometry: &geometry };
        let mut psi = settings.build(sector, system, 3).unwrap();
        let parameters = psi.parameters().iter().enumerate();
        let shaken: Vec<f64> =
            parameters.map(|(k, p)| p + 0.2 * (((k * 7919) % 101) as f64 / 50.0 - 1.0)).collect();
        psi.set_parameters(&shaken).unwrap();
        let id = BatchId {
            sampling: Sampling::Random,
            seed: 2,
            purpose: Purpose::Training,
            number: 0,
            first: 0,
            tails: 0.3,
        };
        local_energy::draw(&*psi, system, id, 90, Derivatives::LogPsi)
    }

    #[test]
    fn everything_agrees_with_the_centred_matrix() {
        let waveflow = WavefunctionSettings::Waveflow(WaveflowSettings {
            layers: 2,
            hidden: vec![9, 7],
            ..Default::default()
        });
        let weyl = WavefunctionSettings::Weyl(WeylSettings::default());
        for (settings, up, down) in
            [(&waveflow, 1, 0), (&waveflow, 2, 0), (&waveflow, 3, 1), (&weyl, 1, 1)]
        {
            let batch = batch(settings, Sector::new(up, down));
            let centred = CentredTangent::new(&batch, 5.0);
            let (n, p) = (centred.samples(), centred.parameters());
            assert!(n > 80 && centred.clipped.weight.iter().any(|w| (w - 1.0).abs() > 0.1));
            let o = centred.dense();
            let o = linalg::rows(&o, n, p);
            // The definition of the dense matrix itself.
            let raw = batch.tangent.dense();
            let total: f64 = batch.weight.iter().sum();
            for k in (0..p).step_by(17) {
                let pairs = || batch.weight.iter().zip(raw.iter().skip(k).step_by(p));
                let mean = pairs().map(|(w, o)| w * o).sum::<f64>() / total;
                for (s, (w, raw)) in pairs().enumerate() {
                    let exact = (w * n as f64 / total).sqrt() * (raw - mean);
                    assert!((o[(s, k)] - exact).abs() < 1e-12 * (1.0 + raw.abs()));
                }
            }
            let overlap = tall::gram(&o, 1.0 / n as f64);
            let largest = (0..p).map(|k| overlap[(k, k)]).fold(0.0, f64::max);
            assert!((centred.largest_square() / largest - 1.0).abs() < 1e-10);
            let (gram, exact) = (centred.gram(), tall::gram(&o.transpose(), 1.0 / n as f64));
            let size = (0..n).map(|s| exact[(s, s)]).fold(0.0, f64::max);
            for (s, t) in (0..n).flat_map(|s| (0..n).map(move |t| (s, t))) {
                assert!((gram[(s, t)] - exact[(s, t)]).abs() < 1e-11 * size);
            }
            let y: Vec<f64> = (0..n).map(|s| ((s * 31) % 17) as f64 / 8.0 - 1.0).collect();
            let d: Vec<f64> = (0..p).map(|k| ((k * 37) % 19) as f64 / 9.0 - 1.0).collect();
            let (combined, along) = (centred.combine(&y), centred.along(&d));
            for k in 0..p {
                let exact = (0..n).map(|s| o[(s, k)] * y[s]).sum::<f64>() / n as f64;
                assert!((combined[k] - exact).abs() < 1e-11 * (1.0 + size.sqrt()));
            }
            for s in 0..n {
                let exact: f64 = (0..p).map(|k| o[(s, k)] * d[k]).sum();
                assert!((along[s] - exact).abs() < 1e-11 * (1.0 + size.sqrt() * p as f64));
            }
        }
    }
}

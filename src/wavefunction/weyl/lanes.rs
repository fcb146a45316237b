//! Kinetic local energies of eight configurations side by side: see [`Journey`].

use super::coupling::Coupling;
use super::newton::LaneNewton;
use super::two_body::LaneWaves;
use super::{Trace, Weyl};
use crate::math::log_product::LogProduct;
use crate::math::scalar::{Jet, Scalar};
use crate::math::vector::lanes::{LANES, Lanes, each};
use crate::wavefunction::journey::Journey;
use crate::wavefunction::weyl::base::BaseLanes;
use crate::wavefunction::weyl::layer::LayerTrace;
use std::f64::consts::PI;

/// Intermediate values of a block of configurations.
#[derive(Clone, Debug, Default)]
pub(crate) struct Block {
    pub(super) journey: Journey,
    pub(super) coupling: Coupling,
    pub(super) waves: LaneWaves,
    pub(super) newton: LaneNewton,
    base: BaseLanes,
}

impl Weyl {
    /// Kinetic local energies of as many configurations as `kinetic` has room for, at most [`LANES`]. Layers and bases without a kernel for
    /// eight take one after the other.
    pub(super) fn kinetic_of_block<const N: usize>(
        &self,
        x: &[f64],
        jets: &mut Trace<Jet<N>>,
        block: &mut Block,
        kinetic: &mut [f64],
    ) {
        let n = self.sector.particles();
        let samples = kinetic.len();
        let (scale, origin) = (self.space.scale(), self.space.origin());
        block.journey.clear(n, samples);
        let Trace { angles, layers, base, .. } = jets;
        layers.resize_with(self.layers.len(), LayerTrace::default);
        for (s, x) in x.chunks_exact(n).enumerate() {
            angles.clear();
            let angle = |(i, &x)| (Jet::variable(x, i) - origin) * scale;
            angles.extend(x.iter().enumerate().map(angle));
            block.journey.put(s, angles, Jet::zero());
        }
        block.journey.fill();
        for (layer, trace) in self.layers.iter().zip(layers) {
            if layer.lanes(block) {
                continue;
            }
            for s in 0..samples {
                let mut det = LogProduct::new(0.0);
                block.journey.get(s, angles);
                layer.forward(angles, false, trace, &mut det);
                block.journey.put(s, angles, det.ln() * 0.5);
            }
            block.journey.fill();
        }
        if !self.base.lanes(&mut block.journey, &mut block.base) {
            for s in 0..samples {
                block.journey.get(s, angles);
                let (log, _) = self.base.forward(angles, false, base);
                block.journey.add_log_of(s, log);
            }
        }
        for (s, kinetic) in kinetic.iter_mut().enumerate() {
            *kinetic = block.journey.kinetic(s);
        }
    }
}

/// Of eight angles, the start of the turn that each is in: whole turns are where a map begins anew.
#[inline(always)]
pub(super) fn turns(t: &Lanes) -> Lanes {
    if t.iter().all(|t| t.abs() < PI) {
        return [0.0; LANES];
    }
    each(|s| if t[s].abs() < PI { 0.0 } else { 2.0 * PI * (t[s] / (2.0 * PI)).round() })
}

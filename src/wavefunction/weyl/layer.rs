//! The layers of the Weyl flow: a file each, and an entry each in the list of this one.

use super::back::Back;
use super::circle::{CircleLayer, CircleTrace};
use super::lanes::Block;
use super::monotone::{self, MonotoneLayer, MonotoneTrace};
use super::pair::{self, PairLayer, PairSpace, PairTrace};
use super::two_body::{self, TwoBodyLayer, TwoBodyTrace};
use super::{OneBody, WeylSettings};
use crate::math::log_product::LogProduct;
use crate::math::scalar::Scalar;
use crate::math::vector::lanes::Lanes;
use crate::system::Sector;
use crate::wavefunction::WavefunctionError;
use serde::{Deserialize, Serialize};

/// What layers are made from, one after the other.
pub(super) struct Making<'a> {
    pub(super) settings: &'a WeylSettings,
    pub(super) sector: Sector,
    pub(super) one_body: OneBody,
    /// Whether the particles live on a ring.
    pub(super) ring: bool,
    pub(super) pair_cells: usize,
    /// Distances as they are, and in the mean-field coordinate.
    pub(super) physical: PairSpace,
    pub(super) spread: PairSpace,
    /// Those at this place of the flow.
    pub(super) pairs: PairSpace,
}

/// What the number of parameters depends on.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Components that have particles.
    pub spins: usize,
    /// Kinds of pairs: of equal spins, of opposite ones.
    pub pairs: usize,
    /// Cells of a monotone map.
    pub monotone_cells: usize,
    /// Cells of a pair displacement.
    pub pair_cells: usize,
    /// Waves of a two-body field in each coordinate.
    pub two_body_functions: usize,
}

/// What there is to know of a kind of layer.
pub struct Kind {
    /// Makes one.
    pub(super) build: fn(&mut Making) -> Result<Layer, WavefunctionError>,
    /// Number of parameters; not fewer than it will have.
    pub parameters: fn(&Sizes) -> usize,
    /// Whether it has cells that can be halved.
    pub refines: bool,
    /// Whether it knows more than two components.
    pub many: bool,
}

/// Writes [`LayerKind`], the layers and their traces from a list of both.
///
/// A layer has `parameters`, `set_parameters`, `refine`, `roughness`, `forward`, `lanes`, `backward` and `inverse`.
macro_rules! layers {
    (
        $($field:ident: $name:ident($layer:ty, $($trace:ident)::+)
            { $($(#[$doc:meta])* $kind:ident = $about:path,)* })*
    ) => {
        /// One layer of the flow.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum LayerKind {
            $($($(#[$doc])* $kind,)*)*
        }

        impl LayerKind {
            /// All there are.
            pub const ALL: &[LayerKind] = &[$($(LayerKind::$kind,)*)*];

            /// What there is to know of it.
            pub fn about(self) -> &'static Kind {
                match self {
                    $($(LayerKind::$kind => &$about,)*)*
                }
            }
        }

        #[derive(Clone, Debug)]
        pub(super) enum Layer {
            $($name($layer),)*
        }

        /// Intermediate values of one layer; each kind uses its own part.
        #[derive(Clone, Debug, Default)]
        pub(super) struct LayerTrace<T> {
            $($field: $($trace)::+<T>,)*
        }

        impl Layer {
            pub(super) fn parameters(&self) -> usize {
                match self { $(Layer::$name(l) => l.parameters(),)* }
            }

            pub(super) fn set_parameters(&mut self, parameters: &[f64]) {
                match self { $(Layer::$name(l) => l.set_parameters(parameters),)* }
            }

            /// Halves the cells of the layer's splines and returns its parameters.
            pub(super) fn refine(&mut self) -> Vec<f64> {
                match self { $(Layer::$name(l) => l.refine(),)* }
            }

            /// Linear forms of the layer's parameters whose squares measure roughness.
            pub(super) fn roughness(&self) -> Vec<Vec<(usize, f64)>> {
                match self { $(Layer::$name(l) => l.roughness(),)* }
            }

            pub(super) fn forward<T: Scalar>(
                &self,
                angles: &mut [T],
                reverse: bool,
                trace: &mut LayerTrace<T>,
                det: &mut LogProduct<T>,
            ) {
                match self { $(Layer::$name(l) => l.forward(angles, reverse, &mut trace.$field, det),)* }
            }

            /// [`Self::forward`] for eight configurations; false where there is no kernel for them.
            pub(super) fn lanes(&self, block: &mut Block) -> bool {
                match self { $(Layer::$name(l) => l.lanes(block),)* }
            }

            pub(super) fn backward<T: Scalar>(
                &self,
                bar: &mut [T],
                trace: &mut LayerTrace<T>,
                out: &mut [T],
            ) {
                // psi carries the square root of the determinant.
                const LOG_DET_BAR: f64 = 0.5;
                match self { $(Layer::$name(l) => l.backward(bar, LOG_DET_BAR, &mut trace.$field, out),)* }
            }

            /// Undoes the layer for eight configurations.
            pub(super) fn inverse(&self, angles: &mut [Lanes], back: &mut Back) {
                match self { $(Layer::$name(l) => l.inverse(angles, back),)* }
            }
        }
    };
}

layers! {
    monotone: Monotone(MonotoneLayer, MonotoneTrace) {
        /// S: a trainable monotone map of every coordinate.
        Monotone = monotone::TRAINABLE,
        /// s0: the fixed map to the cumulative mean-field density, where knots are spread as the particles are.
        ToMeanField = monotone::TO_MEAN_FIELD,
        /// The inverse of s0.
        FromMeanField = monotone::FROM_MEAN_FIELD,
    }
    circle: Circle(CircleLayer, CircleTrace) {}
    pair: Pair(Box<PairLayer>, PairTrace) {
        /// P: a pair displacement from configurations to the base. Stretches distances freely.
        Pair = pair::STRAIGHT,
        /// P in the other direction: a pair displacement from the base to configurations. Contracts distances
        /// freely, and so digs correlation holes of any depth.
        PairInverse = pair::INVERSE,
    }
    two_body: TwoBody(TwoBodyLayer, TwoBodyTrace) {
        /// F: a general two-body displacement field.
        TwoBody = two_body::FIELD,
    }
}

//! B-, I- and O-splines on `[0, 1]`, reflected circular splines on `[0, pi]`, and periodic ones on the whole circle.
//!
//! Values and derivatives come from the Cox–de Boor recurrence on the non-zero functions: no tables and
//! no interpolation, so that a derivative is the derivative of the value to machine precision.

pub mod bspline;
mod cells;
pub mod circular;
pub mod constraint;
pub mod ispline;
pub mod lanes;
pub mod ospline;
pub mod periodic;
pub mod pieces;
pub mod rational;
pub mod short_range;
mod subdivision;

pub use bspline::{BSplineBasis, LocalBasis};
pub use circular::CircularSpline;
pub use constraint::{BoundaryConditions, ConstrainedBasis};
pub use ispline::MonotoneBasis;
pub use lanes::LaneBasis;
pub use ospline::{OSplineBasis, Orthogonalisation};
pub use periodic::PeriodicSpline;
pub use pieces::Pieces;
pub use rational::RationalBasis;
pub use short_range::ShortRange;

/// Why a spline basis cannot be built.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SplineError {
    /// The degree must be at least one.
    #[error("spline degree must be at least 1, found {0}")]
    Degree(usize),
    /// Knots must be at least two, finite and strictly increasing.
    #[error("spline knots must be at least two, finite and strictly increasing")]
    Knots,
    /// A boundary condition on a derivative the spline does not have, or given twice.
    #[error(
        "boundary condition on derivative {order}: must be unique and at most the degree {degree}"
    )]
    Condition {
        /// Order of the derivative in the condition.
        order: usize,
        /// Degree of the spline.
        degree: usize,
    },
    /// More boundary conditions than coefficients leave no free function.
    #[error("{conditions} boundary conditions leave none of {functions} functions free")]
    Overdetermined {
        /// Number of conditions.
        conditions: usize,
        /// Number of functions of the basis.
        functions: usize,
    },
}

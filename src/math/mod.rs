//! Mathematics with no physics in it: differentiable scalars, quadrature, splines.

pub mod quadrature;
pub mod scalar;
pub mod spline;

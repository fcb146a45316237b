//! Mathematics with no physics in it: differentiable scalars, linear algebra, quadrature, splines, moments.

pub mod gamma;
pub mod linalg;
pub mod log_product;
#[cfg(test)]
pub(crate) mod nested;
pub mod piecewise;
pub mod quadrature;
pub mod scalar;
pub mod small_matrix;
pub mod spline;
pub mod statistics;
pub(crate) mod tall;
pub mod vector;

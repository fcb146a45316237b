//! Means, variances and error bars of independent samples.

pub mod density;
pub mod rayleigh;
pub mod statistics;

pub use density::DensityEstimator;
pub use rayleigh::{RayleighQuotient, rayleigh_quotient};
pub use statistics::Moments;

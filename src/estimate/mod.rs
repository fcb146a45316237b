//! Means, variances and error bars of independent samples.

pub mod density;
pub mod statistics;

pub use density::DensityEstimator;
pub use statistics::Moments;

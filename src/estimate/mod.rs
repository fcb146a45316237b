//! Means, variances and error bars.

pub mod density;
pub mod energy;
mod ensemble;
pub mod free_energy;
pub mod health;
pub mod judge;
pub mod rayleigh;
mod samples;
pub mod spectrum;
pub mod student;

pub use density::DensityEstimator;
pub use energy::{EnergyEstimate, Gain};
pub use judge::{Check, Drift, Evidence, Exact, Scale, Tails, Verdict, judge};
pub(crate) use rayleigh::contact_energy;
pub use rayleigh::rayleigh_quotient;
pub(crate) use samples::final_batches;
pub use samples::{GroundStateEstimate, estimate, estimate_until, round_trip};
pub use student::gaussian_bars;

//! Why there is no projected energy, or no projection.

use crate::math::linalg::EigenFailure;

/// Why there is no projected energy.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// Nearly nowhere a local energy.
    #[error("the guide has no sensible local energy nearly everywhere")]
    NoSense,
    /// The power of the distance that psi has is not that of the ground state.
    #[error(
        "the local energy of the guide diverges like {coefficient:.3}/d² where particles meet: psi has not the power of the distance that \
         the ground state has, and the variance of the weights is infinite"
    )]
    Contact {
        /// Coefficient, in Hartree bohr².
        coefficient: f64,
    },
    /// A guide that has nodes where the ground state has none.
    #[error(
        "the guide vanishes where opposite spins meet, and the ground state does not: no walker would learn of it"
    )]
    NodeBetweenOppositeSpins,
    /// A guide that changes its sign.
    #[error(
        "the guide changes its sign among configurations of one order, where the ground state does not: a share of {share:.1e} beyond its \
         nodes, which may hide up to {bound:.1e} Ha"
    )]
    Nodes {
        /// Share of `|psi|²` on the smaller side.
        share: f64,
        /// By the kinetic energy, in Hartree.
        bound: f64,
    },
    /// The moves know neither the cusp of a contact interaction nor more than two components.
    #[error(
        "the moves of a projection are those of free particles of two spins, which know neither the cusp of a contact interaction \
         nor more components"
    )]
    Cusp,
    /// Local energies are right in the mean over the guide alone.
    #[error(
        "the slope of the guide has kinks (bijection: RationalQuadratic), where its local energy is infinite: its mean over walkers, which \
         leave the guide's distribution, is not an energy"
    )]
    Kinks,
    /// No step is short enough.
    #[error(
        "no step is short enough: of steps of {step:.1e} only a share of {acceptance:.3} is accepted"
    )]
    Step {
        /// The shortest step.
        step: f64,
        /// Share that is accepted.
        acceptance: f64,
    },
    /// The shortest features of the guide ask for more steps than are sensible.
    #[error(
        "the guide has nodes, and one without has valleys in their place so narrow that steps of {step:.1e} are needed, {count} of them"
    )]
    Work {
        /// Length of a step.
        step: f64,
        /// Steps of all walkers.
        count: usize,
    },
    /// Steps that no imaginary time explains.
    #[error("the time step is too long: walkers go farther than the exact process ever does")]
    Clock,
    /// Few paths carry all of the weight.
    #[error(
        "few paths carry the weight: an effective share of {share:.3} (at least {least}) after beta = {beta:.3}; the guide is too far from the \
         ground state"
    )]
    Weights {
        /// Effective share.
        share: f64,
        /// The least.
        least: f64,
        /// Length of the projection.
        beta: f64,
    },
    /// The error of the time step is larger than the error bar.
    #[error(
        "the time step is too long: twice of it moves the correction by {change:.1e} ± {error:.1e} Ha"
    )]
    Quadrature {
        /// Change of the correction.
        change: f64,
        /// Its standard error.
        error: f64,
    },
    /// Local energies beyond the cap of the action matter.
    #[error(
        "local energies so far from the mean that the action leaves them out matter: {excess:.1e} Ha of the mean"
    )]
    Cap {
        /// What is left out of the mean.
        excess: f64,
    },
    /// Walkers and exact samples disagree about the guide.
    #[error(
        "walkers and exact samples disagree about the energy of the guide, by {deviation:.1e} ± {error:.1e} Ha"
    )]
    Drift {
        /// Mean over the walks minus that of the samples.
        deviation: f64,
        /// Its standard error.
        error: f64,
    },
    /// One walker carries the correction.
    #[error("one walker carries {part:.1e} Ha of a correction of {correction:.1e} Ha")]
    Walker {
        /// Its part.
        part: f64,
        /// The correction.
        correction: f64,
    },
    /// The correction still grows.
    #[error(
        "no plateau: the last doubling, to beta = {beta:.3}, still lowers the energy by {fall:.1e} ± {error:.1e} Ha"
    )]
    NoPlateau {
        /// Length of the projection.
        beta: f64,
        /// What the last doubling brought.
        fall: f64,
        /// Its standard error.
        error: f64,
    },
    /// A number that is none.
    #[error("the correction is not a number")]
    NotANumber,
}

/// Why a projection ended before its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProjectError {
    /// The caller wanted no more.
    #[error("interrupted")]
    Interrupted,
    /// An observable that is none.
    #[error("`{name}` is no observable of a projection; there are: {all}")]
    Observable {
        /// The name.
        name: String,
        /// All names.
        all: String,
    },
    /// A state of another projection.
    #[error("the state is one of another projection")]
    State,
    /// Observables that are not finite.
    #[error(transparent)]
    Eigen(#[from] EigenFailure),
}

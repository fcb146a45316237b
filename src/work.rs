//! How much arithmetic a run is, as counts that depend on its spec and nothing else.
//!
//! Each thread counts for itself, without atomics; [`crate::parallel`] and [`crate::team`] hand what a task counted
//! to whoever asked for the task. The thread that runs a training so ends up with all of it, and the numbers are
//! the same for any number of threads and processes.

use serde::{Deserialize, Serialize};
use std::cell::Cell;

/// Counts of the operations that cost the time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Work {
    /// Local energies, with or without derivatives with respect to the parameters.
    pub local_energies: u64,
    /// Points at which a spline was looked up: B-splines on a span, circular and short-range splines.
    pub spline_evaluations: u64,
    /// Steps of Newton's method in inverses of layers, coordinates and cumulative distributions.
    pub newton_iterations: u64,
    /// Cholesky and LU factorisations of an optimiser's matrices, failed ones included.
    pub factorisations: u64,
}

impl Work {
    /// Of no work at all.
    pub const NONE: Self =
        Work { local_energies: 0, spline_evaluations: 0, newton_iterations: 0, factorisations: 0 };

    /// The work of one thing after another.
    pub fn and(self, other: Self) -> Self {
        Work {
            local_energies: self.local_energies + other.local_energies,
            spline_evaluations: self.spline_evaluations + other.spline_evaluations,
            newton_iterations: self.newton_iterations + other.newton_iterations,
            factorisations: self.factorisations + other.factorisations,
        }
    }
}

// One cell a count: a kernel touches eight bytes that are its thread's own.
thread_local! {
    static LOCAL_ENERGIES: Cell<u64> = const { Cell::new(0) };
    static SPLINE_EVALUATIONS: Cell<u64> = const { Cell::new(0) };
    static NEWTON_ITERATIONS: Cell<u64> = const { Cell::new(0) };
    static FACTORISATIONS: Cell<u64> = const { Cell::new(0) };
}

/// One more local energy.
#[inline]
pub(crate) fn local_energy() {
    LOCAL_ENERGIES.set(LOCAL_ENERGIES.get() + 1);
}

/// One more point of a spline.
#[inline]
pub(crate) fn spline() {
    SPLINE_EVALUATIONS.set(SPLINE_EVALUATIONS.get() + 1);
}

/// Some more points of splines.
#[inline]
pub(crate) fn splines(count: usize) {
    SPLINE_EVALUATIONS.set(SPLINE_EVALUATIONS.get() + count as u64);
}

/// One more step of Newton's method.
#[inline]
pub(crate) fn newton() {
    NEWTON_ITERATIONS.set(NEWTON_ITERATIONS.get() + 1);
}

/// Some more steps of Newton's method.
#[inline]
pub(crate) fn newtons(count: usize) {
    NEWTON_ITERATIONS.set(NEWTON_ITERATIONS.get() + count as u64);
}

/// One more factorisation.
#[inline]
pub(crate) fn factorisation() {
    FACTORISATIONS.set(FACTORISATIONS.get() + 1);
}

/// Replaces the counts of this thread and returns what they were.
fn replace(new: Work) -> Work {
    Work {
        local_energies: LOCAL_ENERGIES.replace(new.local_energies),
        spline_evaluations: SPLINE_EVALUATIONS.replace(new.spline_evaluations),
        newton_iterations: NEWTON_ITERATIONS.replace(new.newton_iterations),
        factorisations: FACTORISATIONS.replace(new.factorisations),
    }
}

/// Adds to the counts of this thread what another one did for it.
pub(crate) fn add(done: Work) {
    replace(replace(Work::NONE).and(done));
}

/// Makes the counts of this thread go on from there.
pub fn start_from(work: Work) {
    replace(work);
}

/// What this thread has counted, with what others did for it.
pub fn so_far() -> Work {
    let work = replace(Work::NONE);
    replace(work);
    work
}

/// What `task` returns and the work in it, which this thread's counts do not keep.
///
/// Tasks may nest, as they do where a thread that waits takes up another task.
pub fn counted<R>(task: impl FnOnce() -> R) -> (R, Work) {
    let before = replace(Work::NONE);
    let result = task();
    (result, replace(before))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parallel;

    #[test]
    fn counts_reach_the_thread_that_asked_once_each() {
        let ((), all) = counted(|| {
            spline();
            let inner = parallel::map_chunks(100, 7, |_, range| {
                range.for_each(|_| newton());
                // A task within a task.
                parallel::map_chunks(5, 1, |_, _| local_energy());
                counted(factorisation).1.factorisations
            });
            assert_eq!(inner, [1; 15]);
            parallel::for_each_piece(&mut [0; 10], 3, |_, piece| {
                piece.iter().for_each(|_| factorisation());
            });
        });
        let expected = Work {
            local_energies: 75,
            spline_evaluations: 1,
            newton_iterations: 100,
            factorisations: 10,
        };
        assert_eq!(all, expected);
    }
}

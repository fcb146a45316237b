//! Who watches a run, and may end it.

use crate::local_energy::Batch;
use crate::store::record::IterationRow;

/// What a run tells while it goes on.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A sentence.
    Message(&'a str),
    /// An iteration was done, of so many at most.
    Iteration(&'a IterationRow, usize),
    /// There are no more iterations.
    Trained,
    /// Samples of the final estimate, and the number of the set that they belong to.
    Samples(usize, &'a Batch),
    /// A part of the work with a name begins that is no iteration.
    Phase(&'a str),
    /// What that part does now.
    Note(&'a str),
    /// How much of what it may do is done, from 0 to 1.
    Share(f64),
    /// That part has ended.
    PhaseEnded,
}

/// Hears the news of a run. `()` does not listen.
pub trait Observer {
    /// Hears of something.
    fn hear(&mut self, _event: Event<'_>) {}

    /// Whether the run shall end: asked after every iteration, and a few times a second in longer parts.
    fn stops(&self) -> bool {
        false
    }
}

impl Observer for () {}

impl<O: Observer + ?Sized> Observer for &mut O {
    fn hear(&mut self, event: Event<'_>) {
        (**self).hear(event);
    }

    fn stops(&self) -> bool {
        (**self).stops()
    }
}

/// An observer that shows every row of `energy.csv` to a closure, and never ends the run.
pub fn each_iteration(show: impl FnMut(&IterationRow)) -> impl Observer {
    Iterations(show)
}

struct Iterations<F>(F);

impl<F: FnMut(&IterationRow)> Observer for Iterations<F> {
    fn hear(&mut self, event: Event<'_>) {
        if let Event::Iteration(row, _) = event {
            (self.0)(row);
        }
    }
}

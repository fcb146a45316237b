//! How much work a calculation may still do, and whether anybody still waits for it.

use super::{ExactError, News};
use std::ops::ControlFlow;

/// What long calculations ask before each piece of work, often enough to stop within a second.
pub(crate) trait Watch {
    /// Before `work` more floating-point operations: an error ends the calculation.
    fn spend(&mut self, work: f64) -> Result<(), ExactError>;
    /// Before work that is not counted, such as the densities of a result that is there.
    fn look(&mut self) -> Result<(), ExactError>;
    /// News for whoever waits; what they answer is heard at the next piece of work.
    fn tell(&mut self, step: &News);
}

/// Counts work against a limit and asks the caller's `progress` whether to go on. Work, not time, so that
/// what is found within the limit does not depend on the machine.
pub(crate) struct Meter<'a> {
    progress: &'a mut dyn FnMut(&News) -> ControlFlow<()>,
    spent: f64,
    limit: f64,
    interrupted: bool,
}

impl<'a> Meter<'a> {
    pub(crate) fn new(progress: &'a mut dyn FnMut(&News) -> ControlFlow<()>, limit: f64) -> Self {
        Meter { progress, spent: 0.0, limit, interrupted: false }
    }
}

impl Watch for Meter<'_> {
    fn spend(&mut self, work: f64) -> Result<(), ExactError> {
        let needed = self.spent + work;
        if needed > self.limit {
            return Err(ExactError::Work { needed, limit: self.limit });
        }
        self.spent = needed;
        self.look()
    }

    fn look(&mut self) -> Result<(), ExactError> {
        self.tell(&News::Work { done: self.spent, limit: self.limit });
        if self.interrupted { Err(ExactError::Interrupted) } else { Ok(()) }
    }

    fn tell(&mut self, step: &News) {
        self.interrupted |= (self.progress)(step).is_break();
    }
}

/// Nobody waits and nothing is limited.
pub(crate) struct Unwatched;

impl Watch for Unwatched {
    fn spend(&mut self, _: f64) -> Result<(), ExactError> {
        Ok(())
    }

    fn look(&mut self) -> Result<(), ExactError> {
        Ok(())
    }

    fn tell(&mut self, _: &News) {}
}

/// Work for a result that is there, which is not counted any more.
pub(crate) struct Finishing<'a>(pub(crate) &'a mut dyn Watch);

impl Watch for Finishing<'_> {
    fn spend(&mut self, _: f64) -> Result<(), ExactError> {
        self.0.look()
    }

    fn look(&mut self) -> Result<(), ExactError> {
        self.0.look()
    }

    fn tell(&mut self, step: &News) {
        self.0.tell(step);
    }
}

/// A little work of its own for what completes a result that is there, when all that was allowed is spent.
pub(crate) struct Allowance<'a> {
    pub(crate) watch: &'a mut dyn Watch,
    /// Floating-point operations that are left.
    pub(crate) left: f64,
}

impl Watch for Allowance<'_> {
    fn spend(&mut self, work: f64) -> Result<(), ExactError> {
        if work > self.left {
            return Err(ExactError::Work { needed: work, limit: self.left });
        }
        self.left -= work;
        self.watch.look()
    }

    fn look(&mut self) -> Result<(), ExactError> {
        self.watch.look()
    }

    fn tell(&mut self, step: &News) {
        self.watch.tell(step);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_and_an_interruption_end_the_work() {
        let mut go_on = |_: &News| ControlFlow::Continue(());
        let mut meter = Meter::new(&mut go_on, 10.0);
        assert_eq!(meter.spend(6.0), Ok(()));
        let refused = meter.spend(6.0);
        assert_eq!(refused, Err(ExactError::Work { needed: 12.0, limit: 10.0 }));
        // Work that was refused is not spent: a smaller piece still fits.
        assert_eq!(meter.spend(4.0), Ok(()));
        assert_eq!(meter.look(), Ok(()));
        // What completes a result has an allowance of its own.
        let mut little = Allowance { watch: &mut meter, left: 3.0 };
        assert_eq!(little.spend(2.0), Ok(()));
        assert_eq!(little.spend(2.0), Err(ExactError::Work { needed: 2.0, limit: 1.0 }));
        let mut stop = |_: &News| ControlFlow::Break(());
        let mut meter = Meter::new(&mut stop, 10.0);
        assert_eq!(meter.spend(1.0), Err(ExactError::Interrupted));
    }
}

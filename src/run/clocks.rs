//! The clocks of a run. No number of its result depends on them.

use crate::team;
use cpu_time::ProcessTime;
use std::time::Instant;

/// The clocks of this process and of those it leads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clocks {
    wall: Instant,
    processor: ProcessTime,
}

impl Clocks {
    pub(super) fn start() -> Self {
        Clocks { wall: Instant::now(), processor: ProcessTime::now() }
    }

    /// Seconds since the start.
    pub(super) fn wall(&self) -> f64 {
        self.wall.elapsed().as_secs_f64()
    }

    /// Processor seconds since the start, over all processes.
    pub(super) fn processor(&self) -> f64 {
        let others = team::current().map_or(0.0, |team| team.processor_seconds());
        self.processor.elapsed().as_secs_f64() + others
    }
}

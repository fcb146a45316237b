//! Results from the units of the system to bohr and Hartree.

use super::watch::Watch;
use super::{ConvergenceRow, Density, ExactError, ExactResult, GroundState, Iteration, News};
use crate::system::{Frame, Geometry};

fn geometry(frame: &Frame, geometry: Geometry) -> Geometry {
    match geometry {
        Geometry::Box { half_width } => Geometry::Box { half_width: half_width * frame.length },
        Geometry::Line => Geometry::Line,
        Geometry::Ring { circumference } => {
            Geometry::Ring { circumference: circumference * frame.length }
        }
    }
}

fn row(frame: &Frame, row: &ConvergenceRow, particles: usize) -> ConvergenceRow {
    let unit = frame.length * frame.length;
    ConvergenceRow {
        length: row.length * frame.length,
        energy: frame.energy_out(row.energy, particles),
        change: row.change.map(|c| c / unit),
        ..row.clone()
    }
}

/// Who watches a calculation in the units of the system hears of it in bohr and Hartree.
pub(super) struct InUnits<'a> {
    pub(super) watch: &'a mut dyn Watch,
    pub(super) frame: Frame,
    pub(super) particles: usize,
}

impl Watch for InUnits<'_> {
    fn spend(&mut self, work: f64) -> Result<(), ExactError> {
        self.watch.spend(work)
    }

    fn look(&mut self) -> Result<(), ExactError> {
        self.watch.look()
    }

    fn tell(&mut self, news: &News) {
        self.watch.tell(&step(&self.frame, news, self.particles));
    }
}

/// News of a calculation in the units of the system.
fn step(frame: &Frame, news: &News, particles: usize) -> News {
    let unit = frame.length * frame.length;
    match news {
        News::Row(r) => News::Row(row(frame, r, particles)),
        News::Iteration(i) => News::Iteration(Iteration {
            energy: frame.energy_out(i.energy, particles),
            residual: i.residual / unit,
            target: i.target / unit,
            ..*i
        }),
        other => other.clone(),
    }
}

/// A failure of a calculation in the units of the system.
pub(super) fn error(frame: &Frame, error: ExactError) -> ExactError {
    match error {
        ExactError::Unbound { half_width, change } => ExactError::Unbound {
            half_width: half_width * frame.length,
            change: change / (frame.length * frame.length),
        },
        other => other,
    }
}

fn density(frame: &Frame, density: &mut Density) {
    let a = frame.length;
    density.x.iter_mut().for_each(|x| *x = frame.origin + a * *x);
    density.up.iter_mut().chain(&mut density.down).for_each(|n| *n /= a);
}

fn ground_state(frame: &Frame, mut ground: GroundState) -> GroundState {
    let a = frame.length;
    let place = |x: &mut f64| *x = frame.origin + a * *x;
    self::density(frame, &mut ground.density);
    if let Some(pairs) = &mut ground.pair_density {
        pairs.x.iter_mut().for_each(place);
        pairs.values.iter_mut().for_each(|n| *n /= a * a);
    }
    if let Some(entanglement) = &mut ground.entanglement {
        entanglement.x.iter_mut().for_each(place);
    }
    if let Some(state) = &mut ground.state {
        state.frame = *frame;
    }
    ground
}

/// A result in the units of the system, in bohr and Hartree.
pub(super) fn result(frame: &Frame, mut r: ExactResult) -> ExactResult {
    if *frame == Frame::ATOMIC {
        return r;
    }
    let unit = frame.length * frame.length;
    let particles = r.sector.particles();
    let offset = particles as f64 * frame.energy;
    r.energies.iter_mut().for_each(|e| *e = frame.energy_out(*e, particles));
    // Of the sum with an offset no more digits are left than it has.
    let rounding = f64::EPSILON * offset.abs();
    r.error_estimates.iter_mut().for_each(|e| *e = *e / unit + rounding);
    let budget = &mut r.error_budget;
    for part in [
        &mut budget.functions,
        &mut budget.quadrature,
        &mut budget.orbitals,
        &mut budget.walls,
        &mut budget.solver,
    ] {
        *part /= unit;
    }
    budget.solver += rounding;
    for part in
        [&mut r.components.kinetic, &mut r.components.external, &mut r.components.interaction]
    {
        *part /= unit;
    }
    r.components.external += offset;
    r.convergence = r.convergence.iter().map(|x| row(frame, x, particles)).collect();
    r.geometry = r.geometry.map(|g| geometry(frame, g));
    r.centre = frame.origin;
    r.excited_densities.iter_mut().for_each(|d| density(frame, d));
    r.ground_state = match r.ground_state {
        Ok(ground) => Ok(ground_state(frame, ground)),
        Err(e) => Err(error(frame, e)),
    };
    r
}

//! The Gibbs ensembles of a sector: what a run at temperatures trains, estimates, checks and keeps.

use super::super::reference::{asked, thermal_until};
use super::super::{Course, DENSITY_BINS, Event, Observer, RunError};
use super::checks::{check, deviation, left_out};
use super::{
    EnsembleOutcome, EnsembleRun, EnsembleSummary, INTERRUPTED, Record, Watched, goes_on,
    of_ensemble, without,
};
use crate::estimate::Check;
use crate::estimate::free_energy::estimate;
use crate::exact::ExactError;
use crate::exact::thermal::{ThermalOptions, ThermalResult};
use crate::local_energy::Fault;
use crate::optimise::OptimiserSettings;
use crate::report::escape::one_line;
use crate::spec::ReferenceSource;
use crate::store::checkpoint::Done;
use crate::store::ensemble::{Densities, Measured, Thermal};
use crate::store::saved::SavedWavefunction;
use crate::system::System;
use crate::train::TrainingState;
use crate::train::free_energy::FreeEnergy;
use crate::wavefunction::WavefunctionSettings;
use crate::wavefunction::weyl::ensemble::GibbsStates;
use crate::work::{self, Work};
use std::collections::VecDeque;

/// What a temperature adds to a run.
struct Point {
    checks: Vec<Check>,
    densities: Densities,
    faults: Vec<Fault>,
}

/// Most states of the reference at a temperature, and its error to aim at.
const REFERENCE_STATES: usize = 2400;
const REFERENCE_TOLERANCE: f64 = 1e-6;

impl EnsembleRun {
    /// The Gibbs ensembles, each from the flow of the one before.
    pub(super) fn thermal(
        self,
        mut course: Course,
        observer: &mut dyn Observer,
        mut record: Option<&mut Record>,
    ) -> Result<EnsembleOutcome, RunError> {
        let Some(temperature) = &self.spec.temperature else {
            return Err(RunError::Ensemble("the spec asks for no temperature".to_owned()));
        };
        let all = temperature.kt.all();
        let mut summary = self.summary("temperature");
        let mut checks = Vec::new();
        let (mut densities, mut faults) = (Densities::default(), Vec::new());
        work::start_from(Work::NONE);
        // Where the run goes on, the trainings that have ended are found as they were.
        let mut waiting: VecDeque<Done> = std::mem::take(&mut course.done).into();
        let current = Done { training: course.training.clone(), work: course.work };
        waiting.push_back(current);
        for (index, &kt) in all.iter().enumerate() {
            if index > 0 {
                let training = std::mem::replace(&mut course.training, TrainingState::unbegun());
                course.done.push(Done { training, work: course.work });
            }
            let begun = waiting.pop_front();
            let begun =
                begun.unwrap_or(Done { training: TrainingState::unbegun(), work: Work::NONE });
            let found =
                self.at(kt, begun, &mut summary, &mut course, observer, record.as_deref_mut())?;
            if all.len() > 1 {
                summary.sweep.extend(summary.thermal.clone());
                let named = |c: Check| Check { detail: format!("kT = {kt}: {}", c.detail), ..c };
                checks.extend(found.checks.into_iter().map(named));
            } else {
                checks = found.checks;
            }
            densities.edges = found.densities.edges;
            densities.curves = found.densities.curves;
            faults.extend(found.faults);
        }
        faults.truncate(64);
        let earlier = course.done.iter().map(|d| d.training.parameters.clone()).collect();
        let saved = SavedWavefunction::of_several(&self.spec, earlier, &summary.values);
        self.outcome(summary, checks, course, densities, faults, saved)
    }

    /// The Gibbs ensemble at a temperature, whose numbers go into the summary.
    fn at(
        &self,
        kt: f64,
        begun: Done,
        summary: &mut EnsembleSummary,
        course: &mut Course,
        observer: &mut dyn Observer,
        record: Option<&mut Record>,
    ) -> Result<Point, RunError> {
        let spec = &self.spec;
        let system = System { hamiltonian: &spec.hamiltonian, geometry: &spec.geometry };
        let WavefunctionSettings::Weyl(weyl) = &spec.wavefunction else {
            return Err(RunError::Ensemble("a temperature needs the wavefunction Weyl".to_owned()));
        };
        let mut states = GibbsStates::new(weyl, spec.sector, system, kt)?;
        if states.parameters().len() == summary.values.len() {
            states.set_parameters(&summary.values)?;
        }
        observer.hear(Event::Message(&format!(
            "{}: kT = {kt} Ha, {} states over a configuration interaction in {} orbitals, {} parameters",
            one_line(&spec.title),
            states.energies.len(),
            states.orbitals,
            states.parameters().len()
        )));
        let schedule = spec.schedule();
        let done: usize = course.done.iter().map(|d| d.training.iteration).sum();
        let optimiser = OptimiserSettings::RayleighGaussNewton(self.settings()).build();
        let before = work::so_far();
        work::start_from(begun.work);
        course.work = begun.work;
        let few = self.comparison();
        let score = |objective: &FreeEnergy, observer: &dyn Observer| {
            let found = estimate(&objective.states, system, &few, 1, || goes_on(observer));
            let found = found.map_err(of_ensemble)?;
            // With the excess over the Gibbs state that the variance tells: the mean of few samples alone is noise.
            Ok(found.free_energy.0 + found.variance / (2.0 * kt))
        };
        let mut objective = FreeEnergy::new(states, system, optimiser);
        let start = self.start.as_deref().filter(|_| summary.values.is_empty());
        let watched = Watched { observer, record, course, failed: None };
        let stopped =
            self.trained(&mut objective, begun.training, (start, &score), done, watched)?;
        let states = objective.states;
        work::start_from(before.and(course.work));
        let found = estimate(&states, system, &schedule, DENSITY_BINS, || goes_on(observer));
        let found = found.map_err(of_ensemble)?;
        summary.work = work::so_far();
        let exact = match spec.reference {
            ReferenceSource::Exact => match self.exact_thermal(kt, observer)? {
                Ok(exact) => {
                    let error = exact.error_estimates.free_energy;
                    self.certain(found.kinetic, error, summary, observer).then_some(exact)
                }
                Err(why) => {
                    summary.no_reference = Some(why);
                    None
                }
            },
            _ => None,
        };
        type Part = fn(&crate::exact::thermal::Functions) -> f64;
        let measured = |(value, standard_error): (f64, f64), part: Part| Measured {
            value,
            standard_error,
            reference: exact.as_ref().map(|r| part(&r.functions)),
            reference_error: exact.as_ref().map(|r| part(&r.error_estimates)),
        };
        let thermal = Thermal {
            kt,
            free_energy: measured(found.free_energy, |f| f.free_energy),
            energy: measured(found.energy, |f| f.energy),
            entropy: measured((found.entropy, 0.0), |f| f.entropy),
            heat_capacity: measured(found.heat_capacity, |f| f.heat_capacity),
            variance: found.variance,
            excess: found.variance / (2.0 * kt),
            truncation: states.truncation,
            probabilities: states
                .energies
                .iter()
                .copied()
                .zip(states.probabilities.iter().copied())
                .take(100)
                .collect(),
            occupations: states.occupations.clone(),
            source: exact.as_ref().map(|r| r.method.clone()),
        };
        let particles = spec.sector.particles() as f64;
        let mut checks = vec![left_out(found.rejected, found.samples)];
        self.flow_checks(&mut checks, &[&states.state(0)]);
        let unit = found.kinetic.max(f64::MIN_POSITIVE) / particles;
        // What the free energy is about too high by, against what it is known to.
        let limit = 1e-2 * unit.min(kt.max(1e-3 * unit));
        checks.push(check(
            ("excess", "Close to the Gibbs state", "Far from the Gibbs state"),
            thermal.excess,
            limit,
            false,
            format!(
                "The variance of the local free energy says that F is about {:.1e} Ha too high (at most {limit:.1e}).",
                thermal.excess
            ),
        ));
        checks.push(check(
            ("truncation", "Enough states", "Too few states"),
            thermal.truncation,
            limit,
            false,
            format!(
                "The last enlargement of the space of base states lowered F by {:.1e} Ha (at most {limit:.1e}).",
                thermal.truncation
            ),
        ));
        let m = &thermal.free_energy;
        if let Some(reference) = m.reference {
            let error = m.standard_error.hypot(m.reference_error.unwrap_or(0.0));
            let off = m.value - reference;
            checks.push(deviation("The free energy", off, error, found.sets, unit));
        }
        summary.base = vec![crate::exact::thermal::Functions::of(&states.energies, kt).free_energy];
        summary.orbitals = states.orbitals;
        summary.samples += found.samples;
        summary.sets = found.sets;
        summary.values = states.parameters().to_vec();
        summary.parameters = summary.values.len();
        summary.iterations += course.training.iteration;
        summary.stopped = stopped;
        summary.rejected_samples += found.rejected;
        summary.rejected_in_training += course.training.rejected;
        summary.thermal = Some(thermal);
        let [up, down] = found.density;
        let curves = [("up", up, spec.sector.up), ("down", down, spec.sector.down)];
        let curves = curves.into_iter().filter(|c| c.2 > 0).map(|c| (c.0.to_owned(), c.1));
        let densities = Densities { edges: found.edges, curves: curves.collect() };
        Ok(Point { checks, densities, faults: found.faults })
    }

    fn exact_thermal(
        &self,
        kt: f64,
        observer: &mut dyn Observer,
    ) -> Result<Result<ThermalResult, String>, RunError> {
        observer.hear(Event::Phase("exact free energy for comparison"));
        let (task, _) = asked(&self.spec, 1);
        let options = ThermalOptions {
            states: REFERENCE_STATES,
            tolerance: REFERENCE_TOLERANCE,
            ..ThermalOptions::at(kt)
        };
        let solved = thermal_until(&task, &options, None, &|| observer.stops())?;
        observer.hear(Event::PhaseEnded);
        match solved {
            Ok(result) => Ok(Ok(result)),
            Err(ExactError::Interrupted) => Err(INTERRUPTED),
            Err(error) => Ok(Err(without(error, observer))),
        }
    }
}

//! The lowest states of a sector: what a run of them trains, estimates, checks and keeps.

use super::super::reference::{asked, solve_until};
use super::super::{Course, DENSITY_BINS, Event, Observer, RunError};
use super::checks::{check, deviation, left_out};
use super::{
    EnsembleOutcome, EnsembleRun, INTERRUPTED, Record, Watched, goes_on, of_ensemble, without,
};
use crate::estimate::judge::VARIANCE;
use crate::estimate::spectrum::estimate;
use crate::exact::{ExactError, ExactResult};
use crate::report::escape::one_line;
use crate::spec::ReferenceSource;
use crate::store::ensemble::{Densities, Gap, Level, StateRow, Transition};
use crate::store::saved::SavedWavefunction;
use crate::system::{Geometry, System};
use crate::train::spectrum::Spectrum;
use crate::wavefunction::WavefunctionSettings;
use crate::wavefunction::weyl::ensemble::LowestStates;
use crate::work;

impl EnsembleRun {
    /// The lowest states.
    pub(super) fn states(
        self,
        mut course: Course,
        observer: &mut dyn Observer,
        record: Option<&mut Record>,
    ) -> Result<EnsembleOutcome, RunError> {
        let spec = &self.spec;
        let system = System { hamiltonian: &spec.hamiltonian, geometry: &spec.geometry };
        let WavefunctionSettings::Weyl(weyl) = &spec.wavefunction else {
            return Err(RunError::Ensemble("states need the wavefunction Weyl".to_owned()));
        };
        let Some(asked) = &spec.states else {
            return Err(RunError::Ensemble("the spec asks for no states".to_owned()));
        };
        let weights = asked.weights.of(asked.count);
        let states = LowestStates::new(weyl, spec.sector, system, &weights)?;
        observer.hear(Event::Message(&format!(
            "{}: {} states over a configuration interaction in {} orbitals, {} parameters",
            one_line(&spec.title),
            asked.count,
            states.orbitals,
            states.parameters().len()
        )));
        let schedule = spec.schedule();
        work::start_from(course.work);
        let few = self.comparison();
        let score = |objective: &Spectrum, observer: &dyn Observer| {
            let found = estimate(&objective.states, system, &few, 1, || goes_on(observer));
            let found = found.map_err(of_ensemble)?;
            Ok(weights.iter().zip(&found.energies).map(|(w, e)| w * e.0).sum())
        };
        let mut objective = Spectrum::new(states, system, &weights, self.settings());
        let begun = course.training.clone();
        let start = self.start.as_deref();
        let watched = Watched { observer, record, course: &mut course, failed: None };
        let stopped = self.trained(&mut objective, begun, (start, &score), 0, watched)?;
        let states = objective.states;
        let found = estimate(&states, system, &schedule, DENSITY_BINS, || goes_on(observer));
        let found = found.map_err(of_ensemble)?;
        // What follows are checks of the result, no part of it.
        let mut summary = self.summary("states");
        let exact = match spec.reference {
            ReferenceSource::Exact => match self.exact_states(asked.count, observer)? {
                Ok(exact) => {
                    let (kinetic, error) = (exact.components.kinetic, exact.error_estimates[0]);
                    self.certain(kinetic, error, &mut summary, observer).then_some(exact)
                }
                Err(why) => {
                    summary.no_reference = Some(why);
                    None
                }
            },
            _ => None,
        };
        let k = asked.count;
        for (q, &(energy, error)) in found.energies.iter().enumerate() {
            let level = exact.as_ref().and_then(|r| Some((r, *r.energies.get(q)?)));
            summary.states.push(StateRow {
                energy,
                standard_error: error,
                variance: found.variances[q],
                reference: level.map(|(r, exact)| Level {
                    energy: exact,
                    error_estimate: r.error_estimates.get(q).copied(),
                    source: r.method.clone(),
                    deviation: energy - exact,
                }),
                gap: Gap { energy: found.gaps[q].0, standard_error: found.gaps[q].1 },
            });
        }
        // On a ring `sum x` is no observable.
        let ring = matches!(spec.geometry, Geometry::Ring { .. });
        for from in 0..if ring { 0 } else { k } {
            for to in from + 1..k {
                let (dipole, dipole_error) = found.dipoles[from * k + to];
                let gap = found.energies[to].0 - found.energies[from].0;
                summary.transitions.push(Transition {
                    from,
                    to,
                    dipole,
                    dipole_error,
                    oscillator_strength: 2.0 * gap * dipole * dipole,
                });
            }
        }
        if !ring {
            summary.dipoles = (0..k).map(|q| found.dipoles[q * k + q]).collect();
        }
        summary.base = states.energies.clone();
        summary.orbitals = states.orbitals;
        (summary.samples, summary.sets) = (found.samples, found.sets);
        summary.values = states.parameters().to_vec();
        summary.parameters = summary.values.len();
        (summary.iterations, summary.stopped) = (course.training.iteration, stopped);
        summary.rejected_samples = found.rejected;
        summary.rejected_in_training = course.training.rejected;
        let particles = spec.sector.particles() as f64;
        let mut checks = vec![left_out(found.rejected, found.samples)];
        checks.push(check(
            ("overlap", "States are orthonormal", "States are not orthonormal"),
            if found.overlap.1 < 1e-9 { 0.0 } else { found.overlap.0 },
            // The largest of many, with few degrees of freedom.
            12.0,
            true,
            format!(
                "The sampled overlaps are those of orthonormal states to {:.1} standard errors ({:.1e}).",
                found.overlap.0, found.overlap.1
            ),
        ));
        self.flow_checks(&mut checks, &[&states.states[0], &states.states[k - 1]]);
        for (q, s) in summary.states.iter().enumerate() {
            let kinetic = found.kinetic[q].max(f64::MIN_POSITIVE);
            let score = particles * s.variance / (kinetic * kinetic);
            checks.push(check(
                ("variance", "State is close to an eigenstate", "State is far from an eigenstate"),
                score,
                VARIANCE,
                false,
                format!("State {q}: N variance / T² = {score:.1e} (at most {VARIANCE})."),
            ));
            if let Some(r) = &s.reference {
                let error = s.standard_error.hypot(r.error_estimate.unwrap_or(0.0));
                checks.push(deviation(
                    &format!("State {q}"),
                    r.deviation,
                    error,
                    found.sets,
                    kinetic / particles,
                ));
            }
        }
        let by_spin = |(name, [up, down]): (String, [Vec<f64>; 2])| {
            [
                (format!("up_{name}"), up, spec.sector.up),
                (format!("down_{name}"), down, spec.sector.down),
            ]
            .into_iter()
            .filter(|c| c.2 > 0)
            .map(|c| (c.0, c.1))
        };
        let states_named = (0..k).map(|q| q.to_string()).zip(found.densities);
        let densities = Densities {
            edges: found.edges.clone(),
            curves: states_named.flat_map(by_spin).collect(),
        };
        let pairs = (0..k).flat_map(|q| (q + 1..k).map(move |r| format!("{q}_{r}")));
        let transition_densities = Densities {
            edges: found.edges,
            curves: pairs.zip(found.transition_densities).flat_map(by_spin).collect(),
        };
        let mut saved = SavedWavefunction::of_several(spec, Vec::new(), states.parameters());
        saved.rotation = found.rotation;
        let outcome = self.outcome(summary, checks, course, densities, found.faults, saved)?;
        Ok(EnsembleOutcome { transition_densities, ..outcome })
    }

    fn exact_states(
        &self,
        count: usize,
        observer: &mut dyn Observer,
    ) -> Result<Result<ExactResult, String>, RunError> {
        let (task, options) = asked(&self.spec, count);
        observer.hear(Event::Phase("exact energies for comparison"));
        let solved = solve_until(&task, &options, None, &|| observer.stops(), &mut |_| {})?;
        observer.hear(Event::PhaseEnded);
        match solved {
            Ok(result) => Ok(Ok(result)),
            Err(ExactError::Interrupted) => Err(INTERRUPTED),
            Err(error) => Ok(Err(without(error, observer))),
        }
    }
}

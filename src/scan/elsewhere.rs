//! What a finished scan says at values that are not among its points.

use super::slope::{Ground, Slopes};
use super::{Conditional, Scan, ScanError, files};
use crate::run::{Observer, Run, RunError, is_of_several};
use crate::spec::{Family, ResolvedSpec, SpecError};
use crate::store::files::{FileError, names, read_text};
use crate::store::record::Summary;
use crate::store::saved::SavedWavefunction;
use crate::store::scan::Slope;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// The results at some values.
#[derive(Clone, Debug)]
pub struct Elsewhere {
    /// The values of the scanned parameters.
    pub values: Vec<(String, f64)>,
    /// The numbers of a run there.
    pub summary: Summary,
    /// Slope of the energy with respect to each scanned parameter.
    pub slopes: Vec<Option<Slope>>,
    /// Where the state comes from, in words.
    pub from: String,
}

/// Why there are none.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ElsewhereError {
    /// No folder of a scan.
    #[error("`{}` is not the folder of a scan: it has no {}", folder.display(), files::SCAN)]
    NoScan {
        /// The folder.
        folder: PathBuf,
    },
    /// Not what a scan leaves.
    #[error("`{}`: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Values for other parameters, or none.
    #[error("the scan in `{}` is over {scanned}: give a value for each, found {given}", folder.display())]
    Parameters {
        /// The folder.
        folder: PathBuf,
        /// The parameters of the scan.
        scanned: String,
        /// Those that were given.
        given: String,
    },
    /// A value that the scan says nothing about.
    #[error("{name} = {value} is outside of the scan, which goes from {low} to {high}")]
    Outside {
        /// The parameter.
        name: String,
        /// Its value.
        value: f64,
        /// The lowest value of the scan.
        low: f64,
        /// The highest.
        high: f64,
    },
    /// Levels and free energies are those of the points.
    #[error("the scan in `{}` is of several states or of a temperature: it has no numbers between its points", folder.display())]
    Several {
        /// The folder.
        folder: PathBuf,
    },
    /// No state to start from.
    #[error("no point of the scan in `{}` has a state yet", folder.display())]
    NoState {
        /// The folder.
        folder: PathBuf,
    },
    /// The spec at the values.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// What was trained for all points.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// Files of a point.
    #[error(transparent)]
    Read(#[from] FileError),
    /// The estimate.
    #[error(transparent)]
    Run(#[from] RunError),
}

/// The part of `scan.json` that makes a scan again.
#[derive(Deserialize)]
struct Kept {
    spec: Vec<String>,
    parameters: Vec<(String, f64)>,
}

impl Scan {
    /// The scan that a folder holds, from what it was asked for.
    ///
    /// # Errors
    /// [`ElsewhereError`].
    pub fn read(folder: &Path) -> Result<Self, ElsewhereError> {
        super::replace::settle(folder)?;
        let path = folder.join(files::SCAN);
        if std::fs::symlink_metadata(&path).is_err() {
            return Err(ElsewhereError::NoScan { folder: folder.to_owned() });
        }
        let kept: Kept = serde_json::from_str(&read_text(&path)?).map_err(|error| {
            ElsewhereError::File { path: path.clone(), problem: error.to_string() }
        })?;
        let family = Family::from_texts(&kept.spec, &path, &kept.parameters)?;
        let problem = "it holds a spec without a scan".to_owned();
        Scan::new(family).ok_or(ElsewhereError::File { path, problem })
    }

    /// Energy and slope at values within the scan that a folder holds: by the series that was trained for all of them, or, where every point was trained
    /// for itself, with the trained parameters of the nearest point over the base of the values. Nothing is written.
    ///
    /// # Errors
    /// [`ElsewhereError`].
    pub fn elsewhere(
        &self,
        folder: &Path,
        values: &[(String, f64)],
        observer: &mut dyn Observer,
    ) -> Result<Elsewhere, ElsewhereError> {
        let values = self.within(folder, values)?;
        let family = self.family.at(&values)?;
        let mut spec = family.spec_to_train()?;
        if is_of_several(&spec) {
            return Err(ElsewhereError::Several { folder: folder.to_owned() });
        }
        let words: Vec<String> = values.iter().map(|(n, v)| format!("{n} = {v}")).collect();
        spec.title += &format!(", {}", words.join(", "));
        let conditional = Conditional::read(folder)?;
        let (spec, parameters, refinements, from) = match &conditional {
            Some(conditional) => {
                let Some(series) = &conditional.series else {
                    return Err(ElsewhereError::NoState { folder: folder.to_owned() });
                };
                let parameters = series.at(values[0].1);
                let trained = conditional.nodes.contains(&values[0].1);
                let from = match trained {
                    true => "from the series, at a value that was trained at",
                    false => "from the series, at a value that was never trained at",
                };
                (conditional.spec_for(spec), parameters, 0, from.to_owned())
            }
            None => {
                let (at, saved) = self.nearest(folder, &values)?;
                let from = format!(
                    "with the trained parameters of the nearest point, {}, over the base of this value: expect less than from a point \
                     of its own",
                    self.points[at].words()
                );
                let ResolvedSpec { title, hamiltonian, geometry, reference, .. } = spec;
                let spec = ResolvedSpec { title, hamiltonian, geometry, reference, ..saved.spec };
                (spec, saved.parameters, saved.refinements, from)
            }
        };
        let run = Run::held(spec, None, refinements, &parameters)?;
        let spec = run.spec().clone();
        let mut slopes = Slopes::new(&spec, &family, &values, observer);
        let outcome = run.train(&mut slopes)?.estimate()?;
        let ground = Ground::of(
            &outcome.summary,
            outcome.reference_density.as_ref(),
            outcome.reference_pairs.as_ref(),
        );
        let slopes = slopes.found(outcome.wavefunction(), ground);
        Ok(Elsewhere { slopes, summary: outcome.summary, values, from })
    }

    /// The values in the order of the scan's parameters, each within its range.
    fn within(
        &self,
        folder: &Path,
        given: &[(String, f64)],
    ) -> Result<Vec<(String, f64)>, ElsewhereError> {
        let scanned = self.parameters();
        let mut values = Vec::new();
        for name in &scanned {
            let mut found = given.iter().filter(|(n, _)| n == name);
            let (Some((name, value)), None) = (found.next(), found.next()) else { break };
            values.push((name.clone(), *value));
        }
        if values.len() != scanned.len() || given.len() != scanned.len() {
            let names: Vec<&str> = given.iter().map(|(n, _)| n.as_str()).collect();
            return Err(ElsewhereError::Parameters {
                folder: folder.to_owned(),
                scanned: scanned.join(" and "),
                given: names.join(", "),
            });
        }
        for (i, (name, value)) in values.iter().enumerate() {
            // A series says nothing beyond what it was trained for.
            let (low, high) = match &self.training {
                Some(training) => (training.range.low, training.range.high),
                None => self.extent(i),
            };
            if !(low..=high).contains(value) {
                return Err(ElsewhereError::Outside {
                    name: name.clone(),
                    value: *value,
                    low,
                    high,
                });
            }
        }
        Ok(values)
    }

    /// The lowest and the highest value of a parameter.
    fn extent(&self, parameter: usize) -> (f64, f64) {
        let all = || self.points.iter().map(|p| p.values[parameter].1);
        (all().fold(f64::INFINITY, f64::min), all().fold(f64::NEG_INFINITY, f64::max))
    }

    /// The nearest point with a state, distances in units of the ranges.
    fn nearest(
        &self,
        folder: &Path,
        values: &[(String, f64)],
    ) -> Result<(usize, SavedWavefunction), ElsewhereError> {
        let distance = |index: usize| -> f64 {
            let of = |i: usize| {
                let (low, high) = self.extent(i);
                let width = if high > low { high - low } else { 1.0 };
                ((self.points[index].values[i].1 - values[i].1) / width).powi(2)
            };
            (0..values.len()).map(of).sum()
        };
        let mut order: Vec<usize> = (0..self.points.len()).collect();
        order.sort_by(|a, b| distance(*a).total_cmp(&distance(*b)));
        for index in order {
            let path = self.folder_of(folder, &self.points[index]).join(names::WAVEFUNCTION);
            if std::fs::symlink_metadata(&path).is_err() {
                continue;
            }
            let saved = SavedWavefunction::from_json(&read_text(&path)?);
            let saved = saved.map_err(|error| ElsewhereError::File {
                path: path.clone(),
                problem: error.to_string(),
            })?;
            return Ok((index, saved));
        }
        Err(ElsewhereError::NoState { folder: folder.to_owned() })
    }
}

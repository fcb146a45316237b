//! Trained parameters together with all that is needed to build the wavefunction again.

use crate::spec::ResolvedSpec;
use crate::system::System;
use crate::wavefunction::weyl::ensemble::{GibbsStates, LowestStates};
use crate::wavefunction::{Wavefunction, WavefunctionError, WavefunctionSettings};
use serde::{Deserialize, Serialize};

/// Version of the file format, and of what the parameters mean: pairs between walls have ended otherwise since 2.
const FORMAT: u32 = 2;

/// The content of a `wavefunction` file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedWavefunction {
    format: u32,
    version: String,
    /// The run that made the parameters.
    pub spec: ResolvedSpec,
    /// How many times the cells of its splines were halved.
    #[serde(default)]
    pub refinements: usize,
    /// Of a sweep the parameters at the temperatures before the last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<Vec<f64>>,
    /// Of several states the superpositions that were found, in columns: a square matrix, row-major.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rotation: Vec<f64>,
    /// The one of them that is meant.
    #[serde(skip)]
    pub state: Option<usize>,
    /// The variational parameters.
    pub parameters: Vec<f64>,
}

/// Why a `wavefunction` file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SavedError {
    /// Not the JSON of a wavefunction.
    #[error("not a wavefunction file: {0}")]
    Json(#[from] serde_json::Error),
    /// Written by a version with another format.
    #[error("the wavefunction file has format {found}, this version reads format {FORMAT}")]
    Format {
        /// Format of the file.
        found: u32,
    },
    /// A spec that breaks a bound.
    #[error("the spec inside the wavefunction file is not valid: {0}")]
    Spec(#[from] crate::spec::validate::Violation),
    /// Parameters that do not fit the spec.
    #[error(transparent)]
    Wavefunction(#[from] WavefunctionError),
    /// More refinements than the spec asks for.
    #[error("the wavefunction file has {found} refinements, its spec asks for {most}")]
    Refinements {
        /// What the spec asks for.
        most: usize,
        /// What the file has.
        found: usize,
    },
    /// A state has to be chosen.
    #[error("the wavefunction of {count} states: choose one, from 0 to {}", count - 1)]
    OneOfSeveral {
        /// How many there are.
        count: usize,
    },
    /// There is no such state.
    #[error("there is one state, 0, and no state {asked}")]
    OnlyOne {
        /// The one that was asked for.
        asked: usize,
    },
    /// A temperature has no one wavefunction.
    #[error("the states of a temperature, of which there is no one wavefunction")]
    Mixture,
    /// A parameter that is not finite.
    #[error("parameter {index} of the wavefunction file is not finite")]
    NotFinite {
        /// Index of the parameter.
        index: usize,
    },
}

impl SavedWavefunction {
    /// Takes the parameters of a wavefunction that was built from `spec` and refined so many times.
    pub fn new(spec: &ResolvedSpec, psi: &dyn Wavefunction, refinements: usize) -> Self {
        SavedWavefunction {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            spec: spec.clone(),
            refinements,
            earlier: Vec::new(),
            rotation: Vec::new(),
            state: None,
            parameters: psi.parameters().to_vec(),
        }
    }

    /// The parameters that several states share; of a sweep those at the temperatures before as well.
    pub fn of_several(spec: &ResolvedSpec, earlier: Vec<Vec<f64>>, parameters: &[f64]) -> Self {
        SavedWavefunction {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            spec: spec.clone(),
            refinements: 0,
            earlier,
            rotation: Vec::new(),
            state: None,
            parameters: parameters.to_vec(),
        }
    }

    /// Whether these are parameters of several states, of which there is no one wavefunction.
    pub fn is_of_several(&self) -> bool {
        self.spec.is_of_several()
    }

    /// The one of several states that is meant, by its number from 0; or the only one, which is 0 or has no number.
    ///
    /// # Errors
    /// [`SavedError::OneOfSeveral`], [`SavedError::OnlyOne`], [`SavedError::Mixture`].
    pub fn one(mut self, state: Option<usize>) -> Result<Self, SavedError> {
        let count = self.spec.states.as_ref().map_or(1, |s| s.count);
        if self.spec.temperature.is_some() {
            return Err(SavedError::Mixture);
        }
        if !self.is_of_several() {
            return match state {
                Some(asked @ 1..) => Err(SavedError::OnlyOne { asked }),
                _ => Ok(self),
            };
        }
        match state {
            Some(k) if k < count => {
                self.state = state;
                Ok(self)
            }
            _ => Err(SavedError::OneOfSeveral { count }),
        }
    }

    /// The text of the file; numbers read back as the same bits.
    ///
    /// # Errors
    /// [`SavedError::NotFinite`], because JSON has no such numbers.
    pub fn to_json(&self) -> Result<String, SavedError> {
        let all = self.earlier.iter().flatten().chain(&self.rotation).chain(&self.parameters);
        if let Some(index) = all.clone().position(|p| !p.is_finite()) {
            return Err(SavedError::NotFinite { index });
        }
        Ok(serde_json::to_string(self)?)
    }

    /// Reads the text of a file and checks it.
    ///
    /// # Errors
    /// See [`SavedError`].
    pub fn from_json(text: &str) -> Result<Self, SavedError> {
        let mut saved: SavedWavefunction = serde_json::from_str(text)?;
        // Before there was such a power it was one, whatever the default of a spec is.
        if let WavefunctionSettings::Waveflow(settings) = &mut saved.spec.wavefunction
            && !text.contains("\"valley_power\"")
        {
            settings.valley_power = 1.0;
        }
        if saved.format != FORMAT {
            return Err(SavedError::Format { found: saved.format });
        }
        saved.spec.validate()?;
        let (most, found) = (saved.spec.refinements, saved.refinements);
        if found > most {
            return Err(SavedError::Refinements { most, found });
        }
        Ok(saved)
    }

    /// A number that tells this wavefunction from others, as 16 hexadecimal digits: of the system, the settings and
    /// the bits of the parameters, and of nothing that the state does not depend on (titles, numbers of samples).
    ///
    /// # Errors
    /// [`SavedError::Json`], which plain data have no way to cause.
    pub fn fingerprint(&self) -> Result<String, SavedError> {
        let ResolvedSpec { hamiltonian, sector, geometry, wavefunction, .. } = &self.spec;
        let state =
            (&hamiltonian.external, &hamiltonian.interaction, sector, geometry, wavefunction);
        let mut text = serde_json::to_vec(&(state, self.refinements))?;
        if self.is_of_several() {
            let asked = (&self.spec.states, &self.spec.temperature, &self.rotation, self.state);
            text.extend(serde_json::to_vec(&asked)?);
        }
        let parameters = self.earlier.iter().flatten().chain(&self.parameters);
        let parameters = parameters.flat_map(|p| p.to_bits().to_le_bytes());
        // G. Fowler, L. C. Noll, K.-P. Vo, D. Eastlake, RFC 9923: FNV-1a of 64 bits.
        let hash =
            text.into_iter().chain(parameters).fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
        Ok(format!("{hash:016x}"))
    }

    /// Builds the wavefunction with its trained parameters.
    ///
    /// # Errors
    /// [`WavefunctionError`] when the parameters do not fit.
    pub fn build(&self) -> Result<Box<dyn Wavefunction>, WavefunctionError> {
        let system = System { hamiltonian: &self.spec.hamiltonian, geometry: &self.spec.geometry };
        if self.is_of_several() {
            return self.build_one_of_several(system);
        }
        let mut psi = self.spec.wavefunction.build(self.spec.sector, system, self.spec.seed)?;
        (0..self.refinements).for_each(|_| psi.refine());
        psi.set_parameters(&self.parameters)?;
        Ok(psi)
    }
}

impl SavedWavefunction {
    /// Builds the states of a temperature with their probabilities and the trained flow; of a sweep that at one of its temperatures.
    ///
    /// # Errors
    /// [`WavefunctionError::Several`] where there is no temperature, [`WavefunctionError::Temperature`] where it is none of the
    /// sweep, and whatever building the states meets.
    pub fn gibbs(&self, kt: Option<f64>) -> Result<GibbsStates, WavefunctionError> {
        let (Some(asked), WavefunctionSettings::Weyl(weyl)) =
            (&self.spec.temperature, &self.spec.wavefunction)
        else {
            return Err(WavefunctionError::Several);
        };
        let all = asked.kt.all();
        let close = |t: &f64, kt: f64| (t - kt).abs() <= 1e-9 * kt.abs();
        let found = match kt {
            Some(kt) => all.iter().position(|t| close(t, kt)),
            None => (all.len() == 1).then_some(0),
        };
        let Some(index) = found else {
            return Err(WavefunctionError::Temperature { asked: kt, all });
        };
        let system = System { hamiltonian: &self.spec.hamiltonian, geometry: &self.spec.geometry };
        let mut states = GibbsStates::new(weyl, self.spec.sector, system, all[index])?;
        states.set_parameters(self.earlier.get(index).unwrap_or(&self.parameters))?;
        Ok(states)
    }

    fn build_one_of_several(
        &self,
        system: System,
    ) -> Result<Box<dyn Wavefunction>, WavefunctionError> {
        let (Some(state), Some(asked), WavefunctionSettings::Weyl(weyl)) =
            (self.state, &self.spec.states, &self.spec.wavefunction)
        else {
            return Err(WavefunctionError::Several);
        };
        let count = asked.count;
        if self.spec.temperature.is_some() || state >= count {
            return Err(WavefunctionError::Several);
        }
        if self.rotation.len() != count * count {
            let (expected, found) = (count * count, self.rotation.len());
            return Err(WavefunctionError::Parameters { expected, found });
        }
        let weights = asked.weights.of(count);
        let mut states = LowestStates::new(weyl, self.spec.sector, system, &weights)?;
        states.set_parameters(&self.parameters)?;
        Ok(Box::new(states.turned(&self.rotation, state)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: &str = r#"(
        title: "two",
        hamiltonian: Inline(external: Harmonic(frequency: 1.0), interaction: SoftCoulomb()),
        sector: (up: 2), geometry: Box(half_width: 8.0), refinements: 1,
    )"#;

    #[test]
    fn a_saved_wavefunction_is_the_same_bits() {
        let spec = crate::spec::read::parse(SPEC, std::path::Path::new("two.ron")).unwrap();
        let system = System { hamiltonian: &spec.hamiltonian, geometry: &spec.geometry };
        let mut psi = spec.wavefunction.build(spec.sector, system, 3).unwrap();
        let moved: Vec<f64> =
            psi.parameters().iter().enumerate().map(|(i, p)| p + (i as f64).sin() / 3.0).collect();
        psi.set_parameters(&moved).unwrap();
        psi.refine();
        let text = SavedWavefunction::new(&spec, psi.as_ref(), 1).to_json().unwrap();
        let again = SavedWavefunction::from_json(&text).unwrap().build().unwrap();
        assert_eq!(again.parameters(), psi.parameters());
        let x = [-0.7, 1.1];
        assert_eq!(again.evaluator().log_psi(&x), psi.evaluator().log_psi(&x));
        // The fingerprint is that of the state: titles and samples are none of it, the last bit of a parameter is.
        let mut saved = SavedWavefunction::from_json(&text).unwrap();
        let fingerprint = saved.fingerprint().unwrap();
        saved.spec.title.push('!');
        saved.spec.hamiltonian.title.push('!');
        saved.spec.final_samples *= 2;
        assert_eq!(saved.fingerprint().unwrap(), fingerprint);
        saved.parameters[1] = saved.parameters[1].next_up();
        assert_ne!(saved.fingerprint().unwrap(), fingerprint);
        assert!(
            SavedWavefunction::from_json(&text.replace("\"format\":2", "\"format\":9")).is_err()
        );
        assert!(
            SavedWavefunction::from_json(&text.replace("\"refinements\":1", "\"refinements\":2"))
                .unwrap()
                .build()
                .is_err()
        );
        assert!(SavedWavefunction::from_json(&text[..text.len() / 2]).is_err());
    }

    /// Files of versions that had no power for valleys are those of states where it was one.
    #[test]
    fn states_keep_the_coordinate_they_were_trained_with() {
        let text = SPEC.replace("refinements: 1", "wavefunction: Waveflow()");
        let spec = crate::spec::read::parse(&text, std::path::Path::new("two.ron")).unwrap();
        let system = System { hamiltonian: &spec.hamiltonian, geometry: &spec.geometry };
        let psi = spec.wavefunction.build(spec.sector, system, 3).unwrap();
        let text = SavedWavefunction::new(&spec, psi.as_ref(), 0).to_json().unwrap();
        let power = |text: &str| match SavedWavefunction::from_json(text).unwrap().spec.wavefunction
        {
            WavefunctionSettings::Waveflow(settings) => settings.valley_power,
            _ => f64::NAN,
        };
        assert_eq!(power(&text), 0.3);
        assert_eq!(power(&text.replace("\"valley_power\":0.3,", "")), 1.0);
    }
}

//! A trained state: what it is good for once the run is over.

use crate::local_energy::{self, BatchId, Derivatives};
use crate::observables::amplitude::{Values, evaluate_at};
use crate::sampling::{Purpose, Sampling};
use crate::spec::ResolvedSpec;
use crate::store::files::{FileError, names, read_text};
use crate::store::replace;
use crate::store::saved::{SavedError, SavedWavefunction};
use crate::system::{Sector, System};
use crate::wavefunction::{Wavefunction, WavefunctionError};
use std::path::{Path, PathBuf};

/// Samples of one batch; bounds the memory beside the result.
const BATCH: usize = 1 << 14;
/// Samples that there is room for before they are drawn.
const MOST_ROOM: usize = 1 << 22;
/// Number of the first batch: far from those of [`crate::observables`], which have the same purpose.
const FIRST_BATCH: u64 = 1 << 32;

/// Why there is no state.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// No file of a finished run.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file that is no wavefunction.
    #[error("{path}: {error}", path = path.display())]
    Saved {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: Box<SavedError>,
    },
    /// Parameters that do not fit.
    #[error(transparent)]
    Wavefunction(#[from] WavefunctionError),
    /// Coordinates that are no whole number of configurations.
    #[error(
        "{coordinates} coordinates are no whole number of configurations of {particles} particles"
    )]
    Shape {
        /// How many there are.
        coordinates: usize,
        /// Particles of a configuration.
        particles: usize,
    },
    /// A coordinate where no particle can be.
    #[error(
        "point {point} (from 0): {x} is not between {low} and {high} bohr, where the particles live"
    )]
    Outside {
        /// Number of the configuration, from 0.
        point: usize,
        /// The coordinate, in bohr.
        x: f64,
        /// Where the interval of the particles begins.
        low: f64,
        /// Where it ends.
        high: f64,
    },
}

/// Exact, independent samples.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Samples {
    /// Coordinates, `samples x particles`, in bohr: spin up first, each spin ascending.
    pub x: Vec<f64>,
    /// Local energy of each, in Hartree.
    pub local_energy: Vec<f64>,
    /// Samples without a finite local energy, which are left out.
    pub rejected: usize,
}

/// A trained wavefunction with its system.
///
/// ```no_run
/// use weylflow::run::State;
///
/// let state = State::read("out/helium".as_ref())?;
/// let samples = state.sample(100_000, 1);
/// let values = state.evaluate(&samples.x)?;
/// assert_eq!(values.log_abs.len(), samples.local_energy.len());
/// # Ok::<(), weylflow::run::StateError>(())
/// ```
pub struct State {
    saved: SavedWavefunction,
    psi: Box<dyn Wavefunction>,
}

impl State {
    /// Builds the wavefunction of a saved one.
    ///
    /// # Errors
    /// [`WavefunctionError`] when the parameters do not fit.
    pub fn new(saved: SavedWavefunction) -> Result<Self, WavefunctionError> {
        let psi = saved.build()?;
        Ok(State { saved, psi })
    }

    /// A wavefunction that is what was saved.
    pub(super) fn of(saved: SavedWavefunction, psi: Box<dyn Wavefunction>) -> Self {
        State { saved, psi }
    }

    /// The state that a finished run left in its folder.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn read(folder: &Path) -> Result<Self, StateError> {
        replace::settle_to_read(folder)?;
        let path = folder.join(names::WAVEFUNCTION);
        let saved = SavedWavefunction::from_json(&read_text(&path)?)
            .map_err(|error| StateError::Saved { path, error: Box::new(error) })?;
        Ok(Self::new(saved)?)
    }

    /// The spec of the run that made it.
    pub fn spec(&self) -> &ResolvedSpec {
        &self.saved.spec
    }

    /// Numbers of particles.
    pub fn sector(&self) -> Sector {
        self.psi.sector()
    }

    /// Potentials and space.
    pub fn system(&self) -> System<'_> {
        let ResolvedSpec { hamiltonian, geometry, .. } = &self.saved.spec;
        System { hamiltonian, geometry }
    }

    /// The wavefunction.
    pub fn wavefunction(&self) -> &dyn Wavefunction {
        self.psi.as_ref()
    }

    /// Draws samples of `|psi|²`: exact, and independent whatever the run was trained on, since users will treat them
    /// so.
    pub fn sample(&self, count: usize, seed: u64) -> Samples {
        self.sample_while(count, seed, &mut || true).unwrap_or_default()
    }

    /// The same for as long as `goes_on`, which is asked after every few thousand samples; none where it ends them.
    pub fn sample_while(
        &self,
        count: usize,
        seed: u64,
        goes_on: &mut dyn FnMut() -> bool,
    ) -> Option<Samples> {
        let mut all = Samples::default();
        // Room at once for as many as there usually are; more grow with what is drawn.
        let room = count.min(MOST_ROOM);
        all.x.reserve(room * self.sector().particles());
        all.local_energy.reserve(room);
        let (mut drawn, mut number) = (0, FIRST_BATCH);
        while drawn < count {
            let (sampling, purpose) = (Sampling::Random, Purpose::Analysis);
            let id = BatchId { seed, purpose, number, first: 0, tails: 0.0, sampling };
            let samples = BATCH.min(count - drawn);
            let psi = self.psi.as_ref();
            let batch = local_energy::draw(psi, self.system(), id, samples, Derivatives::None);
            all.x.extend(batch.x);
            all.local_energy.extend(batch.local_energy);
            all.rejected += batch.rejected;
            drawn += samples;
            number += 1;
            if !goes_on() {
                return None;
            }
        }
        Some(all)
    }

    /// `log |psi|`, its sign and gradient, and the local energy at `points x particles` coordinates, spin up first, each
    /// spin in any order; one row a point, whatever it is.
    ///
    /// # Errors
    /// [`StateError::Shape`], [`StateError::Outside`].
    pub fn evaluate(&self, x: &[f64]) -> Result<Values, StateError> {
        Ok(self.evaluate_while(x, &mut || true)?.unwrap_or_default())
    }

    /// The same for as long as `goes_on`, which is asked after every few thousand points; none where it ends them.
    ///
    /// # Errors
    /// As [`State::evaluate`].
    pub fn evaluate_while(
        &self,
        x: &[f64],
        goes_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Values>, StateError> {
        let particles = self.sector().particles();
        if !x.len().is_multiple_of(particles) {
            return Err(StateError::Shape { coordinates: x.len(), particles });
        }
        let (low, high) = self.saved.spec.geometry.interval();
        let outside = |v: &f64| !v.is_finite() || !(low..=high).contains(v);
        if let Some(bad) = x.iter().position(outside) {
            return Err(StateError::Outside { point: bad / particles, x: x[bad], low, high });
        }
        let points = x.len() / particles;
        let mut all = Values::default();
        all.log_abs.reserve(points);
        all.sign.reserve(points);
        all.gradient.reserve(x.len());
        all.local_energy.reserve(points);
        for part in x.chunks(BATCH * particles) {
            let found = evaluate_at(self.psi.as_ref(), self.system(), part);
            all.log_abs.extend(found.log_abs);
            all.sign.extend(found.sign);
            all.gradient.extend(found.gradient);
            all.local_energy.extend(found.local_energy);
            if !goes_on() {
                return Ok(None);
            }
        }
        Ok(Some(all))
    }
}

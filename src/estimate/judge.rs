//! The one judge of an energy: checks of the state and of its samples, and what they come to.
//!
//! A check that fails either refuses the energy (the numbers contradict each other: the state is not what it claims to
//! be) or makes it doubtful (the numbers agree, but the energy is probably not that of the ground state, or its error
//! bar too small).

use super::{RayleighQuotient, gaussian_bars};
use crate::wavefunction::slopes::Slopes;
use serde::{Deserialize, Deserializer, Serialize};

/// What the checks of an energy come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Verdict {
    /// Every check passed.
    Good,
    /// A check says that the energy may be wrong by more than its error bar.
    Doubtful,
    /// A check says that the number is not an energy of the state.
    Refused,
}

impl Verdict {
    /// The verdict of checks.
    pub fn of(checks: &[Check]) -> Self {
        let failed = checks.iter().filter(|c| !c.passed);
        let each = failed.map(|c| if c.refuses { Verdict::Refused } else { Verdict::Doubtful });
        each.max().unwrap_or(Verdict::Good)
    }
}

/// One check: it passes where the size of `value` is at most `limit`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// A name for programs.
    pub name: String,
    /// What was measured.
    #[serde(deserialize_with = "number")]
    pub value: f64,
    /// The largest size that passes.
    #[serde(deserialize_with = "number")]
    pub limit: f64,
    /// Whether it passed; what is not a number does not.
    pub passed: bool,
    /// Whether a failure refuses the energy, instead of making it doubtful.
    pub refuses: bool,
    /// The judgement in a few words.
    pub headline: String,
    /// The judgement in a sentence, with its numbers.
    pub detail: String,
}

/// JSON has no word for what is not a finite number.
pub(crate) fn number<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Ok(Option::<f64>::deserialize(from)?.unwrap_or(f64::NAN))
}

/// Name and headlines (passed, failed) of a check.
type Words = (&'static str, &'static str, &'static str);

impl Check {
    fn new((name, yes, no): Words, value: f64, limit: f64, detail: String) -> Self {
        let passed = value.abs() <= limit;
        let headline = if passed { yes } else { no }.to_owned();
        Check { name: name.to_owned(), value, limit, passed, refuses: false, headline, detail }
    }

    fn refusing(self) -> Self {
        Check { refuses: true, ..self }
    }
}

/// Sizes of the parts of the energy, which give the problem its own scale: they do not change when a constant is added to
/// the external potential.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scale {
    /// Number of particles.
    pub particles: usize,
    /// Mean kinetic energy, in Hartree.
    #[serde(deserialize_with = "number")]
    pub kinetic: f64,
    /// Mean interaction energy, in Hartree.
    #[serde(deserialize_with = "number")]
    pub interaction: f64,
}

impl Scale {
    /// What relative deviations are relative to, in Hartree.
    pub fn energy(&self) -> f64 {
        self.kinetic.abs() + self.interaction.abs()
    }
}

/// Change of the energy over the last iterations of a training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drift {
    /// Slope of the straight line through the energies times the number of iterations, in Hartree.
    pub change: f64,
    /// Standard error of `change`, from the scatter about that line.
    pub error: f64,
    /// Iterations behind it.
    pub iterations: usize,
}

/// The mean over samples drawn with more weight on the tails, and what it says of the plain ones.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tails {
    /// The energy from them, in Hartree.
    #[serde(deserialize_with = "number")]
    pub energy: f64,
    /// Its standard error.
    #[serde(deserialize_with = "number")]
    pub standard_error: f64,
    /// What plain samples leave out of the variance, in Hartree²; zero where they see all of it within noise.
    #[serde(deserialize_with = "number")]
    pub missing_variance: f64,
}

impl Tails {
    /// From local energies with their importance weights, and the variance of the plain samples.
    ///
    /// The variance counts as missing where it exceeds that of the plain samples by so many of its standard errors.
    pub fn of(energies: &[f64], weights: &[f64], plain_variance: f64, errors: f64) -> Self {
        let total: f64 = weights.iter().sum();
        let mean = |f: &dyn Fn(f64) -> f64| {
            energies.iter().zip(weights).map(|(e, w)| w * f(*e)).sum::<f64>() / total
        };
        // Of a ratio of sums, to first order.
        let error = |f: &dyn Fn(f64) -> f64, mean: f64| {
            let squares = energies.iter().zip(weights).map(|(e, w)| (w * (f(*e) - mean)).powi(2));
            squares.sum::<f64>().sqrt() / total
        };
        let energy = mean(&|e| e);
        let square = |e: f64| (e - energy).powi(2);
        let variance = mean(&square);
        let excess = variance - plain_variance;
        let significant = excess > errors * error(&square, variance);
        Tails {
            energy,
            standard_error: error(&|e| e, energy),
            missing_variance: if significant { excess } else { 0.0 },
        }
    }
}

/// An energy that the run's is compared with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exact {
    /// In Hartree.
    pub energy: f64,
    /// How far it may be off.
    pub error: f64,
}

/// Everything that the judge looks at; what is not known is left out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evidence {
    /// The energy from fresh samples, in Hartree.
    pub energy: f64,
    /// Its standard error.
    pub standard_error: f64,
    /// Degrees of freedom of the standard error; none where it is as good as known.
    pub freedom: Option<usize>,
    /// Variance of the local energy, in Hartree².
    pub variance: f64,
    /// `N variance / E²`, for where there is no scale.
    pub v_score: f64,
    /// Sizes of the parts of the energy.
    pub scale: Option<Scale>,
    /// Samples behind the energy.
    pub samples: usize,
    /// Samples left out of it.
    pub rejected: usize,
    /// Largest `|E_L - energy|`, in Hartree.
    pub largest_deviation: f64,
    /// The mean over the tails.
    pub tails: Option<Tails>,
    /// Energy of the state that training started from, and its standard error.
    pub start: Option<(f64, f64)>,
    /// Change of the energy at the end of the training.
    pub drift: Option<Drift>,
    /// The exact energy.
    pub exact: Option<Exact>,
    /// The energy without samples.
    pub quadrature: Option<RayleighQuotient>,
    /// Largest error of the flow's inverse, in bohr.
    pub round_trip_error: f64,
    /// Length of the interval that holds the particles, in bohr.
    pub length: f64,
    /// How far the density of the samples is from `|psi|²`.
    pub density_drift: Option<f64>,
    /// Largest slopes of the flow and of its inverse.
    pub slopes: Option<Slopes>,
}

/// Largest round-trip error, relative to the interval that holds the particles. A chain of safeguarded Newton inversions
/// leaves 1e-14 over the smallest slope of each layer; far more means that the flow is no bijection any more.
const ROUND_TRIP: f64 = 1e-8;
/// Largest drift of the density of the samples; differences find less than 1e-9 for a healthy flow.
const DRIFT: f64 = 1e-6;
/// Largest drift of the norm beyond what the quadrature itself may be off: a state that is not normalised is off by far more.
const NORM: f64 = 1e-6;
/// Largest share of samples left out of the final estimate: what they would have added is unknown.
const REJECTED: f64 = 1e-3;
/// Largest slope of the trained map, and of its inverse, that is believed.
///
/// A slope `s` makes terms of the size `s²` in the local energy that cancel to order one: at 1e4 that costs half of
/// the sixteen digits. Trained flows have slopes below ten or so; one that runs away passes this bound before its
/// samples and energies show it.
const LARGEST_SLOPE: f64 = 1e4;
/// Gaussian error bars that a correct result exceeds twice in a million runs.
const BARS: f64 = 5.0;
/// Deviation from exact, relative to the problem's own scale, that is no matter however small the error bar is.
const CLOSE: f64 = 1e-4;
/// The same below the exact energy, where a variational energy never is.
const BELOW: f64 = 1e-7;
/// Largest variance for N particles, as `N variance / T²` with the kinetic energy T, that is usual for a state near the
/// ground state; `N variance / E²` where T is not known.
const VARIANCE: f64 = 5e-2;
/// How much larger it may be where the exact energy confirms the result.
const CONFIRMED: f64 = 20.0;
/// Share of the energy's own scale that rounding may take.
const ROUNDING: f64 = 1e-11;
/// Share of the energy's own scale below which it is no matter what one sample does.
const NO_MATTER: f64 = 1e-5;

impl Evidence {
    /// What relative deviations are relative to, in Hartree.
    fn size(&self) -> f64 {
        self.scale.map_or(self.energy.abs(), |s| s.energy())
    }

    /// The best known energy of the state and the error of that number: by quadrature where there is one.
    fn state_energy(&self) -> (f64, f64) {
        match &self.quadrature {
            Some(q) if q.energy_error <= self.standard_error => (q.energy, q.energy_error),
            _ => (self.energy, self.standard_error),
        }
    }

    /// Gaussian error bars as unlikely as a deviation with an error bar estimated as the energy's.
    fn bars(&self, deviation: f64, other_error: f64) -> f64 {
        let rounding = ROUNDING * self.size();
        let error = self.standard_error.hypot(other_error).hypot(rounding);
        gaussian_bars(deviation / error, self.freedom)
    }

    /// Whether the exact energy says that the result is right.
    fn confirmed(&self) -> bool {
        self.exact.is_some_and(|exact| {
            let (energy, error) = self.state_energy();
            let (deviation, size) = ((energy - exact.energy).abs(), self.size());
            deviation.max(error).max(exact.error) <= 10.0 * CLOSE * size
                && (deviation <= CLOSE * size || self.bars(deviation, exact.error) <= BARS)
        })
    }
}

/// Judges an energy: the checks that its evidence allows.
pub fn judge(evidence: &Evidence) -> Vec<Check> {
    let e = evidence;
    let size = e.size();
    let mut checks = Vec::new();

    let limit = ROUND_TRIP * e.length;
    checks.push(
        Check::new(
            ("round_trip", "Flow inverts", "Flow does not invert"),
            e.round_trip_error,
            limit,
            format!(
                "The flow undoes itself to {:.1e} bohr (at most {limit:.1e}).",
                e.round_trip_error
            ),
        )
        .refusing(),
    );
    if let Some(drift) = e.density_drift {
        checks.push(
            Check::new(
                ("density", "Samples follow |psi|²", "Samples do not follow |psi|²"),
                drift,
                DRIFT,
                format!("The samples are distributed as |psi|² to {drift:.1e}, by differences."),
            )
            .refusing(),
        );
    }
    if let Some(slopes) = &e.slopes {
        let larger = |a: f64, b: f64| if a.is_nan() || a > b { a } else { b };
        checks.push(Check::new(
            ("slopes", "Flow stretches moderately", "Flow explodes"),
            larger(slopes.forward, slopes.inverse),
            LARGEST_SLOPE,
            format!(
                "Largest slope {:.2}, of the inverse {:.2}, where the particles are.",
                slopes.forward, slopes.inverse
            ),
        ));
    }
    let drawn = (e.samples + e.rejected).max(1);
    checks.push(
        Check::new(
            ("rejected_samples", "No samples left out that matter", "Too many samples left out"),
            e.rejected as f64 / drawn as f64,
            REJECTED,
            format!("{} of {drawn} final samples have no sensible local energy.", e.rejected),
        )
        .refusing(),
    );
    if let Some(q) = &e.quadrature {
        let limit = NORM + 3.0 * q.norm_error;
        checks.push(
            Check::new(
                ("norm", "Normalised", "Not normalised"),
                q.norm - 1.0,
                limit,
                format!("The norm by quadrature is 1{:+.1e} ± {:.0e}.", q.norm - 1.0, q.norm_error),
            )
            .refusing(),
        );
        let deviation = e.energy - q.energy;
        let bars = e.bars(deviation, q.energy_error);
        let matters = deviation.abs() > NO_MATTER * size;
        let check = Check::new(
            ("quadrature", "Samples agree with quadrature", "Samples disagree with quadrature"),
            bars,
            BARS,
            format!(
                "Without samples the energy is {:.10} ± {:.0e} Ha; that of the samples is {} above.",
                q.energy,
                q.energy_error,
                deviation_words(deviation, e.standard_error.hypot(q.energy_error), size)
            ),
        );
        checks.push(if matters { check.refusing() } else { check });
    }

    // How far the mean moves if the most extreme sample is left out.
    let shift = e.largest_deviation / e.samples.max(1) as f64;
    let influence = shift / e.standard_error;
    let matters = if shift <= NO_MATTER * size { 0.0 } else { influence };
    checks.push(Check::new(
        ("outliers", "No outlier carries the mean", "An outlier carries the mean"),
        if e.largest_deviation == 0.0 { 0.0 } else { matters },
        0.5,
        format!(
            "The most extreme sample is {:.2e} Ha from the mean and moves it by {shift:.1e} Ha.",
            e.largest_deviation
        ),
    ));
    if let Some(tails) = &e.tails {
        let deviation = e.energy - tails.energy;
        checks.push(Check::new(
            ("tails", "Samples see the tails", "Samples miss the tails"),
            e.bars(deviation, tails.standard_error),
            BARS,
            format!(
                "Samples with more weight on the tails give {:.10} ± {:.1e} Ha.",
                tails.energy, tails.standard_error
            ),
        ));
    }

    let slack = if e.confirmed() { CONFIRMED } else { 1.0 };
    let (value, of) = match &e.scale {
        Some(s) if s.kinetic > 0.0 => {
            (s.particles as f64 * e.variance / s.kinetic.powi(2), "squared kinetic energy")
        }
        _ => (e.v_score, "squared energy"),
    };
    // Without kinetic energy there is no scale, but no variance above rounding either.
    let value = if e.variance.sqrt() <= 1e3 * ROUNDING * size { 0.0 } else { value };
    checks.push(Check::new(
        ("variance", "Near an eigenstate", "Far from an eigenstate"),
        value,
        slack * VARIANCE,
        format!("The variance for each particle is {value:.1e} of the {of} for each."),
    ));
    if let Some((start, error)) = e.start {
        let rise = e.energy - start;
        let bars = if rise > 0.0 { e.bars(rise, error) } else { 0.0 };
        checks.push(Check::new(
            ("start", "Below the starting energy", "Above the starting energy"),
            bars,
            BARS,
            format!(
                "Training took the energy from {start:.8} ± {error:.0e} Ha to {:.8} Ha.",
                e.energy
            ),
        ));
    }
    if let Some(Drift { change, error, iterations }) = e.drift {
        let bars = change / error.hypot(e.standard_error);
        let matters = change.abs() > CLOSE * size && !e.confirmed();
        let moved = if change < 0.0 { "Still falling" } else { "Rising" };
        checks.push(Check::new(
            ("drift", "Settled", moved),
            if matters { bars } else { 0.0 },
            3.0,
            format!(
                "The energy changed by {change:+.1e} ± {error:.0e} Ha over the last {iterations} iterations."
            ),
        ));
    }
    if let Some(exact) = e.exact {
        let (energy, error) = e.state_energy();
        let deviation = energy - exact.energy;
        let tolerance = if deviation < 0.0 { BELOW } else { CLOSE };
        let error = error.hypot(exact.error);
        let bars = gaussian_bars(deviation / error.hypot(ROUNDING * size), e.freedom);
        let words =
            if deviation < 0.0 { "Below the exact energy" } else { "Above the exact energy" };
        checks.push(Check::new(
            ("exact", "Agrees with the exact energy", words),
            if deviation.abs() <= tolerance * size { 0.0 } else { bars },
            BARS,
            format!(
                "The energy of the state is {} from the exact one{}.",
                deviation_words(deviation, error, size),
                if deviation < 0.0 {
                    ", which no state is below: one of the two is wrong"
                } else {
                    ""
                }
            ),
        ));
    }
    checks
}

/// A deviation in Hartree and in error bars; where both are rounding, says so.
pub fn deviation_words(deviation: f64, error: f64, size: f64) -> String {
    let rounding = ROUNDING * size;
    if deviation.abs() <= rounding && error <= rounding {
        return format!("{deviation:+.1e} Ha (to rounding)");
    }
    let bars = deviation / error;
    if !bars.is_finite() {
        return format!("{deviation:+.3e} Ha (without an error bar)");
    }
    format!("{deviation:+.3e} Ha = {bars:+.1} error bars")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A healthy run.
    fn healthy() -> Evidence {
        Evidence {
            energy: -1.816_041_5,
            standard_error: 8e-7,
            freedom: Some(15),
            variance: 3e-7,
            v_score: 2e-7,
            scale: Some(Scale { particles: 2, kinetic: 0.6, interaction: 0.5 }),
            samples: 1 << 18,
            rejected: 0,
            largest_deviation: 0.2,
            tails: Some(Tails { energy: -1.816_041, standard_error: 1e-6, missing_variance: 0.0 }),
            start: Some((-1.8, 1e-3)),
            drift: Some(Drift { change: -1e-6, error: 1e-6, iterations: 8 }),
            exact: Some(Exact { energy: -1.816_041_889, error: 1e-9 }),
            quadrature: Some(RayleighQuotient {
                norm: 1.0 + 1e-10,
                energy: -1.816_041_85,
                norm_error: 1e-9,
                energy_error: 1e-9,
            }),
            round_trip_error: 1e-13,
            length: 20.0,
            density_drift: Some(1e-9),
            slopes: Some(Slopes { forward: 2.4, inverse: 3.1 }),
        }
    }

    fn failed(evidence: &Evidence) -> (Verdict, Vec<String>) {
        let checks = judge(evidence);
        let names = checks.iter().filter(|c| !c.passed).map(|c| c.name.clone()).collect();
        (Verdict::of(&checks), names)
    }

    #[test]
    fn a_healthy_run_is_good_with_whatever_is_known_of_it() {
        assert_eq!(failed(&healthy()), (Verdict::Good, vec![]));
        let bare = Evidence {
            scale: None,
            tails: None,
            start: None,
            drift: None,
            exact: None,
            quadrature: None,
            density_drift: None,
            slopes: None,
            ..healthy()
        };
        assert_eq!(failed(&bare), (Verdict::Good, vec![]));
    }

    #[test]
    fn each_fault_fails_its_own_check() {
        use Verdict::{Doubtful, Refused};
        let h = healthy();
        let quadrature = h.quadrature.unwrap();
        let cases = [
            (Refused, "round_trip", Evidence { round_trip_error: 1e-6, ..h }),
            (Refused, "round_trip", Evidence { round_trip_error: f64::NAN, ..h }),
            (Refused, "density", Evidence { density_drift: Some(1e-5), ..h }),
            (
                Doubtful,
                "slopes",
                Evidence { slopes: Some(Slopes { forward: 1.0, inverse: f64::NAN }), ..h },
            ),
            (Refused, "rejected_samples", Evidence { rejected: 300, ..h }),
            (
                Refused,
                "norm",
                Evidence {
                    quadrature: Some(RayleighQuotient { norm: 1.0 - 1e-4, ..quadrature }),
                    ..h
                },
            ),
            (Refused, "quadrature", Evidence { energy: -1.8162, exact: None, tails: None, ..h }),
            (Doubtful, "outliers", Evidence { largest_deviation: 10.0, standard_error: 1e-6, ..h }),
            (
                Doubtful,
                "tails",
                Evidence {
                    tails: Some(Tails {
                        energy: -1.8161,
                        standard_error: 1e-6,
                        missing_variance: 1e-3,
                    }),
                    ..h
                },
            ),
            (Doubtful, "variance", Evidence { variance: 0.3, exact: None, ..h }),
            (Doubtful, "start", Evidence { start: Some((-1.9, 1e-3)), ..h }),
            (
                Doubtful,
                "drift",
                Evidence {
                    drift: Some(Drift { change: -1e-2, error: 1e-3, iterations: 8 }),
                    exact: None,
                    ..h
                },
            ),
            (
                Doubtful,
                "exact",
                Evidence { exact: Some(Exact { energy: -1.8155, error: 1e-9 }), ..h },
            ),
            (
                Doubtful,
                "exact",
                Evidence { exact: Some(Exact { energy: -1.817, error: 1e-9 }), ..h },
            ),
        ];
        for (verdict, name, evidence) in cases {
            assert_eq!(failed(&evidence), (verdict, vec![name.to_owned()]), "{evidence:?}");
        }
    }

    #[test]
    fn an_exact_energy_without_variance_is_compared_to_rounding() {
        let exact = Evidence {
            energy: 2.0 + 1e-15,
            standard_error: 2e-17,
            variance: 1e-28,
            scale: Some(Scale { particles: 2, kinetic: 1.0, interaction: 0.0 }),
            largest_deviation: 1e-13,
            tails: None,
            start: Some((2.0, 1e-16)),
            exact: Some(Exact { energy: 2.0, error: 1e-14 }),
            quadrature: Some(RayleighQuotient {
                norm: 1.0,
                energy: 2.0 - 3e-15,
                norm_error: 1e-12,
                energy_error: 1e-12,
            }),
            ..healthy()
        };
        assert_eq!(failed(&exact), (Verdict::Good, vec![]));
        // An excited state has no variance either.
        let excited = Evidence { exact: Some(Exact { energy: 1.0, error: 1e-14 }), ..exact };
        assert_eq!(failed(&excited), (Verdict::Doubtful, vec!["exact".to_owned()]));
    }

    #[test]
    fn what_json_cannot_say_is_read_as_not_a_number() {
        let check = Check::new(("a", "b", "c"), f64::NAN, 1.0, String::new());
        assert!(!check.passed);
        let text = serde_json::to_string(&check).unwrap();
        let read: Check = serde_json::from_str(&text).unwrap();
        assert!(read.value.is_nan() && read.limit == 1.0 && !read.passed);
    }
}

//! The one judge of an energy: checks of the state and of its samples, and what they come to.
//!
//! A check that fails either refuses the energy (the numbers contradict each other: the state is not what it claims to
//! be) or makes it doubtful (the numbers agree, but the energy is probably not that of the ground state, or its error
//! bar too small).

use super::gaussian_bars;
use crate::json::number;
use crate::wavefunction::RayleighQuotient;
use crate::wavefunction::slopes::Slopes;
use serde::{Deserialize, Serialize};

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

/// Name and headlines (passed, failed) of a check.
pub(crate) type Words = (&'static str, &'static str, &'static str);

impl Check {
    pub(crate) fn new((name, yes, no): Words, value: f64, limit: f64, detail: String) -> Self {
        let passed = value.abs() <= limit;
        let headline = if passed { yes } else { no }.to_owned();
        Check { name: name.to_owned(), value, limit, passed, refuses: false, headline, detail }
    }

    pub(crate) fn refusing(self) -> Self {
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
    /// Why an exact energy that may be off by `error` Hartree is none, if it is so.
    pub(crate) fn too_uncertain(&self, error: f64) -> Option<String> {
        let known = error <= USELESS * self.energy();
        (!known).then(|| format!("the best that could be done was known to {error:.0e} Ha only"))
    }

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
    /// What local energies further from the mean than those of all plain samples may have added to it, in Hartree.
    #[serde(deserialize_with = "number")]
    pub missing: f64,
}

impl Tails {
    /// From local energies with their importance weights, and mean and largest deviation of the plain samples.
    pub fn of(energies: &[f64], weights: &[f64], mean: f64, largest: f64) -> Self {
        let total: f64 = weights.iter().sum();
        let samples = || energies.iter().zip(weights);
        let energy = samples().map(|(e, w)| w * e).sum::<f64>() / total;
        // Of a ratio of sums, to first order.
        let squares = samples().map(|(e, w)| (w * (e - energy)).powi(2)).sum::<f64>();
        let beyond = || {
            let parts = samples().map(|(e, w)| ((e - mean).abs(), w));
            parts.filter(|(deviation, _)| *deviation > largest).map(|(deviation, w)| w * deviation)
        };
        let error = beyond().map(|part| part * part).sum::<f64>().sqrt();
        Tails {
            energy,
            standard_error: squares.sqrt() / total,
            missing: (beyond().sum::<f64>() + error) / total,
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
    /// Whether the state is that of as many particles of one spin, above whose energy the ground state is not, but below which it may be by
    /// the energy of exchange.
    pub fermionised: bool,
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
pub(crate) const ROUND_TRIP: f64 = 1e-8;
/// Largest drift of the density of the samples; differences find less than 1e-9 for a healthy flow.
pub(crate) const DRIFT: f64 = 1e-6;
/// Largest drift of the norm beyond what the quadrature itself may be off: a state that is not normalised is off by far more.
const NORM: f64 = 1e-6;
/// Largest share of samples left out of the final estimate: what they would have added is unknown.
pub(crate) const REJECTED: f64 = 1e-3;
/// Largest slope of the trained map, and of its inverse, that is believed.
///
/// A slope `s` makes terms of the size `s²` in the local energy that cancel to order one: at 1e4 that costs half of
/// the sixteen digits. Trained flows have slopes below ten or so; one that runs away passes this bound before its
/// samples and energies show it.
const LARGEST_SLOPE: f64 = 1e4;
/// Gaussian error bars that a correct result exceeds twice in a million runs.
pub(crate) const BARS: f64 = 5.0;
/// Deviation from exact, relative to the problem's own scale, that is no matter however small the error bar is.
pub(crate) const CLOSE: f64 = 3e-4;
/// The same that confirms a result within its error bar.
const CONFIRMS: f64 = 1e-3;
/// Error of an exact energy, relative to the same scale, that leaves nothing to compare with.
const USELESS: f64 = 1e-2;
/// The same as [`CLOSE`] below the exact energy, where a variational energy never is.
pub(crate) const BELOW: f64 = 1e-7;
/// Largest variance for N particles, as `N variance / T²` with the kinetic energy T, that is usual for a state near the
/// ground state; `N variance / E²` where T is not known.
pub(crate) const VARIANCE: f64 = 5e-2;
/// How much larger it may be where the exact energy confirms the result.
const CONFIRMED: f64 = 20.0;
/// Share of the energy's own scale that rounding may take.
const ROUNDING: f64 = 1e-11;
/// Share of the energy's own scale by which samples and quadrature may differ without a refusal.
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
        // An offset of the potential costs last digits of every energy, whatever the scale of the state.
        let offset = 2.0 * f64::EPSILON * self.energy.abs();
        let rounding = (ROUNDING * self.size()).max(offset);
        let error = self.standard_error.hypot(other_error).hypot(rounding);
        gaussian_bars(deviation / error, self.freedom)
    }

    /// Whether the exact energy says that the result is right.
    fn confirmed(&self) -> bool {
        self.exact.is_some_and(|exact| {
            let (energy, error) = self.state_energy();
            let (deviation, size) = ((energy - exact.energy).abs(), self.size());
            deviation.max(error).max(exact.error) <= CONFIRMS * size
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
                "Without samples the energy is {} ± {:.0e} Ha; that of the samples differs by {}.",
                digits(q.energy, 10),
                q.energy_error,
                deviation_words(deviation, e.standard_error.hypot(q.energy_error), size)
            ),
        );
        checks.push(if matters { check.refusing() } else { check });
    }

    // How far the mean moves if the most extreme sample is left out.
    let shift = e.largest_deviation / e.samples.max(1) as f64;
    let influence = shift / e.standard_error;
    let matters = if shift <= CLOSE * size { 0.0 } else { influence };
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
                "Samples with more weight on the tails give {} ± {:.1e} Ha.",
                digits(tails.energy, 10),
                tails.standard_error
            ),
        ));
    }

    let slack = if e.confirmed() { CONFIRMED } else { 1.0 };
    let (value, of) = match &e.scale {
        Some(s) => {
            // That of a particle in a box of this length, which is left where nothing else confines the particles.
            let n = s.particles as f64;
            let least = 0.5 * n * (std::f64::consts::PI / e.length).powi(2);
            (n * e.variance / s.kinetic.max(least).powi(2), "squared kinetic energy")
        }
        None => (e.v_score, "squared energy"),
    };
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
                "Training took the energy from {} ± {error:.0e} Ha to {} Ha.",
                digits(start, 8),
                digits(e.energy, 8)
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
    if e.fermionised {
        checks.push(Check::new(
            ("exchange", "Exchange is negligible", "Exchange is not known"),
            if e.exact.is_some() { 0.0 } else { 1.0 },
            0.5,
            "The state is that of as many particles of one spin; the ground state is lower by the energy of exchange, \
             which only an exact energy shows."
                .to_owned(),
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
        let bars = if deviation.abs() <= tolerance * size { 0.0 } else { bars };
        let so = if deviation < 0.0 && bars.abs() > BARS {
            ", which no state is below: one of the two is wrong"
        } else {
            ""
        };
        // The error of a quadrature is no error bar, and so many of them say nothing beside those of the samples.
        let by_quadrature = e.quadrature.is_some_and(|q| q.energy_error <= e.standard_error);
        let detail = if by_quadrature && !is_rounding(deviation, error, size) {
            format!(
                "By quadrature the energy of the state is {deviation:+.3e} ± {error:.0e} Ha from the exact one{so}."
            )
        } else {
            let words = deviation_words(deviation, error, size);
            format!("The energy of the state is {words} from the exact one{so}.")
        };
        checks.push(Check::new(
            ("exact", "Agrees with the exact energy", words),
            bars,
            BARS,
            detail,
        ));
    }
    checks
}

/// An energy with so many decimals, or as a power of ten where these would be a row of digits that nobody reads.
fn digits(energy: f64, decimals: usize) -> String {
    if energy.abs() < 1e9 || !energy.is_finite() {
        format!("{energy:.decimals$}")
    } else {
        format!("{energy:.decimals$e}")
    }
}

/// Whether a deviation is nothing but rounding, and so no number of error bars.
pub(crate) fn is_rounding(deviation: f64, error: f64, size: f64) -> bool {
    let rounding = ROUNDING * size;
    deviation.abs() <= rounding && error <= rounding
}

/// A deviation in Hartree and in error bars; where both are rounding, says so.
pub fn deviation_words(deviation: f64, error: f64, size: f64) -> String {
    if deviation == 0.0 && is_rounding(deviation, error, size) {
        return "0 Ha (to rounding)".to_owned();
    }
    if is_rounding(deviation, error, size) {
        return format!("{deviation:+.1e} Ha (to rounding)");
    }
    let bars = deviation / error;
    // Written in tenths this would be zero, with or without a sign.
    if bars.abs() < 0.05 {
        return format!("{deviation:+.1e} Ha (less than 0.1 error bars)");
    }
    if !bars.is_finite() {
        return format!("{deviation:+.3e} Ha (without an error bar)");
    }
    if bars.abs() >= 1e6 {
        return format!("{deviation:+.3e} Ha = {bars:+.1e} error bars");
    }
    format!("{deviation:+.3e} Ha = {bars:+.1} error bars")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exact_energy_that_may_be_anything_is_none() {
        let scale = Scale { particles: 3, kinetic: 20.0, interaction: -40.0 };
        assert!(scale.too_uncertain(115.0).is_some_and(|why| why.contains("1e2 Ha")));
        assert!(scale.too_uncertain(f64::NAN).is_some());
        // Still tells a run that is off by a tenth.
        assert_eq!(scale.too_uncertain(0.1), None);
    }

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
            tails: Some(Tails { energy: -1.816_041, standard_error: 1e-6, missing: 0.0 }),
            start: Some((-1.8, 1e-3)),
            drift: Some(Drift { change: -1e-6, error: 1e-6, iterations: 8 }),
            fermionised: false,
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
    fn an_offset_of_the_potential_is_no_fault() {
        let offset = 1e6;
        // The spacing of numbers of that size.
        let digit = 1e6 * f64::EPSILON;
        let h = healthy();
        let shifted = |rise: f64| Evidence {
            energy: offset + rise,
            standard_error: 1e-13,
            tails: Some(Tails { energy: offset, standard_error: 1e-13, missing: 0.0 }),
            start: Some((offset, 1e-13)),
            exact: None,
            quadrature: None,
            ..h
        };
        assert_eq!(failed(&shifted(digit)), (Verdict::Good, vec![]));
        let names = ["tails", "start"].map(str::to_owned).to_vec();
        assert_eq!(failed(&shifted(100.0 * digit)), (Verdict::Doubtful, names));
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
            (
                Doubtful,
                "outliers",
                Evidence { largest_deviation: 100.0, standard_error: 1e-6, ..h },
            ),
            (
                Doubtful,
                "tails",
                Evidence {
                    tails: Some(Tails { energy: -1.8161, standard_error: 1e-6, missing: 0.0 }),
                    ..h
                },
            ),
            (Doubtful, "variance", Evidence { variance: 0.3, exact: None, ..h }),
            (Doubtful, "exchange", Evidence { fermionised: true, exact: None, ..h }),
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
    fn only_a_failure_calls_one_of_the_two_wrong() {
        let words = |exact: f64| {
            let e = Evidence { exact: Some(Exact { energy: exact, error: 1e-12 }), ..healthy() };
            let check = judge(&e).into_iter().find(|c| c.name == "exact").unwrap();
            (check.passed, check.detail.contains("one of the two is wrong"))
        };
        let energy = healthy().quadrature.unwrap().energy;
        assert_eq!(words(energy + 1e-12), (true, false));
        assert_eq!(words(energy + 1e-3), (false, true));
        assert_eq!(words(energy - 1e-3), (false, false));
        // Error bars are those of samples, here as everywhere.
        let exact = Some(Exact { energy: energy - 1e-3, error: 1e-12 });
        let detail =
            |e: &Evidence| judge(e).into_iter().find(|c| c.name == "exact").unwrap().detail;
        let by_quadrature = detail(&Evidence { exact, ..healthy() });
        assert!(by_quadrature.contains("quadrature") && !by_quadrature.contains("error bars"));
        let by_samples = detail(&Evidence { exact, quadrature: None, ..healthy() });
        assert!(by_samples.contains("error bars"), "{by_samples}");
        assert_eq!(deviation_words(-1e-14, 1e-12, 0.01), "-1.0e-14 Ha (less than 0.1 error bars)");
        assert_eq!(deviation_words(-1e-3, 1e-3, 1.0), "-1.000e-3 Ha = -1.0 error bars");
        assert_eq!(deviation_words(0.0, 1e-16, 1.0), "0 Ha (to rounding)");
        // Energies that no row of digits makes readable.
        let absurd = RayleighQuotient { energy: 5.6e299, ..healthy().quadrature.unwrap() };
        let checks = judge(&Evidence { quadrature: Some(absurd), ..healthy() });
        assert!(checks.iter().all(|c| c.detail.len() < 160), "{checks:?}");
    }

    #[test]
    fn what_json_cannot_say_is_read_as_not_a_number() {
        let check = Check::new(("a", "b", "c"), f64::NAN, 1.0, String::new());
        assert!(!check.passed);
        let text = serde_json::to_string(&check).unwrap();
        let read: Check = serde_json::from_str(&text).unwrap();
        assert!(read.value.is_nan() && read.limit == 1.0 && !read.passed);
    }

    /// A measured run: energy, standard error, variance, particles, kinetic and interaction energy, length, largest deviation, exact energy.
    type Run = (f64, f64, f64, usize, f64, f64, f64, f64, f64);

    fn measured(
        &(
            energy,
            standard_error,
            variance,
            particles,
            kinetic,
            interaction,
            length,
            largest_deviation,
            exact,
        ): &Run,
    ) -> Evidence {
        Evidence {
            energy,
            standard_error,
            variance,
            v_score: particles as f64 * variance / energy.powi(2),
            scale: Some(Scale { particles, kinetic, interaction }),
            length,
            largest_deviation,
            tails: None,
            start: None,
            drift: None,
            exact: Some(Exact { energy: exact, error: 1e-8 }),
            quadrature: None,
            ..healthy()
        }
    }

    #[test]
    fn measured_runs_that_were_wrong_are_not_good_with_and_without_the_exact_energy() {
        let runs: [Run; 15] = [
            // Harmonic trap: SoftCoulomb(100, 0.1) of opposite and of equal spins, on the line and between walls; (20, 0.1); (10, 0.1);
            // (10, 0.3).
            (138.040061, 3.84e-2, 5.043e3, 2, 3.463, 133.8, 11.3, 773.0, 27.0188),
            (38.2622064, 6.32e-4, 36.02, 2, 1.174, 34.43, 12.0, 89.8, 27.0188),
            (40.3363468, 1.94e-2, 114.9, 2, 1.429, 36.61, 16.0, 960.0, 27.0188),
            (27.8360271, 3.76e-4, 1.417, 2, 0.8637, 20.41, 16.0, 37.4, 27.0188),
            (24.7387387, 6.54e-3, 166.1, 2, 2.297, 21.77, 11.3, 158.0, 10.15254),
            (7.72640327, 1.59e-3, 4.162, 2, 0.7694, 5.441, 11.3, 184.0, 6.91719),
            (6.97341325, 8.54e-4, 0.3494, 2, 0.7156, 4.153, 11.3, 170.0, 6.89057),
            // Dipolar(5, 0.3); Gaussian(-50, 0.1), (100, 0.1), (10, 0.1) and (2, 0.1).
            (11.9484552, 6.42e-3, 98.71, 2, 3.059, 8.34, 11.3, 172.0, 3.2971),
            (-4.3197368, 1.07e-3, 156.4, 2, 0.5137, -5.322, 11.3, 44.2, -17.190923),
            (10.9511301, 2.25e-3, 606.3, 2, 0.5, 9.951, 11.3, 90.0, 2.039585),
            (1.99511301, 2.25e-4, 6.063, 2, 0.5, 0.9951, 11.3, 9.0, 1.589829),
            (1.1990226, 4.5e-5, 0.2425, 2, 0.5, 0.199, 11.3, 1.8, 1.178),
            // InverseSquare(2) of six and of two; a nucleus of softening 0.01.
            (33.9665793, 0.231, 1.083e4, 6, 6.404, 12.77, 14.0, 4.37e4, 33.0),
            (3.00100018, 9.19e-4, 0.2743, 2, 0.8302, 0.6731, 12.0, 233.0, 3.0),
            (-14.4728192, 8.64e-3, 38.69, 1, 7.261, 0.0, 20.0, 23.8, -14.4919),
        ];
        for run in &runs {
            let evidence = measured(run);
            assert_ne!(failed(&evidence).0, Verdict::Good, "{run:?}");
            assert_ne!(failed(&Evidence { exact: None, ..evidence }).0, Verdict::Good, "{run:?}");
        }
        // On a ring nothing confines the particles: Gaussian(10, 0.1), the flow the identity.
        let ring = (0.250960758, 3.62e-4, 1.71, 2, 4.4e-15, 0.251, 10.0, 9.75, 0.07661);
        assert_ne!(failed(&Evidence { exact: None, ..measured(&ring) }).0, Verdict::Good);
        // Waveflow's helium triplet with another seed shows only against the exact energy.
        let waveflow = (-1.81565, 4e-6, 1.7e-3, 2, 0.372, 0.404, 20.0, 0.3, -1.81604189);
        assert_ne!(failed(&measured(&waveflow)).0, Verdict::Good);
    }

    #[test]
    fn measured_runs_that_were_right_are_good_with_and_without_the_exact_energy() {
        let runs: [Run; 9] = [
            (-2.23825671, 7.73e-7, 2.61e-7, 2, 0.2897, 0.6911, 30.0, 0.0451, -2.23825782),
            // Waveflow.
            (-1.8159867, 4.0e-6, 9.612e-4, 2, 0.3722, 0.404, 20.0, 0.289, -1.81604189),
            (0.1728081, 3.1e-5, 2.6e-4, 3, 0.1728, 0.0, 20.0, 0.3, 0.172718077),
            (-1.81604241, 8.09e-7, 9.985e-8, 2, 0.3734, 0.4046, 20.0, 0.0221, -1.81604189),
            (-1.98246315, 3.46e-6, 1.778e-6, 2, 0.1904, 0.6031, 30.0, 0.167, -1.98246476),
            (-1.50353331, 6.01e-6, 2.153e-6, 2, 0.2218, 0.1763, 30.0, 0.124, -1.50353763),
            (-4.21051846, 1.04e-5, 1.144e-5, 3, 0.6242, 1.648, 40.0, 0.0889, -4.21053166),
            (3.08523175, 3.76e-7, 4.792e-9, 3, 1.11, 1.975, 6.0, 0.00277, 3.08523121),
            (6.07793348, 2.12e-7, 9.02e-9, 3, 2.022, 1.545, 12.9, 0.0063, 6.07793349),
        ];
        for run in &runs {
            let evidence = measured(run);
            assert_eq!(failed(&evidence), (Verdict::Good, vec![]), "{run:?}");
            let alone = Evidence { exact: None, ..evidence };
            assert_eq!(failed(&alone), (Verdict::Good, vec![]), "{run:?}");
        }
    }

    #[test]
    fn a_constant_in_the_potential_changes_no_judgement() {
        let h = healthy();
        for constant in [-1e3, 1e3] {
            let quadrature =
                h.quadrature.map(|q| RayleighQuotient { energy: q.energy + constant, ..q });
            let tails = h.tails.map(|t| Tails { energy: t.energy + constant, ..t });
            let exact = h.exact.map(|x| Exact { energy: x.energy + constant, ..x });
            let start = h.start.map(|(e, error)| (e + constant, error));
            let energy = h.energy + constant;
            let moved = Evidence { energy, quadrature, tails, exact, start, ..h };
            for variance in [h.variance, 0.3] {
                let (a, b) = (Evidence { variance, ..h }, Evidence { variance, ..moved });
                assert_eq!(failed(&a), failed(&b));
            }
        }
    }

    #[test]
    fn weights_undo_the_tails_and_find_what_plain_samples_miss() {
        // Energy 1 but for a part of 1e-4 at 101, drawn half of the time.
        let energies: Vec<f64> =
            (0..10_000).map(|i| if i % 2 == 0 { 101.0 } else { 1.0 }).collect();
        let weights: Vec<f64> =
            energies.iter().map(|e| if *e > 1.0 { 2e-4 } else { 1.9998 }).collect();
        let found = Tails::of(&energies, &weights, 1.0, 2.0);
        assert!((found.energy - 1.01).abs() < 1e-9, "{found:?}");
        // What they add is 0.01, of 5000 samples.
        let error = 0.01 / 5000f64.sqrt();
        assert!((found.missing - 0.01 - error).abs() < 1e-9, "{found:?}");
        let seen = Tails::of(&energies, &weights, 1.0, 100.0);
        assert_eq!(seen.missing, 0.0, "{seen:?}");
    }
}

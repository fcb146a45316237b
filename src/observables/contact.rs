//! What particles with a contact interaction do where they meet.
//!
//! No sample lies at a meeting. By the divergence theorem along each distance `d` of different components, and with any weight `w`
//! that is one at `d = 0` and falls off, `<sum delta> = - <sum [w sgn(d) d log|psi|/dd + w'/2]>`, `w'` the derivative by `|d|` and
//! `d/dd` at a fixed centre of the two: `w = exp(-|d|/l)` is taken.

use super::replicates::Replicates;
use super::{Bins, LETTERS, Observable, Quantity, Sample, Setup};
use crate::math::linalg::EigenFailure;
use crate::observables::quantity::{Axis, Values};
use crate::system::Geometry;
use std::f64::consts::PI;
use std::ops::Range;

pub(super) const ABOUT: &str = "contact of different spins: <sum delta>, Tan's contact, g(0), tail of the momenta, spin orders";

struct Contact {
    spins: Vec<(&'static str, Range<usize>)>,
    geometry: Geometry,
    strength: f64,
    /// Length of the weight, in bohr.
    length: f64,
    bins: Bins,
    exact: f64,
    orders: Vec<(Vec<u8>, f64)>,
}

/// Bins in which the densities of two spins are multiplied.
const BINS: usize = 128;
/// Length of the weight as a share of the extent of the particles.
const SHARE: f64 = 0.1;

pub(super) fn build(setup: &Setup) -> Option<Box<dyn Observable>> {
    let strength = setup.system.hamiltonian.interaction.contact();
    let spins: Vec<_> = setup.spins().collect();
    (strength != 0.0 && spins.len() > 1 && !setup.orders.is_empty()).then(|| {
        Box::new(Contact {
            spins,
            geometry: *setup.system.geometry,
            strength,
            length: SHARE * setup.extent,
            bins: Bins::new(setup.window, BINS),
            exact: setup.contact_density,
            orders: setup.orders.clone(),
        }) as Box<dyn Observable>
    })
}

impl Contact {
    /// Distance and the sign with which its slope counts: along the shorter way around a ring.
    fn distance(&self, x: f64, y: f64) -> (f64, f64) {
        let mut d = x - y;
        if let Geometry::Ring { circumference } = self.geometry {
            d -= circumference * (d / circumference).round();
        }
        (d.abs(), d.signum())
    }
}

impl Observable for Contact {
    fn length(&self) -> usize {
        1 + BINS * self.spins.len()
    }

    fn needs_gradient(&self) -> bool {
        true
    }

    fn add(&self, sample: &Sample, sums: &mut [f64]) {
        for (s, (_, first)) in self.spins.iter().enumerate() {
            for (_, second) in &self.spins[..s] {
                for i in first.clone() {
                    for j in second.clone() {
                        let (d, sign) = self.distance(sample.x[i], sample.x[j]);
                        let slope = 0.5 * (sample.gradient[i] - sample.gradient[j]);
                        // On a ring the weight has to end where the shorter way changes.
                        let (w, fall) = match self.geometry {
                            Geometry::Ring { circumference } => {
                                let u = 1.0 - 2.0 * d / circumference;
                                (u * u, -4.0 * u / circumference)
                            }
                            _ => {
                                let w = (-d / self.length).exp();
                                (w, -w / self.length)
                            }
                        };
                        sums[0] -= w * sign * slope + 0.5 * fall;
                    }
                }
            }
            for i in first.clone() {
                sums[1 + BINS * s + self.bins.nearest(sample.x[i])] += 1.0;
            }
        }
    }

    fn finish(&self, replicates: &Replicates) -> Result<Vec<Quantity>, EigenFailure> {
        let edges = self.bins.edges();
        let width = edges[1] - edges[0];
        let (g, spins) = (self.strength, self.spins.len());
        let found = replicates.jackknife(|m| {
            let mut apart = 0.0;
            for s in 0..spins {
                for t in 0..s {
                    let of = |s: usize| &m[1 + BINS * s..1 + BINS * (s + 1)];
                    apart += of(s).iter().zip(of(t)).map(|(a, b)| a * b).sum::<f64>() / width;
                }
            }
            vec![m[0], g * g * m[0], g * g * m[0] / (2.0 * PI), m[0] / apart]
        });
        let mut out = vec![Quantity::new(
            "contact_density",
            "1/bohr",
            "mean of sum delta(x_i - y_j) over different spins, dE/dg, from the slopes of psi around meetings",
            found.at(0),
        )];
        if g.is_finite() {
            out.push(Quantity::new(
                "tan_contact",
                "1/bohr³",
                "Tan's contact g² dE/dg (hbar = m = 1)",
                found.at(1),
            ));
            if spins == 2 {
                out.push(Quantity::new(
                    "momentum_tail",
                    "1/bohr³",
                    "the momentum distribution of either spin goes over into this divided by p⁴ (with the norm of momentum_up)",
                    found.at(2),
                ));
            }
            out.push(Quantity::new(
                "contact_density_of_state",
                "1/bohr",
                "the same mean from the coefficients of the state, without samples",
                Values::without_errors(vec![self.exact]),
            ));
        }
        out.push(Quantity::new(
            "pair_correlation_at_contact",
            "",
            "contact_density over the integral of the products of the densities of different spins: g_updown(0)",
            found.at(3),
        ));
        let name = |order: &[u8]| -> String {
            let letter = |c: &u8| match (self.spins.len(), *c) {
                (2, 0) => "u",
                (2, _) => "d",
                (_, c) => LETTERS[usize::from(c)],
            };
            order.iter().map(letter).collect()
        };
        let names: Vec<String> = self.orders.iter().map(|(order, _)| name(order)).collect();
        let about = format!(
            "probabilities of the orders of the spins along the line, without samples: {}",
            names.join(", ")
        );
        let points = (0..self.orders.len()).map(|i| i as f64).collect();
        let values = self.orders.iter().map(|(_, p)| *p).collect();
        out.push(
            Quantity::new("order_probabilities", "", &about, Values::without_errors(values))
                .along(Axis::points("order", "", points)),
        );
        Ok(out)
    }
}

//! The logarithm of a product of many positive factors, taken once for as many as the range of numbers allows: a
//! logarithm costs more than a product.

use super::scalar::Scalar;

/// Products that may grow or shrink further: far from the ends of the range of numbers.
const PRODUCTS: std::ops::Range<f64> = 1e-100..1e100;

/// Factors multiplied and divided by so far.
#[derive(Clone, Copy, Debug)]
pub struct LogProduct<T> {
    log: T,
    above: T,
    below: T,
}

impl<T: Scalar> LogProduct<T> {
    /// No factors, with a constant as the logarithm.
    pub fn new(log: f64) -> Self {
        LogProduct { log: T::constant(log), above: T::one(), below: T::one() }
    }

    /// One more factor.
    #[inline(always)]
    pub fn multiply(&mut self, factor: T) {
        self.above = self.above * factor;
        if !PRODUCTS.contains(&self.above.value()) {
            self.log += self.above.ln();
            self.above = T::one();
        }
    }

    /// One more divisor.
    #[inline(always)]
    pub fn divide(&mut self, divisor: T) {
        self.below = self.below * divisor;
        if !PRODUCTS.contains(&self.below.value()) {
            self.log -= self.below.ln();
            self.below = T::one();
        }
    }

    /// A factor that is known by its logarithm.
    pub fn add_log(&mut self, log: T) {
        self.log += log;
    }

    /// The logarithm of the product.
    pub fn ln(self) -> T {
        self.log + (self.above / self.below).ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::scalar::Jet;

    #[test]
    fn many_factors_neither_overflow_nor_vanish() {
        for scale in [1e-60, 0.3, 1.0, 1e60] {
            let mut product = LogProduct::new(0.25);
            let mut exact = Jet::<1>::constant(0.25);
            for k in 0..20 {
                let factor = (Jet::<1>::variable(0.2 * f64::from(k), 0).sin() + 1.5) * scale;
                if k % 3 == 0 {
                    product.divide(factor);
                    exact -= factor.ln();
                } else {
                    product.multiply(factor);
                    exact += factor.ln();
                }
            }
            product.add_log(Jet::variable(1.0, 0));
            exact += Jet::variable(1.0, 0);
            let found = product.ln();
            assert!((found.value - exact.value).abs() < 1e-12 * exact.value.abs().max(1.0));
            assert!((found.gradient[0] - exact.gradient[0]).abs() < 1e-12);
            assert!((found.laplacian - exact.laplacian).abs() < 1e-11);
        }
    }
}

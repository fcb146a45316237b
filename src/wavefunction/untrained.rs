//! Wavefunctions without parameters.

/// What the evaluator of a wavefunction answers that is never trained.
macro_rules! no_parameter_gradients {
    () => {
        fn parameter_gradient(&mut self, x: &[f64], _: &mut [f64]) -> LogPsi {
            self.log_psi(x)
        }

        fn tangent(&mut self, x: &[f64], _: &mut [f64]) -> (LogPsi, f64) {
            let mut gradient = vec![0.0; x.len()];
            (self.log_psi(x), self.kinetic_energy(x, &mut gradient))
        }

        fn kinetic_parameter_gradient(
            &mut self,
            x: &[f64],
            out: &mut [f64],
            _: &mut [f64],
        ) -> (LogPsi, f64) {
            self.tangent(x, out)
        }

        fn mixed_parameter_gradient(&mut self, x: &[f64], out: &mut [f64], _: &mut [f64]) -> f64 {
            self.tangent(x, out).1
        }
    };
}
pub(crate) use no_parameter_gradients;

/// The parameters of a wavefunction that has none.
macro_rules! no_parameters {
    () => {
        fn parameters(&self) -> &[f64] {
            &[]
        }

        fn set_parameters(&mut self, values: &[f64]) -> Result<(), WavefunctionError> {
            match values.len() {
                0 => Ok(()),
                found => Err(WavefunctionError::Parameters { expected: 0, found }),
            }
        }
    };
}
pub(crate) use no_parameters;

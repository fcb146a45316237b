//! A formula: read, compiled, evaluated, differentiated.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weylflow::system::formula::Formula;

fuzz_target!(|text: &str| {
    match Formula::<'x'>::new(text) {
        Ok(formula) => {
            let again = Formula::<'x'>::new(formula.text()).expect("the text is kept as it was");
            for x in [-1e300, -2.5, -0.0, 0.0, 1e-300, 0.3, 7.0, f64::INFINITY, f64::NAN] {
                let (value, derivative) = (formula.value(x), formula.derivative(x));
                assert_eq!(value.to_bits(), again.value(x).to_bits());
                assert_eq!(derivative.to_bits(), again.derivative(x).to_bits());
            }
        }
        Err(error) => {
            assert!((1..=text.chars().count() + 1).contains(&error.column), "{error}");
        }
    }
});

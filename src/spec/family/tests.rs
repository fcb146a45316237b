use super::*;
use crate::spec::read::parse;
use crate::spec::write::to_ron;
use crate::system::{External, Geometry, Interaction};

const SPEC: &str = r#"(
    title: "pair", parameters: {"R": 1.5, "g": -2.0}, // é
    hamiltonian: Inline(
        external: Sum([Nuclei(charges: [1, 1], positions: ["-R/2", "R/2"]), Formula("g*x^2*exp(-x^2/R)+R^2*x^4+g^2*x^4")]),
        interaction: SoftCoulomb(strength: "g^2"),
    ),
    sector: (up: 1, down: 1), geometry: Box(half_width: "10 + R"),
    scan: (parameter: "R", values: Linear(from: 1, to: 2, points: 3), method: Independent),
)"#;

fn family(text: &str) -> Result<Family, SpecError> {
    Family::parse(text, Path::new("pair.ron"))
}

fn message(text: &str) -> String {
    match family(text).and_then(|f| f.spec().map(|_| ())) {
        Ok(()) => panic!("is fine: {text}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn numbers_and_formulas_take_the_values_of_parameters() {
    let mut all = family(SPEC).unwrap();
    let spec = all.spec().unwrap();
    let External::Sum(parts) = &spec.hamiltonian.external else { panic!() };
    let External::Nuclei { positions, .. } = &parts[0] else { panic!() };
    assert_eq!(positions, &[-0.75, 0.75]);
    let v = |x: f64| -2.0 * x * x * (-x * x / 1.5f64).exp() + (2.25 + 4.0) * x.powi(4);
    assert!((parts[1].value(0.7) - v(0.7)).abs() < 1e-14);
    assert_eq!(
        spec.hamiltonian.interaction,
        Interaction::SoftCoulomb { strength: 4.0, softening: 1.0 }
    );
    assert_eq!(spec.geometry, Geometry::Box { half_width: 11.5 });
    all.set("R", 3.0).unwrap();
    assert_eq!(all.spec().unwrap().geometry, Geometry::Box { half_width: 13.0 });
    // What is written depends on no parameter.
    let written = to_ron(&spec).unwrap();
    assert_eq!(parse(&written, Path::new("w.ron")).unwrap(), spec);
    assert_eq!(all.scan()[0].values.all(), [1.0, 1.5, 2.0]);
    assert_eq!(all.scan()[0].method, super::super::scan::Method::Independent);
}

#[test]
fn a_spec_without_parameters_is_read_as_it_is() {
    let plain = SPEC
        .replace(r#"parameters: {"R": 1.5, "g": -2.0},"#, "")
        .replace("[\"-R/2\", \"R/2\"]", "[-0.75, 0.75]")
        .replace("g*x^2*exp(-x^2/R)+R^2*x^4+g^2*x^4", "(-2.0)*x^2*exp(-x^2/1.5)+1.5^2*x^4+(-2.0)^2*x^4")
        .replace("\"g^2\"", "4")
        .replace("\"10 + R\"", "11.5")
        .replace("scan: (parameter: \"R\", values: Linear(from: 1, to: 2, points: 3), method: Independent),", "");
    assert_eq!(family(&plain).unwrap().spec().unwrap(), family(SPEC).unwrap().spec().unwrap());
}

#[test]
fn errors_are_where_they_were_written() {
    for (from, to, expected) in [
        (
            "\"R/2\"",
            "\"S/2\"",
            "pair.ron:4:69: field hamiltonian.external[0].positions[1]: column 1 of the formula: unknown name `S`: the parameters are `R`, `g`",
        ),
        (
            "\"R/2\"",
            "\"R 2\"",
            "pair.ron:4:71: field hamiltonian.external[0].positions[1]: column 3 of the formula: expected an operator",
        ),
        ("exp(-x^2/R)", "exp(-x^2/r)", "did you mean `R`?"),
        ("\"10 + R\"", "\"R - 10\"", "pair.ron:7:57: field geometry.half_width: "),
        ("\"10 + R\"", "\"10 + x\"", "unknown name `x`"),
        ("\"10 + R\"", "\"1/(R-R)\"", "pair.ron:7:57: field geometry.half_width: "),
        (
            "half_width",
            "half_with",
            "pair.ron:7:45: field geometry.half_with: unknown field `half_with`; did you mean `half_width`?",
        ),
        ("up: 1, ", "ub: 1, ", "pair.ron:7:14: field sector.ub: unknown field"),
        ("parameters:", "paramters:", "pair.ron:2:20: "),
        ("\"g\": -2.0", "\"g\": \"two\"", "pair.ron:2:48: field parameters"),
        ("\"g\": -2.0", "\"g\": -2.0, \"h\": 1", "pair.ron:2:54: field parameters.h: no formula"),
        (
            "\"g\": -2.0",
            "\"g\": -2.0, \"g\": 1",
            "pair.ron:2:54: field parameters.g: is named twice",
        ),
        ("\"g\": -2.0", "\"g\": -2.0, \"pi\": 1", "field parameters.pi: the name of a parameter"),
        (
            "parameter: \"R\"",
            "parameter: \"Q\"",
            "pair.ron:8:23: field scan.parameter: unknown parameter `Q`",
        ),
        (
            "points: 3",
            "points: 0",
            "field scan.values.points: a scan must have between 1 and 1000 points, found 0",
        ),
        ("points: 3", "point: 3", "unknown field `point`; did you mean `points`?"),
        ("Independent", "Continuaton", "did you mean `Continuation`?"),
        (
            "Independent",
            "Conditional(degree: 25)",
            "field scan.method.degree: must be between 1 and 24, found 25",
        ),
        (
            "3), method: Independent",
            "1), method: Conditional()",
            "field scan.values: `Conditional` is for two and more values",
        ),
        (
            "scan: (parameter: \"R\", values: Linear(from: 1, to: 2, points: 3), method: Independent)",
            "scan: [(parameter: \"R\", values: List([1, 2]), method: Conditional()), (parameter: \"g\", values: List([1, 2]), method: Conditional())]",
            "`Conditional` is for scans of one parameter",
        ),
        (
            "method: Independent)",
            "method: Conditional()), states: (count: 2)",
            "field scan.method: `Conditional` is for ground states",
        ),
        (
            "method: Independent)",
            "method: Conditional()), temperature: (kT: 0.5)",
            "field scan.method: `Conditional` is for ground states",
        ),
        ("scan: ", "skan: ", "did you mean `scan`?"),
        ("-x^2/R", "-x^2/R)", "pair.ron:4:"),
    ] {
        let text = SPEC.replacen(from, to, 1);
        assert_ne!(text, SPEC);
        let found = message(&text);
        assert!(found.contains(expected), "{to}: {found}\n does not have: {expected}");
    }
}

#[test]
fn only_named_parameters_can_be_set() {
    let mut all = family(SPEC).unwrap();
    let error = all.set("r", 1.0).unwrap_err().to_string();
    assert!(error.contains("unknown parameter `r`; did you mean `R`?"), "{error}");
    let error = all.set("R", f64::NAN).unwrap_err().to_string();
    assert!(error.contains("parameters.R: must be finite"), "{error}");
}

//! Malformed specs: each is refused by the program itself with a located message, and nothing else
//! happens.
//!
//! A case replaces a piece of a valid file. The `@` in the replacement is where the message has to
//! point; it is taken out before the file is written.

use proptest::prelude::*;
use std::fs;
use std::path::Path;
use std::process::Command;
use weylflow::spec::{Family, load, read};

const SPEC: &str = r#"// A valid spec, to be damaged.
(
    title: "Base",
    hamiltonian: Inline(
        external: Harmonic(frequency: 1.0),
        interaction: SoftCoulomb(strength: 1.0, softening: 1.0),
    ),
    sector: (up: 2, down: 1),
    geometry: Box(half_width: 10.0),
    wavefunction: Waveflow(layers: 2, hidden: [8, 8]),
    optimiser: StochasticReconfiguration(tau: 0.1),
    samples_per_iteration: 128,
    iterations: 10,
    final_samples: 1000,
    sampling: QuasiRandom,
    scramblings: 16,
    reference: Exact,
)
"#;

const SPEC_WITH_FILE: &str = r#"(
    title: "Base",
    hamiltonian: File("physics/h.ron"),
    sector: (up: 2),
    geometry: Box(half_width: 10.0),
)
"#;

const HAMILTONIAN: &str = r#"// A valid Hamiltonian.
(
    title: "Two nuclei",
    external: Nuclei(
        charges: [1.0, 1.0],
        positions: [-1.0, 1.0],
    ),
    interaction: Formula("1/sqrt(d^2 + 1)"),
)
"#;

/// A sum of 64 potentials.
macro_rules! many_potentials {
    () => {
        concat!(
            "Sum([Free,Free,Free,Free,Free,Free,Free,Free,Free,Free,Free,Free,Free,Free,Free,Free,",
            "Free,Free,Free,Free,Free,Free,Free,Free,Free,Free,Free,Free,Free,Free,Free,Free,",
            "Free,Free,Free,Free,Free,Free,Free,Free,Free,Free,Free,Free,Free,Free,Free,Free,",
            "Free,Free,Free,Free,Free,Free,Free,Free,Free,Free,Free,Free,Free,Free,Free,Free]),",
        )
    };
}

/// What is replaced in [`SPEC`], by what, and a fragment of the message.
const IN_THE_SPEC: &[(&str, &str, &str)] = &[
    // Syntax.
    ("Harmonic(frequency: 1.0)", "Free@()", "`Free` has no fields: it is written without brackets"),
    ("Harmonic(frequency: 1.0)", "Sum([Free@(2)])", "`Free` has no fields"),
    (
        "Harmonic(frequency: 1.0)",
        "Harmonic@",
        "external: expected `(` and the fields of `Harmonic`",
    ),
    ("\"Base\",\n    ham", "\"Base\"\n    @ham", "expected `,` or a closing bracket"),
    ("title: \"Base\"", "title @\"Base\"", "expected `:` after the name of a field"),
    ("title: \"Base\"", "title: @Base", "expected a text in double quotes"),
    ("title: \"Base\"", "@\"title\": \"Base\"", "expected the name of a field or a choice"),
    ("(\n    title", "(\n    @, title", "expected the name of a field or a choice"),
    ("(\n    title", "@title", "expected `(` or `RunSpec(`, found `title`"),
    ("Exact,\n)", "Exact,\n) @stray", "unexpected text after the closing `)`"),
    ("Exact,\n)\n", "Exact,\n)\n@)", "unexpected text after the closing `)`"),
    ("10.0),\n", "10.0), @/* no end\n", "this comment is never closed"),
    ("[8, 8]", "[8 @8]", "expected `,` or a closing bracket"),
    ("[8, 8]", "[8, 8@)", "expected `,` or a closing bracket"),
    ("Exact,\n)", "Exact,\n@]", "expected the name of a field or a choice"),
    ("up: 2,", "up @= 2,", "expected `:`"),
    ("up: 2,", "up: @two,", "expected a whole number"),
    ("up: 2,", "up: @,", "expected a whole number"),
    // Names.
    ("title:", "@titel:", "unknown field `titel`; did you mean `title`?"),
    ("half_width", "@half_with", "unknown field `half_with`; did you mean `half_width`?"),
    ("half_width", "@halfwidth", "did you mean `half_width`?"),
    ("half_width", "@zebra", "the fields here are `half_width`"),
    ("tau:", "@learning_rate:", "unknown field `learning_rate`; the fields here are `tau`"),
    ("layers", "@layer", "did you mean `layers`?"),
    ("up: 2,", "@ups: 2,", "did you mean `up`?"),
    ("Box", "@Bok", "unknown choice `Bok`; did you mean `Box`?"),
    ("Box", "@box", "did you mean `Box`?"),
    ("Box", "@Geometry::Box", "the choices here are `Box`, `Line`, `Ring`"),
    ("Waveflow", "@WaveFlow", "did you mean `Waveflow`?"),
    ("StochasticReconfiguration", "@Sgd", "`Adam`, `StochasticReconfiguration`"),
    ("SoftCoulomb", "@Coulomb", "unknown choice `Coulomb`"),
    ("Harmonic(frequency", "@Harmonik(frequency", "did you mean `Harmonic`?"),
    ("Exact", "@Exakt", "did you mean `Exact`?"),
    ("layers: 2", "chart: @Cube", "the choices here are `StickBreaking`, `Uniform`, `Gaps`"),
    ("Inline", "@Inlin", "did you mean `Inline`?"),
    // Missing and repeated fields.
    ("(\n    title: \"Base\",", "@(", "the field `title` is missing"),
    ("(up: 2, down: 1)", "@(down: 1)", "the field `up` is missing"),
    ("Box(half_width: 10.0)", "@Box()", "the field `half_width` is missing"),
    ("Box(half_width: 10.0)", "Box@", "expected `(`"),
    ("Exact", "@Literal(energy: -1)", "the field `source` is missing"),
    ("down: 1", "@up: 1", "the field `up` is given twice"),
    ("iterations: 10", "iterations: 10, @iterations: 11", "the field `iterations` is given twice"),
    // Types.
    ("10.0)", "@\"10\")", "field geometry.half_width: expected a number"),
    ("10.0)", "@true)", "expected a number"),
    ("10.0)", "@[10.0])", "expected a number"),
    ("up: 2,", "up: @2.5,", "field sector.up: expected a whole number"),
    ("up: 2,", "up: @-2,", "field sector.up: expected a whole number, not negative"),
    ("up: 2,", "up: @99999999999999999999,", "expected a whole number"),
    ("iterations: 10", "iterations: @1e3", "expected a whole number"),
    ("(up: 2, down: 1)", "@2", "expected `(`"),
    ("(up: 2, down: 1)", "(@2, 1)", "found `2`"),
    ("[8, 8]", "@8", "field wavefunction.hidden: expected a list"),
    ("[8, 8]", "[8, @-8]", "field wavefunction.hidden[1]: expected a whole number"),
    ("Waveflow(layers: 2, hidden: [8, 8])", "Waveflow(@(layers: 2))", "one pair of parentheses"),
    ("Inline(\n        ext", "File(\n        @ext", "expected a text in double quotes"),
    // More than two components.
    (
        "(up: 2, down: 1)",
        "Components([2, @-1])",
        "field sector.Components[1]: expected a whole number",
    ),
    ("(up: 2, down: 1)", "Components([2, @1.5, 1])", "expected a whole number"),
    ("(up: 2, down: 1)", "Components(@3)", "field sector.Components: expected a list"),
    ("(up: 2, down: 1)", "@Component([2, 1])", "`Components([`"),
    ("(up: 2, down: 1)", "@Components([])", "field sector: at least one particle is needed"),
    ("(up: 2, down: 1)", "@Components([20, 10, 3])", "at most 32 particles are allowed, found 33"),
    ("(up: 2, down: 1)", "(up: 2, @Components: [1])", "unknown field `Components`"),
    ("(up: 2, down: 1)", "/* a */ Components ([2, 1, @[]])", "expected a whole number"),
    (
        "Waveflow(layers: 2,",
        "Waveflow(bijection: RationalQuadratic, layers: @2,",
        "must be at most 1 with RationalQuadratic",
    ),
    (
        "layers: 2, hidden: [8, 8]),\n    optimiser: Sto",
        "bijection: RationalQuadratic),\n    optimiser: @Sto",
        "needs EnergyNaturalGradient",
    ),
    (
        "Waveflow(layers: 2",
        "Waveflow(bijection: @RationalQuadratc, layers: 2",
        "did you mean `RationalQuadratic`?",
    ),
    (
        "(up: 2, down: 1),\n    geometry: Box(half_width: 10.0),\n    wavefunction: Waveflow(",
        "Components([1, 1, 1]),\n    geometry: Box(half_width: 10.0),\n    wavefunction: @Waveflow(",
        "two components: choose SectorBase() or Weyl()",
    ),
    ("(up: 2, down: 1)", "Components([2, 1]), @layers: 1", "unknown field `layers`"),
    // Formulas.
    (
        "Harmonic(frequency: 1.0)",
        "Formula(\"@sqr(x)\")",
        "column 1 of the formula: unknown function `sqr`; did you mean `sqrt`?",
    ),
    (
        "Harmonic(frequency: 1.0)",
        "Formula(\"x*@y\")",
        "column 3 of the formula: unknown name `y`: the variable here is `x`",
    ),
    ("Harmonic(frequency: 1.0)", "Formula(\"x@**2\")", "the power is written `^`"),
    ("Harmonic(frequency: 1.0)", "Formula(\"2@x\")", "multiplication is written `*`"),
    ("Harmonic(frequency: 1.0)", "Formula(\"1 + @(x\")", "this `(` is never closed"),
    ("Harmonic(frequency: 1.0)", "Formula(\"x^2\")@\")", "expected `,`"),
    ("Harmonic(frequency: 1.0)", "Formula(\"x^2@)\")", "this `)` closes nothing"),
    ("Harmonic(frequency: 1.0)", "Formula(\"@\")", "the formula is empty"),
    ("Harmonic(frequency: 1.0)", "Formula(\"x^@\")", "the end of the formula"),
    ("Harmonic(frequency: 1.0)", "Formula(\"@log(x)\")", "write `ln` or `log10`"),
    ("Harmonic(frequency: 1.0)", "Formula(r#\"x + @y\"#)", "the variable here is `x`"),
    ("Harmonic(frequency: 1.0)", "Formula(\"x +\\t\\u{20}@y\")", "column 6 of the formula"),
    ("Harmonic(frequency: 1.0)", "Formula(@5)", "expected a text in double quotes"),
    (
        "Harmonic(frequency: 1.0)",
        "Sum([Free, Formula(\"@d\")])",
        "field hamiltonian.external[1]: column 1 of the formula: unknown name `d`",
    ),
    (
        "SoftCoulomb(strength: 1.0, softening: 1.0)",
        "Formula(\"1/@x\")",
        "field hamiltonian.interaction: column 3 of the formula: unknown name `x`: the variable here is `d`",
    ),
    ("SoftCoulomb(strength: 1.0, softening: 1.0)", "@Formula(\"1/d\")", "w(d) must be even in d"),
    (
        "SoftCoulomb(strength: 1.0, softening: 1.0)",
        "@Formula(\"sqrt(d)\")",
        "w(d) must be even in d",
    ),
    (
        "SoftCoulomb(strength: 1.0, softening: 1.0)",
        "@Formula(\"1/(abs(d) - 5)\")",
        "w(d) must be finite in the space of the particles, found inf at d = 5",
    ),
    (
        "Harmonic(frequency: 1.0)",
        "@Formula(\"1/x\")",
        "v(x) must be finite in the space of the particles, found inf at x = 0",
    ),
    ("Harmonic(frequency: 1.0)", "@Formula(\"1/(x - 0.3)\")", "at x = 0.3"),
    ("Harmonic(frequency: 1.0)", "@Formula(\"sqrt(x)\")", "found NaN at x = -9.99"),
    ("Harmonic(frequency: 1.0)", "@Formula(\"exp(x^4)\")", "found inf at x"),
    // Physics.
    (
        "(up: 2, down: 1)",
        "@(up: 0, down: 0)",
        "field sector: at least one particle is needed, found 0",
    ),
    ("(up: 2, down: 1)", "@(up: 0)", "at least one particle is needed"),
    ("up: 2, down: 1", "up: @33", "field sector.up: must be between 0 and 32, found 33"),
    ("up: 2,", "up: @18446744073709551615,", "field sector.up: must be between 0 and 32"),
    ("(up: 2, down: 1)", "@(up: 20, down: 20)", "at most 32 particles are allowed, found 40"),
    ("10.0)", "@0.0)", "field geometry.half_width: must be positive, found 0"),
    ("10.0)", "@-1)", "must be positive, found -1"),
    ("10.0)", "@NaN)", "must be a finite number, found NaN"),
    ("10.0)", "@inf)", "must be a finite number, found inf"),
    ("10.0)", "@1e400)", "must be a finite number, found inf"),
    ("10.0)", "@1e-9)", "must be between 1e-6 and 1e6 bohr"),
    ("Box(half_width: 10.0)", "Ring(circumference: @0)", "must be positive"),
    (
        "(up: 2, down: 1),\n    geometry: Box(half_width: 10.0)",
        "(up: @2, down: 1),\n    geometry: Ring(circumference: 6)",
        "on a Ring the number of particles of each spin must be odd",
    ),
    (
        "(up: 2, down: 1),\n    geometry: Box(half_width: 10.0)",
        "(up: 1, down: @4),\n    geometry: Ring(circumference: 6)",
        "field sector.down: on a Ring",
    ),
    (
        "(up: 2, down: 1),\n    geometry: Box(half_width: 10.0)",
        "(up: 3),\n    geometry: @Ring(circumference: 6)",
        "supports only the geometry Box",
    ),
    (
        "(up: 2, down: 1),\n    geometry: Box(half_width: 10.0)",
        "(up: 3),\n    geometry: @Line",
        "supports only the geometry Box",
    ),
    (
        "external: Harmonic(frequency: 1.0),
        interaction: SoftCoulomb(strength: 1.0, softening: 1.0),
    ),
    sector: (up: 2, down: 1),
    geometry: Box(half_width: 10.0),
    wavefunction: Waveflow(layers: 2, hidden: [8, 8])",
        "external: @Lattice(depth: 1, period: 3),
        interaction: None,
    ),
    sector: (up: 2),
    geometry: Line,
    wavefunction: Weyl()",
        "on the Line v(x) must hold the particles",
    ),
    (
        "Box(half_width: 10.0),\n    wavefunction: Waveflow(layers: 2, hidden: [8, 8])",
        "Line,\n    wavefunction: Weyl(base: @FreeFermions)",
        "does not exist on a Line",
    ),
    (
        "wavefunction: Waveflow(layers: 2, hidden: [8, 8])",
        "wavefunction: Weyl(base: @MultiDeterminant(determinants: HalfProjected))",
        "needs as many particles up as down, found 2 and 1",
    ),
    (
        "wavefunction: Waveflow(layers: 2, hidden: [8, 8])",
        "wavefunction: Weyl(base: @MultiDeterminant(determinants: ConfigurationInteraction(orbitals: 1)))",
        "at least as many orbitals as there are particles of one spin, 2, found 1",
    ),
    (
        "(up: 2, down: 1),
    geometry: Box(half_width: 10.0),
    wavefunction: Waveflow(layers: 2, hidden: [8, 8])",
        "(up: 3, down: 3),
    geometry: Ring(circumference: 6),
    wavefunction: Weyl(base: @MultiDeterminant())",
        "HalfProjected of the base MultiDeterminant, which needs walls or a trap, does not exist on a Ring",
    ),
    (
        "frequency: 1.0",
        "frequency: @0",
        "field hamiltonian.external.frequency: must be positive, found 0",
    ),
    ("frequency: 1.0", "frequency: @-inf", "must be a finite number"),
    (
        "Harmonic(frequency: 1.0)",
        "Nuclei(charges: @[], positions: [])",
        "at least 1 charge is needed, found 0",
    ),
    (
        "Harmonic(frequency: 1.0)",
        "Nuclei(charges: [1, 2], positions: @[0])",
        "as many positions as charges are needed, 2, found 1",
    ),
    (
        "Harmonic(frequency: 1.0)",
        "Nuclei(charges: [1, @NaN], positions: [0, 1])",
        "field hamiltonian.external.charges[1]: must be a finite number, found NaN",
    ),
    (
        "Harmonic(frequency: 1.0)",
        "Nuclei(charges: [1, 2], positions: [0, @-10])",
        "every nucleus must lie between -10 and 10, found -10",
    ),
    (
        "Harmonic(frequency: 1.0)",
        "Nuclei(charges: [1], positions: [0], softening: @0)",
        "field hamiltonian.external.softening: must be positive",
    ),
    ("Harmonic(frequency: 1.0)", "Lattice(depth: 1, period: @0)", "must be positive"),
    ("Harmonic(frequency: 1.0)", "Lattice(depth: @inf, period: 1)", "must be a finite number"),
    (
        "Harmonic(frequency: 1.0)",
        "DoubleWell(half_separation: 1, strength: @-1)",
        "must be positive, found -1",
    ),
    ("Harmonic(frequency: 1.0)", "@Sum([])", "at least 1 potential is needed"),
    ("Harmonic(frequency: 1.0)", "Sum([Free, @Sum([])])", "field hamiltonian.external[1]"),
    ("Harmonic(frequency: 1.0)", MANY_POTENTIALS, "at most 256 potentials are allowed, found 257"),
    (
        "Harmonic(frequency: 1.0)",
        "Sum([Free, Sum([Harmonic(frequency: @0)])])",
        "field hamiltonian.external[1][0].frequency",
    ),
    (
        "softening: 1.0)",
        "softening: @0)",
        "field hamiltonian.interaction.softening: must be positive, found 0",
    ),
    (
        "strength: 1.0",
        "strength: @NaN",
        "field hamiltonian.interaction.strength: must be a finite number",
    ),
    (
        "SoftCoulomb(strength: 1.0, softening: 1.0)",
        "Gaussian(strength: 1, width: @0)",
        "must be positive",
    ),
    (
        "SoftCoulomb(strength: 1.0, softening: 1.0)",
        "Dipolar(strength: 1, softening: @0)",
        "must be positive",
    ),
    (
        "SoftCoulomb(strength: 1.0, softening: 1.0)",
        "Harmonic(stiffness: @inf)",
        "must be a finite number",
    ),
    ("\"Base\"", "@\" \"", "field title: must not be empty"),
    // Settings.
    ("layers: 2", "layers: @33", "field wavefunction.layers: must be between 0 and 32, found 33"),
    (
        "layers: 2",
        "degree: @3",
        "must be at least 4, because the local energy takes three derivatives of the map, found 3",
    ),
    ("layers: 2", "degree: @13", "must be between 1 and 12"),
    ("layers: 2", "knots: @5", "must be at least degree + 1 = 6, found 5"),
    ("layers: 2", "prior_knots: @5", "must be at least degree + 1 = 6, found 5"),
    ("layers: 2", "slope_floor: @0", "must be above 0 and below 1, found 0"),
    ("layers: 2", "slope_floor: @1", "must be above 0 and below 1, found 1"),
    ("layers: 2", "slope_floor: @NaN", "must be above 0 and below 1, found NaN"),
    ("[8, 8]", "@[]", "at least 1 hidden layer is needed"),
    ("[8, 8]", "[8, @0]", "field wavefunction.hidden[1]: must be between 1 and 1024, found 0"),
    ("[8, 8]", "@[1, 1, 1, 1, 1, 1, 1, 1, 1]", "at most 8 hidden layers are allowed, found 9"),
    ("tau: 0.1", "tau: @0", "field optimiser.tau: must be positive, found 0"),
    ("tau: 0.1", "tau: @NaN", "must be a finite number"),
    ("tau: 0.1", "shift: @-1e-3", "must be positive"),
    ("tau: 0.1", "momentum: @1", "must be at least 0 and below 1, found 1"),
    ("tau: 0.1", "trust_radius: @0", "must be positive"),
    ("tau: 0.1", "final_fraction: @1.5", "must be above 0 and at most 1"),
    (
        "StochasticReconfiguration(tau: 0.1)",
        "Adam(learning_rate: @0)",
        "field optimiser.learning_rate: must be positive",
    ),
    (
        "StochasticReconfiguration(tau: 0.1)",
        "Adam(final_fraction: @0)",
        "must be above 0 and at most 1",
    ),
    (
        "iteration: 128",
        "iteration: @1",
        "field samples_per_iteration: must be between 2 and 16777216, found 1",
    ),
    (
        "iteration: 128",
        "iteration: @16777216",
        "the matrices of a step may take 16 GiB: fewer samples or parameters are needed, found",
    ),
    (
        "StochasticReconfiguration(tau: 0.1),\n    samples_per_iteration: 128",
        "StochasticReconfiguration(space: Samples),\n    samples_per_iteration: @100000",
        "field samples_per_iteration: the matrices of a step may take 16 GiB",
    ),
    (
        "Waveflow(layers: 2, hidden: [8, 8]),\n    optimiser: StochasticReconfiguration(tau: 0.1)",
        "@Waveflow(hidden: [1024, 1024]),\n    optimiser: RayleighGaussNewton()",
        "field wavefunction: the matrices of a step may take 16 GiB",
    ),
    (
        "StochasticReconfiguration(tau: 0.1)",
        "StochasticReconfiguration(tau: 0.1),\n    objective: @Variance()",
        "field objective: an optimiser that knows of the variance is needed: RayleighGaussNewton or Lbfgs, with `variance` above 0, \
         found variance with Stochastic reconfiguration",
    ),
    (
        "StochasticReconfiguration(tau: 0.1)",
        "RayleighGaussNewton(variance: 0),\n    objective: @Variance()",
        "found variance with Rayleigh-Gauss-Newton",
    ),
    (
        "StochasticReconfiguration(tau: 0.1)",
        "RayleighGaussNewton(),\n    objective: @Varience()",
        "Variance",
    ),
    ("iteration: 128", "iteration: @16777217", "must be between 2 and 16777216"),
    ("iterations: 10", "iterations: @10000001", "must be between 0 and 10000000"),
    ("scramblings: 16", "scramblings: @1", "must be between 2 and 1024"),
    ("scramblings: 16", "scramblings: @1025", "must be between 2 and 1024"),
    ("QuasiRandom", "@Quasirandom", "QuasiRandom"),
    ("samples: 1000", "samples: @1", "must be between 2 and 4294967296"),
    (
        "Exact",
        "Literal(energy: @NaN, source: \"here\")",
        "field reference.energy: must be a finite number",
    ),
    ("Exact", "Literal(energy: -1, source: @\"\")", "field reference.source: must not be empty"),
];

/// What is replaced in [`HAMILTONIAN`], by what, and a fragment of the message.
const IN_THE_HAMILTONIAN: &[(&str, &str, &str)] = &[
    ("external:", "@extrenal:", "did you mean `external`?"),
    ("charges: [1.0, 1.0]", "charges: [1.0, @one]", "field external.charges[1]: expected a number"),
    ("[-1.0, 1.0]", "@[-1.0]", "field external.positions: as many positions as charges"),
    (
        "[-1.0, 1.0]",
        "[-1.0, @10.5]",
        "field external.positions[1]: every nucleus must lie between -10 and 10, found 10.5",
    ),
    (
        "sqrt(d^2",
        "@sqtr(d^2",
        "column 3 of the formula: unknown function `sqtr`; did you mean `sqrt`?",
    ),
    ("Formula(\"1/sqrt(d^2 + 1)\")", "@Formula(\"d\")", "must be even"),
    ("Formula(\"1/sqrt(d^2 + 1)\")", "@Formula(\"1/(d^2 - 25)\")", "found inf at d = 5"),
    (
        "interaction: Formula(\"1/sqrt(d^2 + 1)\"),\n)",
        "interaction: None,\n@]",
        "expected the name",
    ),
    (
        "// A valid Hamiltonian.\n(",
        "(\n    @sector: (up: 1),",
        "unknown field `sector`; the fields here are `title`, `external`, `interaction`",
    ),
];

/// 257 potentials in sums of less than 256 each.
const MANY_POTENTIALS: &str = concat!(
    "@Sum([",
    many_potentials!(),
    many_potentials!(),
    many_potentials!(),
    many_potentials!(),
    "Free])"
);

/// Runs `weylflow check spec.ron` on these files, and insists that it does nothing but complain.
fn complaint(files: &[(&str, &[u8])]) -> String {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    let before = listing(folder.path());
    let output = Command::new(env!("CARGO_BIN_EXE_weylflow"))
        .args(["check", "spec.ron"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(output.stdout.is_empty(), "nothing on standard output: {message}");
    assert!(message.starts_with("error: ") && !message.contains("panicked"), "{message}");
    assert_eq!(before, listing(folder.path()), "no file appears");
    message
}

fn listing(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The damaged text, and `line:column` of the `@`.
fn damage(text: &str, from: &str, to: &str) -> (String, String) {
    assert_eq!(text.matches(from).count(), 1, "`{from}` must be there once");
    let marked = text.replacen(from, to, 1);
    let at = marked.find('@').unwrap_or_else(|| panic!("`{to}` has no @"));
    let before = &marked[..at];
    let line = 1 + before.matches('\n').count();
    let column = 1 + before.chars().rev().take_while(|&c| c != '\n').count();
    (marked.replacen('@', "", 1), format!("{line}:{column}"))
}

fn assert_located(message: &str, file: &str, place: &str, fragment: &str) {
    let start = format!("error: {file}:{place}: ");
    assert!(message.starts_with(&start), "expected {start}\n{message}");
    assert!(message.contains(fragment), "expected {fragment}\n{message}");
    // The source line and, below it, the caret.
    let column: usize = place.split(':').nth(1).unwrap().parse().unwrap();
    let caret = message.trim_end().lines().last().unwrap();
    let (gutter, indent) = caret.split_once("| ").unwrap_or_else(|| panic!("{message}"));
    assert!(gutter.trim().is_empty(), "{message}");
    assert_eq!(indent, format!("{}^", " ".repeat((column - 1).min(60))), "{message}");
}

#[test]
fn the_undamaged_specs_are_valid() {
    read::parse(SPEC, Path::new("spec.ron")).unwrap_or_else(|e| panic!("{e}"));
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("physics")).unwrap();
    fs::write(folder.path().join("physics/h.ron"), HAMILTONIAN).unwrap();
    fs::write(folder.path().join("spec.ron"), SPEC_WITH_FILE).unwrap();
    load(&folder.path().join("spec.ron")).unwrap_or_else(|e| panic!("{e}"));
}

#[test]
fn damaged_specs_are_refused_where_they_are_damaged() {
    assert!(IN_THE_SPEC.len() >= 50);
    let mut failures = String::new();
    for (from, to, fragment) in IN_THE_SPEC {
        let (text, place) = damage(SPEC, from, to);
        let message = complaint(&[("spec.ron", text.as_bytes())]);
        if std::panic::catch_unwind(|| assert_located(&message, "spec.ron", &place, fragment))
            .is_err()
        {
            failures += &format!("\n{to}: wants {place}, {fragment}\n{message}");
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

#[test]
fn damaged_hamiltonian_files_are_refused_in_that_file() {
    for (from, to, fragment) in IN_THE_HAMILTONIAN {
        let (text, place) = damage(HAMILTONIAN, from, to);
        let message = complaint(&[
            ("spec.ron", SPEC_WITH_FILE.as_bytes()),
            ("physics/h.ron", text.as_bytes()),
        ]);
        assert_located(&message, "physics/h.ron", &place, fragment);
    }
}

#[test]
fn a_hamiltonian_file_that_cannot_be_read_is_an_error_of_the_spec() {
    for (name, fragment) in [
        ("physics/other.ron", "the Hamiltonian file `physics/other.ron`: no such file"),
        ("physics", "the Hamiltonian file `physics`: this is a folder"),
        ("", "this is a folder"),
        ("physics/h.ron/more", "the Hamiltonian file `physics/h.ron/more`:"),
        ("a\\u{0}b", "the Hamiltonian file"),
    ] {
        let (text, place) = damage(SPEC_WITH_FILE, "\"physics/h.ron\"", &format!("@\"{name}\""));
        let files = [("spec.ron", text.as_bytes()), ("physics/h.ron", HAMILTONIAN.as_bytes())];
        // The folder of a spec given by its bare name is the working folder.
        let fragment = if name.is_empty() { "Hamiltonian file ``" } else { fragment };
        assert_located(&complaint(&files), "spec.ron", &place, fragment);
    }
}

#[cfg(unix)]
#[test]
fn a_hamiltonian_file_that_need_not_end_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    // Opening a pipe nobody writes to would wait, and reading the device would not end.
    for name in ["/dev/zero", pipe.to_str().unwrap()] {
        let (text, place) = damage(SPEC_WITH_FILE, "\"physics/h.ron\"", &format!("@\"{name}\""));
        let fragment = format!("the Hamiltonian file `{name}`: this is not a regular file");
        assert_located(&complaint(&[("spec.ron", text.as_bytes())]), "spec.ron", &place, &fragment);
    }
    let run = |arguments: &[&str]| {
        let program = Command::new(env!("CARGO_BIN_EXE_weylflow"))
            .args(arguments)
            .current_dir(folder.path())
            .output()
            .unwrap();
        String::from_utf8(program.stderr).unwrap()
    };
    assert_eq!(run(&["check", "pipe"]), "error: pipe: this is not a regular file\n");
    assert_eq!(run(&["exact", "/dev/zero"]), "error: /dev/zero: this is not a regular file\n");
}

#[test]
fn files_that_are_no_text_are_refused() {
    let at = |place: &str, fragment: &str, bytes: &[u8]| {
        let message = complaint(&[("spec.ron", bytes)]);
        assert!(message.starts_with(&format!("error: spec.ron:{place}")), "{message}");
        assert!(message.contains(fragment), "{message}");
    };
    at("1:1: ", "expected `(`", b"");
    at("2:1: ", "expected `(`", b"\n");
    at("1:1: ", "expected `(`", b"weylflow");
    at("2:4: ", "not valid UTF-8", b"(\n   \xff\xfe title");
    at(" ", "larger than 1048576 bytes", &vec![b' '; (1 << 20) + 1]);
    at("1:1: ", "this bracket is never closed", b"(");
    at(
        "5:27: ",
        "this bracket is never closed",
        &SPEC.as_bytes()[..SPEC.find("frequency").unwrap()],
    );
    at("3:12: ", "never closed", &SPEC.as_bytes()[..SPEC.find("Base").unwrap()]);
    let nested = SPEC.replace("Harmonic(frequency: 1.0)", &"Sum([".repeat(10_000));
    at("5:", "nested deeper", nested.as_bytes());
    let brackets = SPEC.replace("Harmonic(frequency: 1.0)", &"[".repeat(1_000_000));
    at("5:19: ", "expected", brackets.as_bytes());
    let formula =
        SPEC.replace("Harmonic(frequency: 1.0)", &format!("Formula(\"{}x\")", "(".repeat(900)));
    at("5:61: ", "nested deeper than 32 levels", formula.as_bytes());
    let long =
        SPEC.replace("Harmonic(frequency: 1.0)", &format!("Formula(\"{}\")", "x".repeat(100_000)));
    at("5:1028: ", "at most 1000 are allowed", long.as_bytes());
}

#[test]
fn arguments_that_are_wrong_are_explained() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_weylflow"))
            .args(arguments)
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(!output.status.success());
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(!message.contains("panicked"), "{message}");
        message
    };
    assert_eq!(run(&["check", "nowhere.ron"]), "error: nowhere.ron: no such file\n");
    assert_eq!(run(&["check", "."]), "error: .: this is a folder, not a file\n");
    assert!(run(&["check"]).contains("<SPEC>"));
    assert!(run(&["chek", "a"]).contains("'check'"));
    assert!(run(&[]).contains("Usage: weylflow"));
    fs::write(folder.path().join("wide.ron"), SPEC).unwrap();
    // Numbers of the exact solver: bounded as in a spec, and what is too large is found before it is made.
    let exact = |flags: &[&str]| {
        // One core, whatever the machine: the limits on work count with it.
        run(&[&["exact", "wide.ron", "--threads", "1"], flags].concat())
    };
    let most = u64::MAX.to_string();
    assert!(exact(&["--up", &most]).contains("--up, --down: must be between 0 and 32"));
    assert!(exact(&["--up", "20", "--down", "20"]).contains("at most 32 particles are allowed"));
    assert!(exact(&["--up", "0", "--down", "0"]).contains("at least one particle is needed"));
    assert!(exact(&["--states", &most]).contains("number too large"));
    assert!(exact(&["--states", "0"]).contains("is not in 1..=100"));
    assert!(run(&["exact", "wide.ron", "--threads", &most]).contains("number too large"));
    assert!(exact(&["--half-width", "1e7"]).contains("must be between 1e-6 and 1e6 bohr"));
    assert!(exact(&["--ring", "NaN"]).contains("--ring must be a positive number"));
    for particles in [["1", "1"], ["2", "0"], ["2", "1"], ["3", "0"]] {
        let [up, down] = particles;
        let message = exact(&["--memory", "1e-6", "--up", up, "--down", down]);
        assert!(message.contains("GiB of memory, allowed are"), "{particles:?}: {message}");
    }
    // Walls that are out of the sight of the particles are no matter.
    let wide =
        ["exact", "wide.ron", "--threads", "1", "--half-width", "1e6", "--up", "1", "--down", "0"];
    let output = Command::new(env!("CARGO_BIN_EXE_weylflow"))
        .args(wide)
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("0.5000"));
    fs::remove_file(folder.path().join("wide.ron")).unwrap();
    assert_eq!(listing(folder.path()), [""; 0]);
}

#[cfg(unix)]
#[test]
fn a_closed_standard_output_is_no_panic() {
    use std::process::Stdio;
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("spec.ron"), SPEC).unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = Command::new(env!("CARGO_BIN_EXE_weylflow"))
        .args(["check", "spec.ron"])
        .current_dir(folder.path())
        .stdout(Stdio::from(writer))
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert!(output.status.success());
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Words and symbols of specs, to be put where they do not belong.
const TOKENS: &[&str] = &[
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ":",
    ",",
    "\"",
    "'",
    "/*",
    "*/",
    "//",
    "#",
    "r#\"",
    "\"#",
    "\\",
    "0",
    "-1",
    "1e999",
    "NaN",
    "inf",
    "18446744073709551616",
    "Some(",
    "None",
    "true",
    "title",
    "Sum([",
    "Formula(\"x\")",
    "Nuclei(",
    "Inline(",
    "File(\"spec.ron\")",
    "Ring(circumference: 3)",
    "up: 3",
    "é",
    "\u{0}",
    "\n",
    "^",
    "-x^2",
    "exp(",
];

fn spec_to_damage() -> impl Strategy<Value = String> {
    let formulas = SPEC
        .replace("Harmonic(frequency: 1.0)", "Sum([Formula(\"exp(-x^2)*sin(x)/2\"), Free])")
        .replace("Exact", "Literal(energy: -1.5, source: \"é\\t\\u{e9}\")");
    prop_oneof![Just(SPEC.to_owned()), Just(formulas), Just(SPEC_WITH_FILE.to_owned())]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn random_damage_never_panics(
        text in spec_to_damage(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        tokens in prop::collection::vec(
            (any::<prop::sample::Index>(), prop::sample::select(TOKENS), any::<bool>()), 0..4),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        let mut bytes = text.into_bytes();
        for (at, token, replace) in tokens {
            let at = at.index(bytes.len());
            let end = if replace { (at + token.len()).min(bytes.len()) } else { at };
            bytes.splice(at..end, token.bytes());
        }
        for (at, byte) in flips {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spec.ron");
        fs::write(&path, &bytes).unwrap();
        if let Err(error) = load(&path) {
            prop_assert!(error.to_string().starts_with(&path.display().to_string()));
        }
    }

    #[test]
    fn random_formulas_never_panic(
        text in "[-+*/^(). xde0-9]{0,30}|(sin|exp|x|\\(|\\)|\\^|-|2|e|1e|,|\u{e9}| ){0,20}",
        x in -3.0f64..3.0,
    ) {
        use weylflow::system::formula::Formula;
        match Formula::<'x'>::new(&text) {
            Ok(f) => { f.value(x); f.derivative(x); }
            Err(e) => prop_assert!((1..=text.chars().count() + 1).contains(&e.column)),
        }
    }
}

/// What only the exact solver can do is refused where it stands, in the spec or in the file that it names.
#[test]
fn what_no_flow_can_follow_is_refused_where_it_stands() {
    let dir = tempfile::tempdir().unwrap();
    let attraction = "InverseSquare(strength: -0.2)";
    let equal =
        |text: &str| text.replace("down: 1", "down: 0").replace("Box(half_width: 10.0)", "Line");
    let inline = equal(SPEC)
        .replace("SoftCoulomb(strength: 1.0, softening: 1.0)", attraction)
        .replace("wavefunction: Waveflow(layers: 2, hidden: [8, 8]),", "");
    let hamiltonian = format!("(\n external: Harmonic(),\n interaction: {attraction},\n)\n");
    fs::create_dir(dir.path().join("physics")).unwrap();
    fs::write(dir.path().join("physics/h.ron"), hamiltonian).unwrap();
    for (text, at) in [
        (inline, "spec.ron:6:22: field hamiltonian.interaction"),
        (SPEC_WITH_FILE.into(), "h.ron:3:15: field interaction"),
    ] {
        let path = dir.path().join("spec.ron");
        fs::write(&path, text).unwrap();
        load(&path).unwrap();
        let error = Family::load(&path).unwrap().spec_to_train().unwrap_err().to_string();
        assert!(error.contains(at) && error.contains("|d|^0.7236"), "{error}");
    }
}

//! A resolved spec as text: every default written out, readable again.

use super::read::dialect;
use super::{HamiltonianSource, ResolvedSpec, locate};
use ron::ser::PrettyConfig;

/// The text of a spec that depends on no other file.
///
/// # Errors
///
/// None is expected of plain data; those of the serialiser are passed on.
pub fn to_ron(spec: &ResolvedSpec) -> Result<String, ron::Error> {
    let source = HamiltonianSource::Inline(spec.hamiltonian.clone());
    let config = PrettyConfig::new().compact_arrays(true).new_line("\n");
    let mut text = dialect().to_string_pretty(&spec.clone().with_hamiltonian(source), config)?;
    // The serialiser guards a choice called `None` against being taken for an option. There it cannot
    // be, and a person who reads the file should not wonder what `r#` means.
    for word in locate::raw_words(&text).into_iter().rev() {
        if &text[word.clone()] == "r#None" {
            text.replace_range(word, "None");
        }
    }
    text.push('\n');
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::super::read::parse;
    use super::*;
    use std::path::Path;

    #[test]
    fn what_is_written_reads_back_equal() {
        for text in [
            r##"(title: "quotes \" and r#None and \\", hamiltonian: Inline(
                external: Sum([Free, Nuclei(charges: [2, 1e-3], positions: [0, 0.1]),
                    Harmonic(), DoubleWell(half_separation: 2, strength: 0.125),
                    Lattice(depth: 1, period: 2), Formula(r#"x^2 "#), Sum([Free]),
                    Tabulated(points: [-10, -1e-3, 2, 10], values: [0.1, -1, 0, 3])]),
                interaction: Formula("1e-3/(1+d^2)")),
              sector: (up: 2, down: 1), geometry: Box(half_width: 10),
              optimiser: Adam(learning_rate: 0.1), sampling: Random, scramblings: 2, seed: 18446744073709551615,
              reference: Literal(energy: -1.5, source: "a \n line"))"##,
            r#"(title: "t", hamiltonian: Inline(external: Free, interaction: None), sector: (up: 1),
              geometry: Box(half_width: 0.1), reference: None,
              optimiser: StochasticReconfiguration(space: Samples, momentum: 0.9))"#,
            r#"(title: "t", hamiltonian: Inline(title: "h", external: Free,
                interaction: Dipolar(strength: -0.1, softening: 0.3)), sector: (up: 1),
              geometry: Box(half_width: 12.345678901234567), wavefunction: Waveflow(chart: Gaps))"#,
        ] {
            let spec = parse(text, Path::new("t.ron")).unwrap_or_else(|e| panic!("{e}"));
            let written = to_ron(&spec).unwrap();
            let again = parse(&written, Path::new("t.ron")).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(spec, again);
            assert_eq!(written, to_ron(&again).unwrap());
            assert!(!written.contains(": r#"), "{written}");
        }
    }
}

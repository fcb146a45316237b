//! Every Hamiltonian and every run that comes with the program is valid.

use std::path::{Path, PathBuf};
use weylflow::spec::{load, load_hamiltonian, read, validate, write};
use weylflow::system::{Geometry, Interaction};

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "ron"));
    files.sort();
    files
}

#[test]
fn every_hamiltonian_loads_and_fits_a_box() {
    let files = files("hamiltonians");
    assert!(files.len() >= 23);
    for file in files {
        let hamiltonian = load_hamiltonian(&file).unwrap_or_else(|e| panic!("{e}"));
        assert!(!hamiltonian.title.is_empty(), "{}", file.display());
        validate::hamiltonian_in(&hamiltonian, &Geometry::Box { half_width: 8.0 })
            .unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("// "), "{} says what it is", file.display());
    }
}

#[test]
fn every_run_loads_and_survives_writing() {
    let files = files("runs");
    assert!(files.len() >= 4);
    for file in files {
        let spec = load(&file).unwrap_or_else(|e| panic!("{e}"));
        let written = write::to_ron(&spec).unwrap();
        // It depends on no other file: the folder of the spec does not matter.
        let again = read::parse(&written, Path::new("elsewhere/spec.ron"));
        assert_eq!(again.unwrap_or_else(|e| panic!("{e}")), spec);
    }
}

/// The potentials are those that the reader of specs knows; each has a row with its formula.
#[test]
fn the_docs_have_the_formula_of_every_potential() {
    let docs = include_str!("../docs/specs.md");
    for (field, table) in
        [("external", "| `external` | v(x) |"), ("interaction", "| `interaction` | w(d) |")]
    {
        let spec = format!(
            "(title: \"t\", hamiltonian: Inline(external: Free, interaction: None, {field}: Zzz), sector: (up: 1), geometry: Line)"
        );
        let spec = spec.replacen(
            &format!("{field}: {}", if field == "external" { "Free, " } else { "None, " }),
            "",
            1,
        );
        let said = read::parse(&spec, Path::new("s.ron")).unwrap_err().to_string();
        let choices =
            said.split("the choices here are ").nth(1).unwrap_or_else(|| panic!("{said}"));
        let choices = choices.lines().next().unwrap();
        let names: Vec<&str> = choices.split('`').skip(1).step_by(2).collect();
        assert!(names.len() >= 7, "{said}");
        let rows = docs.split(table).nth(1).unwrap().split("\n\n").next().unwrap();
        for name in names {
            let row = rows.lines().find(|row| {
                let rest = row.strip_prefix(&format!("| `{name}"));
                rest.is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
            });
            let formula = row.and_then(|row| row.split(" | ").nth(1)).unwrap_or_default();
            assert!(!formula.trim_matches(['|', ' ']).is_empty(), "{name} has no formula");
        }
    }
}

#[test]
fn the_library_means_what_its_comments_say() {
    let load = |name: &str| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("hamiltonians");
        load_hamiltonian(&folder.join(name)).unwrap_or_else(|e| panic!("{e}"))
    };
    let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
    let x = 1.3f64;
    close(load("helium.ron").external.value(x), -2.0 / (x * x + 1.0).sqrt());
    close(load("trap_strong.ron").interaction.value(x), 5.0 / (x * x + 0.25).sqrt());
    close(load("trap_gaussian.ron").interaction.value(x), 3.0 * (-2.0 * x * x).exp());
    close(load("trap_dipolar.ron").interaction.value(x), 1.0 / (x.powi(3) + 0.027));
    close(load("double_well.ron").external.value(x), (x * x - 4.0).powi(2) / 8.0);
    close(load("harmonium.ron").interaction.value(x), x * x / 8.0);
    close(load("calogero.ron").interaction.value(x), 2.0 / (x * x));
    close(
        load("anharmonic_formula.ron").external.value(x),
        0.5 * x * x + 0.1 * x.powi(4) - 0.3 * x,
    );
    close(load("hydrogen_molecule.ron").nuclear_repulsion(), 0.5299989400031799);
    close(load("hydrogen_molecule_stretched.ron").nuclear_repulsion(), 0.1643989873053573);
    close(load("h4_chain.ron").nuclear_repulsion(), 1.991111023877897);
    assert_eq!(load("trap_free.ron").interaction, Interaction::None);
}

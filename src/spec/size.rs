//! How much memory a run takes, from its spec alone: an estimate from above, made before anything is allocated.

use super::RunSpec;
use crate::system::{Geometry, Sector};
use crate::wavefunction::WavefunctionSettings;
use crate::wavefunction::waveflow::conditioner::Conditioner;
use crate::wavefunction::waveflow::{Bijection, WaveflowSettings};
use crate::wavefunction::weyl::{LayerKind, Sizes, WeylSettings, default_pair_cells};

/// Most memory, in bytes, that the matrices of a training may take by the estimate: 16 GiB.
pub const MOST_MEMORY: f64 = (1u64 << 34) as f64;

/// Parameters of a run's wavefunction at the end; not fewer than it will have.
pub fn parameters<H>(spec: &RunSpec<H>) -> usize {
    match &spec.wavefunction {
        WavefunctionSettings::Waveflow(settings) => waveflow(settings, spec.sector.particles()),
        WavefunctionSettings::Weyl(settings) => {
            weyl(settings, spec.sector, &spec.geometry, 1 << spec.refinements)
        }
        // Its coefficients are not trained.
        WavefunctionSettings::SectorBase(_) => 0,
    }
}

fn waveflow(settings: &WaveflowSettings, particles: usize) -> usize {
    // The conditions at the ends leave the prior with no more functions than it has splines.
    let functions = |knots: usize| knots + settings.degree - 1;
    let network =
        |outputs: usize| Conditioner::new(&vec![outputs; particles], &settings.hidden).parameters();
    let of_layer = match settings.bijection {
        Bijection::ISpline => functions(settings.knots),
        Bijection::RationalQuadratic => 2 * settings.knots - 1,
    };
    settings.layers * network(of_layer) + network(functions(settings.prior_knots))
}

/// With `finer` times as many cells as the settings say.
fn weyl(settings: &WeylSettings, sector: Sector, geometry: &Geometry, finer: usize) -> usize {
    use LayerKind::*;
    // As many of each as `default_layers` gives on any geometry.
    let default =
        || vec![TwoBody, TwoBody, TwoBody, Pair, Pair, PairInverse, PairInverse, Monotone];
    let layers = settings.layers.clone().unwrap_or_else(default);
    let spins = sector.spins().count();
    // Pairs of equal spins and of opposite ones.
    let pairs = usize::from(sector.spins().any(|s| s.len() > 1)) + usize::from(spins > 1);
    let pair_cells = settings.pair_cells.unwrap_or_else(|| default_pair_cells(geometry));
    // On a circle no cosine lacks its sine.
    let circle = matches!(geometry, Geometry::Ring { .. });
    let sizes = Sizes {
        spins,
        pairs,
        monotone_cells: finer * settings.monotone_cells,
        pair_cells: finer * pair_cells,
        two_body_functions: settings.two_body_functions | usize::from(circle),
    };
    layers.iter().map(|layer| (layer.about().parameters)(&sizes)).sum()
}

/// Bytes that the samples and matrices of one step take at most.
pub fn memory<H>(spec: &RunSpec<H>) -> f64 {
    let particles = spec.sector.particles() as f64;
    let samples = spec.samples_per_iteration as f64;
    let parameters = parameters(spec) as f64;
    let step = spec.optimiser.settings().numbers(samples, particles, parameters);
    // Several states turn their rows in copies.
    let copies = if spec.is_of_several() { 4.0 * samples * parameters } else { 0.0 };
    // Parameters are chosen at the end on eight times the samples, without derivatives.
    let selection = (8.0 * samples).min(spec.final_samples as f64).max(samples);
    8.0 * (step + copies + 2.0 * selection * (particles + 2.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::ResolvedSpec;
    use crate::spec::read::parse;
    use crate::system::System;
    use std::path::Path;

    fn spec(sector: &str, geometry: &str, rest: &str) -> ResolvedSpec {
        let text = format!(
            "(title: \"t\", hamiltonian: Inline(external: {}, interaction: SoftCoulomb()), \
             sector: {sector}, geometry: {geometry}, {rest})",
            if geometry.starts_with("Ring") {
                "Free"
            } else {
                "DoubleWell(half_separation: 1, strength: 1)"
            },
        );
        parse(&text, Path::new("t.ron")).unwrap_or_else(|e| panic!("{e}"))
    }

    #[test]
    fn the_number_of_parameters_is_that_of_the_wavefunction_or_little_more() {
        let walls = "Box(half_width: 6)";
        for (sector, geometry, wavefunction) in [
            ("(up: 2)", walls, "Waveflow()"),
            ("(up: 1)", walls, "Waveflow(layers: 3, hidden: [7, 5], knots: 12)"),
            ("(up: 2, down: 1)", walls, "Waveflow(layers: 0, degree: 4, prior_knots: 20)"),
            ("(up: 3)", walls, "Waveflow(layers: 2, hidden: [40, 3], chart: Uniform)"),
            ("(up: 2)", walls, "Waveflow(bijection: RationalQuadratic, knots: 12)"),
            ("(up: 1)", walls, "Weyl()"),
            ("(up: 2)", walls, "Weyl()"),
            ("(up: 1, down: 1)", walls, "Weyl(two_body_functions: 3)"),
            ("(up: 2, down: 1)", "Line", "Weyl(pair_cells: 40)"),
            ("(up: 3)", "Ring(circumference: 6)", "Weyl()"),
            ("(up: 2, down: 2)", walls, "Weyl(layers: [Monotone, Pair, TwoBody, ToMeanField])"),
        ] {
            let mut spec = spec(sector, geometry, &format!("wavefunction: {wavefunction}"));
            let system = System { hamiltonian: &spec.hamiltonian, geometry: &spec.geometry };
            let psi = spec.wavefunction.build(spec.sector, system, 0).unwrap();
            let (bound, found) = (parameters(&spec), psi.parameters().len());
            assert!(
                found <= bound && bound <= found + found / 4,
                "{wavefunction}: {found} {bound}"
            );
            // Before the defaults that depend on the system are written out, too.
            if let WavefunctionSettings::Weyl(settings) = &spec.wavefunction {
                let bare = WeylSettings { pair_cells: None, layers: None, ..settings.clone() };
                let bare = WavefunctionSettings::Weyl(bare);
                let mut psi = bare.build(spec.sector, system, 0).unwrap();
                spec.wavefunction = bare;
                assert!(psi.parameters().len() <= parameters(&spec));
                spec.refinements = 2;
                (0..2).for_each(|_| psi.refine());
                assert!(psi.parameters().len() <= parameters(&spec));
            }
        }
    }

    #[test]
    fn more_of_anything_takes_more_memory() {
        let of = |rest: &str| memory(&spec("(up: 2)", "Box(half_width: 6)", rest));
        let plain = of("");
        for rest in [
            "samples_per_iteration: 16384",
            "wavefunction: Waveflow(hidden: [25])",
            "wavefunction: Waveflow(layers: 2)",
            "final_samples: 1000000, samples_per_iteration: 100000",
        ] {
            assert!(of(rest) > plain, "{rest}");
        }
        let in_samples = "optimiser: StochasticReconfiguration(space: Samples), \
                          samples_per_iteration: 20000";
        assert!(of(in_samples) > 3.0 * 8.0 * 20000f64.powi(2));
    }
}

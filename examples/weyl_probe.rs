//! Trains a Weyl flow on a case of issue 4 and prints its deviation from the exact energy.
use weylflow::{
    local_energy::System, optimise::*, system::*, train, wavefunction::weyl::*, wavefunction::*,
};
fn arg(i: usize, d: &str) -> String {
    std::env::args().nth(i).unwrap_or(d.into())
}
fn main() {
    let case = arg(1, "he3");
    let (z, r, up, down, l, ext, ex) = match case.as_str() {
        "he3" => (2.0, 0.0, 2, 0, 10.0, 0, -1.8160418892),
        "he1" => (2.0, 0.0, 1, 1, 15.0, 0, -2.2382578241),
        "li" => (3.0, 0.0, 2, 1, 20.0, 0, -4.2105316561),
        "be" => (4.0, 0.0, 2, 2, 22.0, 0, -6.7850780489),
        "h2" => (1.0, 1.6, 1, 1, 15.0, 2, -1.9824647646),
        "h2s" => (1.0, 6.0, 1, 1, 15.0, 2, -1.5035376348),
        "trap2" => (0.0, 0.0, 2, 0, 8.0, 1, 2.5538317143),
        "trap3" => (0.0, 0.0, 3, 0, 8.0, 1, 6.0779334922),
        "trap4" => (0.0, 0.0, 4, 0, 8.0, 1, 11.0230761427),
        "trap6" => (0.0, 0.0, 6, 0, 9.0, 1, 25.0492602871),
        "trap10" => (0.0, 0.0, 10, 0, 10.0, 1, 0.0),
        "strong4" => (0.0, 0.0, 4, 0, 9.0, 3, 23.5745986700),
        _ => panic!(),
    };
    let (g0, a0) = if ext == 3 { (5.0, 0.5) } else { (1.0, 1.0) };
    let h = Hamiltonian {
        title: "".into(),
        external: match ext {
            0 => External::Nuclei { charges: vec![z], positions: vec![0.0], softening: 1.0 },
            2 => External::Nuclei {
                charges: vec![z, z],
                positions: vec![-r / 2.0, r / 2.0],
                softening: 1.0,
            },
            _ => External::Harmonic { frequency: 1.0 },
        },
        interaction: Interaction::SoftCoulomb { strength: g0, softening: a0 },
    };
    let g = Geometry::Box { half_width: l };
    let ws: WeylSettings = ron::from_str(&arg(2, "()")).unwrap();
    let os: OptimiserSettings =
        ron::from_str(&arg(3, "RayleighGaussNewton((tau:1.0,shift:1e-3))")).unwrap();
    let it: usize = arg(4, "24").parse().unwrap();
    let ns: usize = arg(5, "1024").parse().unwrap();
    let fs: usize = arg(6, "65536").parse().unwrap();
    let sys = System { hamiltonian: &h, geometry: &g };
    let t0 = std::time::Instant::now();
    let mut psi = Weyl::new(&ws, Sector { up, down }, sys).unwrap();
    println!("{case} P={} setup {:.2}s", psi.parameters().len(), t0.elapsed().as_secs_f64());
    let mut opt = os.build();
    let sch = train::Schedule { iterations: it, samples: ns, final_samples: fs, seed: 1 };
    let r = train::train(&mut psi, sys, opt.as_mut(), &sch, |r| {
        if r.iteration % (it / 12).max(1) == 0 || r.iteration + 1 == it {
            println!(
                "{:4} E-ex {:+.6} +- {:.6} sigma {:.6} grad {:.4} step {:.4} tau {:.3} rej {} t {:.1}",
                r.iteration,
                r.energy.mean() - ex,
                r.energy.standard_error(),
                r.energy.variance().sqrt(),
                r.gradient_norm,
                r.step_norm,
                r.tau,
                r.rejected,
                t0.elapsed().as_secs_f64()
            );
        }
    });
    println!("{r:?}");
    let t1 = t0.elapsed().as_secs_f64();
    let e = train::estimate(&psi, sys, &sch, 100, |_| ());
    println!(
        "FINAL {case} dE {:+.3e} +- {:.1e} sigma {:.5} maxdev {:.2} rt {:.1e} rej {} train {:.1}s est {:.1}s",
        e.energy.mean() - ex,
        e.energy.standard_error(),
        e.energy.variance().sqrt(),
        e.largest_deviation,
        e.round_trip_error,
        e.rejected,
        t1,
        t0.elapsed().as_secs_f64() - t1
    );
    if arg(7, "") == "worst" {
        use weylflow::local_energy::*;
        let id = BatchId {
            seed: 9,
            purpose: weylflow::sampling::Purpose::Health,
            number: 3,
            tails: 0.0,
        };
        let b = draw(&psi, sys, id, 32768, Derivatives::None);
        let m = e.energy.mean();
        let mut k: Vec<usize> = (0..b.samples()).collect();
        let d = |i: usize| (b.local_energy[i] - m).abs();
        k.sort_by(|&a, &c| d(c).total_cmp(&d(a)));
        println!("median {:.2e} 99% {:.2e} 99.9% {:.2e}", d(k[16384]), d(k[327]), d(k[32]));
        for &i in &k[..12] {
            println!(
                "{:+.4} {:?}",
                b.local_energy[i] - m,
                &b.x[i * b.particles..(i + 1) * b.particles]
            );
        }
    }
}

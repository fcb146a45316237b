use weylflow::{
    local_energy::System, optimise::*, system::*, train, wavefunction::waveflow::*, wavefunction::*,
};
fn arg(i: usize, d: &str) -> String {
    std::env::args().nth(i).unwrap_or(d.into())
}
fn main() {
    let case = arg(1, "he3");
    let (z, n, l, ext, int, ex) = match case.as_str() {
        "he3" => (2.0, 2, 10.0, 0, 1, -1.8160418892),
        "li4" => (3.0, 3, 10.0, 0, 1, -3.377501039),
        "trap2" => (0.0, 2, 8.0, 1, 1, 2.5538317143),
        "trap3" => (0.0, 3, 8.0, 1, 1, 6.0779334922),
        "box3" => (0.0, 3, 10.0, 2, 0, 0.1727180770),
        _ => panic!(),
    };
    let h = Hamiltonian {
        title: "".into(),
        external: match ext {
            0 => External::Nuclei { charges: vec![z], positions: vec![0.0], softening: 1.0 },
            1 => External::Harmonic { frequency: 1.0 },
            _ => External::Free,
        },
        interaction: if int == 1 {
            Interaction::SoftCoulomb { strength: 1.0, softening: 1.0 }
        } else {
            Interaction::None
        },
    };
    let g = Geometry::Box { half_width: l };
    let ws: WaveflowSettings = ron::from_str(&arg(2, "(layers: 2)")).unwrap();
    let os: OptimiserSettings = ron::from_str(&arg(3, "RayleighGaussNewton((tau:1.0))")).unwrap();
    let it: usize = arg(4, "100").parse().unwrap();
    let ns: usize = arg(5, "1024").parse().unwrap();
    let fs: usize = arg(6, "65536").parse().unwrap();
    let sys = System { hamiltonian: &h, geometry: &g };
    let t0 = std::time::Instant::now();
    let mut psi = Waveflow::new(&ws, Sector { up: n, down: 0 }, sys, 1).unwrap();
    println!("P={}", psi.parameters().len());
    let mut opt = os.build();
    let sch = train::Schedule { iterations: it, samples: ns, final_samples: fs, seed: 1 };
    let r = train::train(&mut psi, sys, opt.as_mut(), &sch, |r| {
        if r.iteration % (it / 15).max(1) == 0 || r.iteration + 1 == it {
            println!(
                "{:4} E-ex {:+.6} +- {:.6} var {:.6} grad {:.4} step {:.4} tau {:.3} rej {} t {:.1}",
                r.iteration,
                r.energy.mean() - ex,
                r.energy.standard_error(),
                r.energy.variance(),
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
        "FINAL dE {:+.3e} +- {:.1e} sigma {:.5} maxdev {:.2} rt {:.1e} rej {} train {:.1}s est {:.1}s",
        e.energy.mean() - ex,
        e.energy.standard_error(),
        e.energy.variance().sqrt(),
        e.largest_deviation,
        e.round_trip_error,
        e.rejected,
        t1,
        t0.elapsed().as_secs_f64() - t1
    );
}

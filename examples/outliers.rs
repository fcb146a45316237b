use weylflow::{
    local_energy::*, sampling::Purpose, system::*, wavefunction::waveflow::*, wavefunction::*,
};
fn main() {
    let h = Hamiltonian {
        title: "".into(),
        external: External::Nuclei { charges: vec![2.0], positions: vec![0.0], softening: 1.0 },
        interaction: Interaction::SoftCoulomb { strength: 1.0, softening: 1.0 },
    };
    let g = Geometry::Box { half_width: 10.0 };
    let ws: WaveflowSettings = ron::from_str(
        &std::env::args().nth(1).unwrap_or("(layers:0,hidden:[16],prior_knots:20)".into()),
    )
    .unwrap();
    let sys = System { hamiltonian: &h, geometry: &g };
    let psi = Waveflow::new(&ws, Sector { up: 2, down: 0 }, sys, 1).unwrap();
    let b = draw(
        &psi,
        sys,
        BatchId { seed: 1, purpose: Purpose::Training, number: 0 },
        65536,
        Derivatives::None,
    );
    let mut i: Vec<usize> = (0..b.samples()).collect();
    i.sort_by(|&a, &c| {
        (b.local_energy[c] + 1.77).abs().total_cmp(&(b.local_energy[a] + 1.77).abs())
    });
    for k in i.iter().take(12).chain(i.iter().skip(1000).take(8)) {
        println!("{:.5} {:.5}  E {:.3}", b.x[2 * k], b.x[2 * k + 1], b.local_energy[*k]);
    }
}

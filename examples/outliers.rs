use weylflow::{local_energy::*, sampling::Purpose, wavefunction::saved::*};
fn main() {
    let t = std::fs::read_to_string(std::env::args().nth(1).unwrap()).unwrap();
    let s = SavedWavefunction::from_json(&t).unwrap();
    let psi = s.build().unwrap();
    let n = s.spec.sector.particles();
    let sys = System { hamiltonian: &s.spec.hamiltonian, geometry: &s.spec.geometry };
    let b = draw(
        psi.as_ref(),
        sys,
        BatchId {
            seed: s.spec.seed,
            purpose: Purpose::Estimate,
            number: std::env::args().nth(2).map_or(0, |v| v.parse().unwrap()),
        },
        262144,
        Derivatives::None,
    );
    let m = b.local_energy.iter().sum::<f64>() / b.samples() as f64;
    let mut i: Vec<usize> = (0..b.samples()).collect();
    i.sort_by(|&a, &c| (b.local_energy[c] - m).abs().total_cmp(&(b.local_energy[a] - m).abs()));
    for k in i.iter().take(12).chain(i.iter().skip(2000).take(4)) {
        println!("{:?}  E-mean {:.3}", &b.x[n * k..n * k + n], b.local_energy[*k] - m);
    }
}

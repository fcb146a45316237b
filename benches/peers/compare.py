"""Local energies of weylflow beside those of packages from PyPI, on this machine and in this run.

    python -m venv peers && peers/bin/pip install -r benches/peers/requirements.txt
    peers/bin/python benches/peers/compare.py

Every peer evaluates the kinetic local energy -1/2 (Laplacian + |gradient|^2) of log psi for two particles in float64.
The networks have as many weights in use as weylflow's Waveflow of the published size: four networks of one input, hidden
layers of 64 and 64 units and 2 x 28 outputs, with tanh. Their outputs are summed, not made into splines, which is less work than
the wavefunction proper. What is not installed is skipped. All run on one thread, and times are CPU times.
"""

import os
import re
import subprocess
import sys
import time

os.environ.setdefault(
    "XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
)
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

SAMPLES = 1024
NETWORKS = 4
SIZES = (1, 64, 64, 56)


def weylflow():
    """Microseconds per local energy, from the bench itself."""
    command = ["cargo", "bench", "--bench", "limits", "--", "--local-energy"]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(re.search(r"Waveflow N=2: ([0-9.]+) us", out).group(1))


def least(call):
    """CPU seconds of the fastest of several calls."""
    call()
    times = []
    for _ in range(7):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return min(times)


def jax_setup():
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    key = jax.random.PRNGKey(0)
    parameters = []
    for _ in range(NETWORKS):
        layers = []
        for below, above in zip(SIZES, SIZES[1:]):
            key, sub = jax.random.split(key)
            weights = jax.random.normal(sub, (below, above)) / below**0.5
            layers.append((weights, jnp.zeros(above)))
        parameters.append(layers)

    def log_psi(parameters, x):
        # Networks one after the other, each shaped by one coordinate, as in the autoregressive flow.
        u = jnp.tanh(x)
        total = 0.0
        for layers in parameters:
            h = u[:1]
            for i, (weights, bias) in enumerate(layers):
                h = h @ weights + bias
                if i + 1 < len(layers):
                    h = jnp.tanh(h)
            out = jnp.sum(h) / 56
            total = total + out
            u = jnp.stack([u[1] + 0.1 * out, u[0]])
        return total - 0.5 * jnp.sum(x**2)

    x = jax.random.normal(jax.random.PRNGKey(1), (SAMPLES, 2))
    return jax, jnp, parameters, log_psi, x


def timed(jax, local_energy, parameters, x):
    batch = jax.jit(jax.vmap(local_energy, (None, 0)))
    start = time.time()
    batch(parameters, x).block_until_ready()
    compile_time = time.time() - start
    return least(lambda: batch(parameters, x).block_until_ready()) / SAMPLES * 1e6, compile_time


def hessian():
    jax, jnp, parameters, log_psi, x = jax_setup()

    def local_energy(parameters, x):
        gradient = jax.grad(log_psi, 1)(parameters, x)
        curvature = jnp.trace(jax.hessian(log_psi, 1)(parameters, x))
        return -0.5 * (curvature + jnp.sum(gradient**2))

    return timed(jax, local_energy, parameters, x)


def forward_laplacian():
    jax, jnp, parameters, log_psi, x = jax_setup()
    import folx

    def local_energy(parameters, x):
        out = folx.forward_laplacian(lambda y: log_psi(parameters, y))(x)
        return -0.5 * (out.laplacian + jnp.sum(out.jacobian.dense_array**2))

    return timed(jax, local_energy, parameters, x)


def netket():
    jax, jnp, parameters, log_psi, x = jax_setup()
    import netket as nk
    import netket.experimental as nkx

    hilbert = nkx.hilbert.Particle(N=2, geometry=nkx.geometry.FreeSpace(d=1))
    kinetic = nk.operator.KineticEnergy(hilbert, mass=1.0)

    def apply(variables, x):
        many = x.reshape(-1, 2)
        out = jax.vmap(lambda y: log_psi(variables["params"], y))(many)
        return out.reshape(x.shape[:-1])

    variables = {"params": parameters}
    batch = jax.jit(lambda v, x: kinetic._expect_kernel(apply, v, x))
    start = time.time()
    batch(variables, x).block_until_ready()
    compile_time = time.time() - start
    return least(lambda: batch(variables, x).block_until_ready()) / SAMPLES * 1e6, compile_time


def main():
    own = weylflow()
    print(f"{'what':<34} {'us per local energy':>20} {'ratio':>7} {'compilation, s':>15}")
    print(f"{'weylflow, Waveflow N=2':<34} {own:>20.2f} {1.0:>7.1f} {'':>15}")
    peers = [
        ("JAX, full Hessian", hessian),
        ("folx, forward Laplacian", forward_laplacian),
        ("NetKet, kinetic energy operator", netket),
    ]
    for name, peer in peers:
        try:
            took, compilation = peer()
        except (ImportError, AttributeError, TypeError) as error:
            print(f"{name:<34} skipped: {error}", file=sys.stderr)
            continue
        print(f"{name:<34} {took:>20.2f} {took / own:>7.1f} {compilation:>15.1f}")


if __name__ == "__main__":
    main()

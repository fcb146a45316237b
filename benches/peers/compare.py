"""Local energies of weylflow beside those of packages from PyPI, on this machine and in this run.

    python -m venv peers && peers/bin/pip install -r benches/peers/requirements.txt
    peers/bin/python benches/peers/compare.py [--limits BINARY] [--rounds 5]

Every peer evaluates the kinetic local energy -1/2 (Laplacian + |gradient|^2) of log psi for N particles in float64. The
networks have the weights that weylflow's Waveflow of the published size uses, no more: four networks with N - 1 inputs, masked
hidden layers of 64 and 64 units, and 28 outputs for each particle but the first, with tanh. Their outputs are summed, not made
into splines, which is less work than the wavefunction proper. "By hand" is no package: the same networks with the derivatives by
their own inputs written out, one matrix product a layer for all derivatives of a batch, as weylflow does it.

Each peer gets the faster of dense layers with masks and of blocks without the zeros, and the better of two sizes of batches
(weylflow's are what its bench has: 1024, and 256 of three and more; two particles also many at once, with the tables that it then
makes of its networks made anew every time). All of them are timed alternately, in several rounds: least
and median of the CPU time on one thread. Without --limits the bench of weylflow is run by cargo; with it, the binary is. What is
not installed is skipped.
"""

import argparse
import re
import statistics
import subprocess
import sys
import time

import common

BATCHES = (128, 1024)
NETWORKS = 4
WIDTH = 64
OUTPUTS = 28
PARTICLES = (2, 3, 4)


def weylflow(limits, particles):
    """Microseconds per local energy for each number of particles, and of many configurations at once, from the bench itself."""
    command = [limits, "--bench"] if limits else ["cargo", "bench", "--bench", "limits", "--"]
    if all(n == 2 for n in particles):
        command.append("--local-energy")
    found = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as bench:
        for line in bench.stdout:
            match = re.match(r"local energy, Waveflow N=(\d+), \d+ at once: ([0-9.]+) us", line)
            if match:
                found["many"] = float(match[2])
            match = re.match(r"local energy, Waveflow N=(\d+): ([0-9.]+) us", line)
            if match:
                # Two particles are measured twice, with both sizes of batches.
                n, took = int(match[1]), float(match[2])
                found[n] = min(took, found.get(n, took))
            wanted = [*particles, "many"] if 2 in particles else particles
            if all(n in found for n in wanted):
                bench.terminate()
                break
    return found


class Networks:
    """The networks of N particles: in blocks, or dense with masks, with the same weights either way."""

    def __init__(self, n, blocks):
        import jax
        import jax.numpy as jnp
        import numpy as np

        jax.config.update("jax_enable_x64", True)
        self.jax, self.jnp, self.n, self.blocks = jax, jnp, n, blocks
        kinds = n - 1
        # How many inputs a unit sees, as in weylflow's masks.
        hidden = [1 + r * kinds // WIDTH for r in range(WIDTH)]
        degrees = [list(range(1, n)), hidden, hidden, [d for d in range(1, n) for _ in range(OUTPUTS)]]
        rng = np.random.default_rng(0)
        self.parameters = []
        for _ in range(NETWORKS):
            layers = []
            for below, above in zip(degrees, degrees[1:]):
                mask = np.array(below)[:, None] <= np.array(above)[None, :]
                weights = rng.standard_normal(mask.shape) * mask / len(below) ** 0.5
                bias = 0.1 * rng.standard_normal(len(above))
                if blocks:
                    weights = [
                        weights[
                            : np.searchsorted(below, d, "right"),
                            np.searchsorted(above, d) : np.searchsorted(above, d, "right"),
                        ]
                        for d in range(1, n)
                    ]
                layers.append(self.jax.tree.map(jnp.asarray, (weights, bias)))
            self.parameters.append(layers)

    def product(self, h, weights):
        """A layer's sums without the bias; `h` may be a stack of rows."""
        if not self.blocks:
            return h @ weights
        return self.jnp.concatenate([h[..., : w.shape[0]] @ w for w in weights], -1)

    def outputs(self, layers, h):
        for i, (weights, bias) in enumerate(layers):
            h = self.product(h, weights) + bias
            if i + 1 < len(layers):
                h = self.jnp.tanh(h)
        return self.jnp.sum(h.reshape(self.n - 1, OUTPUTS), -1) / OUTPUTS

    def log_psi(self, parameters, x):
        """Networks one after the other, each shaping a particle by those before it, in alternating order."""
        jnp = self.jnp
        u = jnp.tanh(x)
        total = 0.0
        for layers in parameters:
            out = self.outputs(layers, u[:-1])
            total = total + jnp.sum(out)
            u = jnp.stack([u[i] + 0.1 * out[i - 1] for i in range(self.n - 1, 0, -1)] + [u[0]])
        return total - 0.5 * jnp.sum(x**2)

    def configurations(self, batch):
        return self.jax.random.normal(self.jax.random.PRNGKey(1), (batch, self.n))


def hessian(networks):
    jax, jnp = networks.jax, networks.jnp

    def local_energy(parameters, x):
        gradient = jax.grad(networks.log_psi, 1)(parameters, x)
        curvature = jnp.trace(jax.hessian(networks.log_psi, 1)(parameters, x))
        return -0.5 * (curvature + jnp.sum(gradient**2))

    return jax.vmap(local_energy, (None, 0))


def forward_laplacian(networks):
    import folx

    def local_energy(parameters, x):
        out = folx.forward_laplacian(lambda y: networks.log_psi(parameters, y))(x)
        return -0.5 * (out.laplacian + networks.jnp.sum(out.jacobian.dense_array**2))

    return networks.jax.vmap(local_energy, (None, 0))


def netket(networks):
    import netket as nk
    import netket.experimental as nkx

    hilbert = nkx.hilbert.Particle(N=networks.n, geometry=nkx.geometry.FreeSpace(d=1))
    kinetic = nk.operator.KineticEnergy(hilbert, mass=1.0)

    def apply(variables, x):
        many = x.reshape(-1, networks.n)
        out = networks.jax.vmap(lambda y: networks.log_psi(variables["params"], y))(many)
        return out.reshape(x.shape[:-1])

    return lambda parameters, x: kinetic._expect_kernel(apply, {"params": parameters}, x)


def by_hand(networks):
    """Values, derivatives by the inputs of a network, and second ones contracted with the Gram matrix of these inputs."""
    jnp, n = networks.jnp, networks.n

    def through(layers, u, gram):
        first = jnp.broadcast_to(jnp.eye(n - 1)[:, None, :], (n - 1, *u.shape))
        planes = jnp.concatenate([u[None], first, jnp.zeros((1, *u.shape))])
        for i, (weights, bias) in enumerate(layers):
            planes = networks.product(planes, weights)
            value, slopes, second = planes[0] + bias, planes[1:-1], planes[-1]
            if i + 1 < len(layers):
                value = jnp.tanh(value)
                d = 1 - value**2
                square = sum(
                    (1 if j == k else 2) * gram[:, j, k, None] * slopes[j] * slopes[k]
                    for j in range(n - 1)
                    for k in range(j + 1)
                )
                second = d * (second - 2 * value * square)
                slopes = d * slopes
            planes = jnp.concatenate([value[None], slopes, second[None]])
        return jnp.sum(planes.reshape(n + 1, -1, n - 1, OUTPUTS), -1) / OUTPUTS

    def local_energies(parameters, x):
        u = jnp.tanh(x)
        d = 1 - u**2
        slopes = d[:, :, None] * jnp.eye(n)
        second = -2 * u * d
        gradient, laplacian = -x, -float(n)
        for layers in parameters:
            known = slopes[:, :-1]
            out = through(layers, u[:, :-1], jnp.einsum("sia,sja->sij", known, known))
            change = jnp.einsum("jsi,sja->sia", out[1:-1], known)
            curvature = out[-1] + jnp.einsum("jsi,sj->si", out[1:-1], second[:, :-1])
            gradient = gradient + jnp.sum(change, 1)
            laplacian = laplacian + jnp.sum(curvature, 1)
            u = u.at[:, 1:].add(0.1 * out[0])[:, ::-1]
            slopes = slopes.at[:, 1:].add(0.1 * change)[:, ::-1]
            second = second.at[:, 1:].add(0.1 * curvature)[:, ::-1]
        return -0.5 * (laplacian + jnp.sum(gradient**2, 1))

    return local_energies


PEERS = [
    ("JAX, full Hessian", hessian),
    ("folx, forward Laplacian", forward_laplacian),
    ("NetKet, kinetic energy operator", netket),
    ("JAX, derivatives by hand", by_hand),
]


def prepared(name, peer, n, forms, expected):
    """The fastest of the forms and batches: microseconds a local energy again and again, how it does it, and compilation."""
    found = []
    for form in forms if n > 2 else ["dense"]:
        networks = Networks(n, form == "blocks")
        try:
            function = networks.jax.jit(peer(networks))
        except (ImportError, AttributeError, TypeError) as error:
            print(f"{name}, N={n}: skipped: {error}", file=sys.stderr)
            return None
        for batch in BATCHES:
            x = networks.configurations(batch)
            start = time.process_time()
            values = function(networks.parameters, x).block_until_ready()
            compilation = time.process_time() - start

            def once(networks=networks, function=function, batch=batch, x=x):
                call = lambda: [
                    function(networks.parameters, x).block_until_ready() for _ in range(1024 // batch)
                ]
                return common.least(call) / 1024 * 1e6

            how = f"{form}, {batch} at a time"
            found.append((once(), once, how, compilation))
            print(
                f"{name}, N={n}, {how}: {found[-1][0]:.2f} us, compiled in {compilation:.1f} s",
                file=sys.stderr,
            )
        if not networks.jnp.allclose(values, expected.setdefault(n, values), rtol=1e-9, atol=1e-9):
            raise AssertionError(f"{name}, N={n}: other local energies than those of the first peer")
    return min(found, key=lambda f: f[0])[1:]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--limits", help="a built binary of the bench, instead of cargo's")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--particles", type=int, nargs="*", default=PARTICLES)
    parser.add_argument("--peers", nargs="*", default=[""], help="words of their names, instead of all")
    parser.add_argument("--forms", nargs="*", default=["dense", "blocks"])
    arguments = parser.parse_args()
    common.pin()
    expected = {}
    peers = {
        (n, name): prepared(name, peer, n, arguments.forms, expected)
        for n in arguments.particles
        for name, peer in PEERS
        if any(word in name for word in arguments.peers)
    }
    peers = {key: peer for key, peer in peers.items() if peer}
    own = {n: [] for n in [*arguments.particles, "many"]}
    times = {key: [] for key in peers}
    for _ in range(arguments.rounds):
        for n, time_of in weylflow(arguments.limits, arguments.particles).items():
            if n in own:
                own[n].append(time_of)
        for key, (once, _, _) in peers.items():
            times[key].append(once())
    print(
        "CPU time in us of a local energy, least and median of the rounds; weylflow's time over the peer's by both"
    )
    head = (
        f"{'N':<2} {'what':<32} {'least':>7} {'median':>7} {'ratio':>6} {'ratio':>6} {'compilation, s':>15}"
    )
    print(head)
    for n in arguments.particles:
        least, median = min(own[n]), statistics.median(own[n])
        print(f"{n:<2} {'weylflow, whole Waveflow':<32} {least:>7.2f} {median:>7.2f} {1:>6.2f} {1:>6.2f}")
        rows = [(least, median, name, times[n, name]) for m, name in times if m == n]
        if n == 2 and own["many"]:
            # Beside the best peer, of which each gets the better of its batches already.
            low, mid = min(own["many"]), statistics.median(own["many"])
            print(f"{n:<2} {'the same, many at once':<32} {low:>7.2f} {mid:>7.2f}")
            rows += [(low, mid, name, times[n, name]) for m, name in times if m == n]
        for least, median, name, measured in rows:
            low, mid = min(measured), statistics.median(measured)
            _, form, compilation = peers[n, name]
            ratios = f"{least / low:>6.2f} {median / mid:>6.2f}"
            print(f"{n:<2} {name:<32} {low:>7.2f} {mid:>7.2f} {ratios} {compilation:>15.1f}  {form}")


if __name__ == "__main__":
    main()

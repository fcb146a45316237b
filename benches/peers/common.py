"""What the scripts of this folder share: one thread, CPU times, runs of weylflow, and a grid.

Import it before numpy and jax: it sets how many threads these use.
"""

import json
import os
import resource
import subprocess
import time

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

# The binary of weylflow, where it is not the one that cargo makes.
WEYLFLOW = os.environ.get("WEYLFLOW", "target/release/weylflow")


def pin():
    """Keeps this process, and those that it starts, on one core."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def least(call, repeats=7):
    """CPU seconds of the fastest of several calls, after one that is not counted."""
    call()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return min(times)


def run(command):
    """Standard output of a command and its CPU seconds, user and system. Exit code 4, doubtful, is a result too."""

    def spent():
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    before = spent()
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    took = spent() - before
    if done.returncode not in (0, 4):
        raise RuntimeError(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr}")
    return done.stdout, took


def exact(spec, *options):
    """What `weylflow exact` says of a file, and its CPU seconds."""
    out, took = run([WEYLFLOW, "exact", spec, "--json", "--threads", "1", *options])
    return json.loads(out), took


def sine_dvr(n, half_width):
    """Points between hard walls, and the kinetic energy on them (Colbert and Miller 1992)."""
    import numpy as np

    i, j = np.meshgrid(np.arange(1, n + 1), np.arange(1, n + 1), indexing="ij")
    cells = n + 1
    with np.errstate(divide="ignore"):
        square = lambda k: 1 / np.sin(np.pi * k / (2 * cells)) ** 2
        t = (-1.0) ** (i - j) * (square(i - j) - square(i + j))
    k = np.arange(1, n + 1)
    np.fill_diagonal(t, (2 * cells**2 + 1) / 3 - 1 / np.sin(np.pi * k / cells) ** 2)
    x = -half_width + 2 * half_width / cells * k
    return x, 0.25 * (np.pi / (2 * half_width)) ** 2 * t

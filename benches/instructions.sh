#!/bin/sh
# Instructions executed by a few kernels, counted by valgrind's callgrind: the same on a busy machine as on an idle one.
# Needs valgrind; 512-bit vectors are hidden from programs that run under it.
set -eu
command -v valgrind >/dev/null || { echo "valgrind is not installed" >&2; exit 1; }
cd "$(dirname "$0")/.."
binary=$(cargo build --release --bench limits --message-format=json 2>/dev/null |
    sed -n 's/.*"executable":"\([^"]*limits-[^"]*\)".*/\1/p' | tail -n 1)
counts=$(mktemp)
trap 'rm -f "$counts"' EXIT
count() {
    valgrind --tool=callgrind --callgrind-out-file="$counts" "$binary" --count "$1" "$2" >/dev/null 2>&1
    sed -n 's/^\(summary\|totals\): *//p' "$counts" | tail -n 1
}
for kernel in waveflow-energy waveflow-sample weyl-helium-energy weyl-trap8-energy; do
    # Twice, with different numbers of samples: the difference leaves out what happens once.
    few=$(count "$kernel" 32)
    many=$(count "$kernel" 160)
    echo "$kernel: $(((many - few) / 128)) instructions a sample"
done

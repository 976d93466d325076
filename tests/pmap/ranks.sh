#!/bin/sh
# A program as several processes that MPI starts together. Skipped where MPI, or Heddle's part for it, is not there.
#     ranks.sh BUILD N PROGRAM...
build=$1 n=$2
shift 2
[ -f "$build/libheddle_mpi.so" ] || { echo "skipped: built without MPI (libopenmpi-dev)"; exit 77; }
command -v mpirun >/dev/null || { echo "skipped: there is no mpirun (openmpi-bin)"; exit 77; }
[ "$(id -u)" != 0 ] || root=--allow-run-as-root
# What MPI itself keeps until the end is not ours to give back.
export ASAN_OPTIONS="${ASAN_OPTIONS:-}:detect_leaks=0"
# A sanitizer opens libraries in the program's stead, and does not look where the program would.
export LD_LIBRARY_PATH="$build${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
# Suites stay in the process that MPI has started.
export CK_FORK=no
export HEDDLE_MPI_TIMEOUT="${HEDDLE_MPI_TIMEOUT:-300}"
exec mpirun ${root:-} --oversubscribe -n "$n" "$@"

#!/usr/bin/env python3
"""first.py - the first call of whole programs: each example in a new process with empty caches, and again.

    bench/first.py build/examples --device opencl:0 [--name kalman hmc ...]

Processor time, since machines are shared: of the process (user and system, its compilers' apart), and of the
compilers in processes of their own, as HEDDLE_DUMP=time tells it. Compilers that a program did not wait for
(tier 0) are in `later`: how many programs were read. A row: seconds cold, compilers' seconds cold, seconds
warm; kernels and lines (OpenCL C) or words (SPIR-V) of those that were waited for, and of the longest.
"""
import argparse, os, re, subprocess, sys, tempfile

PROGRAMS = ["kalman", "hmc", "curve_fit", "ode_events", "gpt", "per_example_gradients", "maml", "ray_march",
            "rnn", "particle_filter", "mixture", "nbody", "implicit"]
KERNEL = re.compile(r"---- time (\S+): (?:(\d+) (?:lines|words), )?([a-z ]+?)"
                    r"(?:, ([\d.]+) ms(?: with (\d+) others)?)?$")


def run(program, device, folder):
    env = dict(os.environ, HEDDLE_DEVICE=device, HEDDLE_CACHE=folder + "/compiled.db", HEDDLE_DUMP="time",
               MESA_SHADER_CACHE_DIR=folder, POCL_CACHE_DIR=folder)
    with tempfile.TemporaryFile() as said:
        p = subprocess.Popen([program], env=env, stdout=subprocess.DEVNULL, stderr=said)
        _, status, used = os.wait4(p.pid, 0)
        said.seek(0)
        lines = said.read().decode(errors="replace").splitlines()
    row = dict(failed=status, own=used.ru_utime + used.ru_stime, compilers=0.0, kernels=0, text=0, longest=0,
               read=0)
    for line in lines:
        row["read"] += "tier 0" in line
        m = KERNEL.match(line)
        if not m or m[1].startswith("probe") or m[3].strip() not in (
                "from the disk", "compiled by another process", "compiled here"):
            continue
        n = int(m[2] or 0)
        row["kernels"] += 1
        row["text"] += n
        row["longest"] = max(row["longest"], n)
        if m[3].strip() == "compiled by another process" and m[4]:
            row["compilers"] += float(m[4]) / (1 + int(m[5] or 0)) / 1e3
    return row


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("folder", help="where the examples were built")
    a.add_argument("--device", default="opencl:0")
    a.add_argument("--name", nargs="*", default=PROGRAMS)
    o = a.parse_args()
    print(f"{'program':24}{'cold':>8}{'compilers':>11}{'warm':>8}{'later':>7}{'kernels':>9}{'text':>9}"
          f"{'longest':>9}")
    failed = False
    for name in o.name:
        program = os.path.join(o.folder, name)
        if not os.access(program, os.X_OK):
            print(f"{name:24}is not built")
            continue
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            cold, warm = run(program, o.device, folder), run(program, o.device, folder)
        failed |= bool(cold["failed"] or warm["failed"])
        print(f"{name:24}{cold['own']:8.2f}{cold['compilers']:11.2f}{warm['own']:8.2f}{cold['read']:7}"
              f"{cold['kernels']:9}{cold['text']:9}{cold['longest']:9}"
              f"{'  FAILED' if cold['failed'] or warm['failed'] else ''}", flush=True)
    sys.exit(failed)


main()

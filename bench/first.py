#!/usr/bin/env python3
"""first.py - the first call of whole programs beside JAX's: the group `first` of the yardstick.

    bench/first.py build/bench/bench [--device opencl:0] [--name kalman hmc ...] [--rounds 2] [--jax PYTHON]

Each program runs in a new process with empty caches, then JAX does the same, in turn, then Heddle once more in
a process that finds the caches filled. A row: milliseconds of the first call cold, of JAX's, cold by JAX's
(its goal is 1, no row above 2.5), warm, JAX's by warm (10 at least); seconds of processor time cold, of the
process and of the compilers that it starts, and of JAX's process; kernels, lines (OpenCL C) or words (SPIR-V),
and those of the longest. The clock runs from the function to its first result: tracing, compiling, running.
What is read meanwhile (tier 0) has no kernels yet. Of several rounds the least counts.
"""
import argparse, ctypes, json, math, os, re, subprocess, sys, tempfile, time

from compare import wrong

HERE = os.path.dirname(os.path.abspath(__file__))
TEXT = re.compile(r"---- time (\S+): (\d+) (?:lines|words), (?!from the disk)")
PATIENCE = 300                      # seconds that compilers may go on behind a program


def adopt_compilers():
    """They are nobody's children, so they become ours: their time can be asked for, and their end waited for."""
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)             # PR_SET_CHILD_SUBREAPER


def used(usage):
    return usage.ru_utime + usage.ru_stime


def ended():
    """Waits until no child is left; the seconds of processor time that they took."""
    seconds, stop = 0, time.monotonic() + PATIENCE
    while time.monotonic() < stop:
        try:
            pid, _, usage = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            break
        seconds += used(usage) if pid else 0
        time.sleep(0 if pid else .02)
    return seconds


def run(command, env):
    """The JSON object that it prints, with its processor time, and what it says on stderr."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as said:
        p = subprocess.Popen(command, env=env, stdout=out, stderr=said)
        _, status, usage = os.wait4(p.pid, 0)
        p.returncode = status
        out.seek(0), said.seek(0)
        text, said = out.read().decode(errors="replace"), said.read().decode(errors="replace")
    rows = [line for line in text.splitlines() if line.startswith("{")]
    row = json.loads(rows[-1]) if rows else dict(failed=said.strip().split("\n")[-1] or f"ended with {status}")
    return dict(row, own=used(usage), compilers=ended()), said


def heddle(a, name, folder, told):
    env = dict(os.environ, HEDDLE_CACHE=folder + "/compiled.db", POCL_CACHE_DIR=folder, MESA_SHADER_CACHE_DIR=folder,
               XDG_CACHE_HOME=folder)
    env.setdefault("HEDDLE_TIER", "")                   # as in a program of a user; bench itself would say 1
    if told:
        env["HEDDLE_DUMP"] = "time"
    row, said = run([a.bench, "--child", name, "--first", "--device", a.device], env)
    lengths = [int(m[2]) for m in map(TEXT.match, said.splitlines()) if m and not m[1].startswith("probe")]
    return dict(row, compiled=len(lengths), text=sum(lengths), longest=max(lengths, default=0))


def measure(a, name, want):
    """The least of all rounds; the text of kernels is asked for once, apart, since saying it takes time too."""
    cold, warm, jax = [], [], []
    for k in range(a.rounds):
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            cold.append(heddle(a, name, folder, False))
            warm.append(heddle(a, name, folder, False))
        if a.jax:
            jax.append(run([a.jax, os.path.join(HERE, "jax_first.py"), name], dict(os.environ))[0])
    failed = next((r["failed"] for r in cold + warm + jax if "failed" in r), None)
    if failed:
        return dict(name=name, failed=failed)
    off = max(wrong(r, want) for r in cold + warm + jax)
    if off > 1:
        return dict(name=name, failed=f"its result is off by {off:.3g} times the tolerance")
    least = lambda rows, key="first_call_ms": min(r[key] for r in rows)
    row = dict(name=name, cold=least(cold), warm=least(warm), own=least(cold, "own"), compilers=least(cold, "compilers"))
    if jax:
        row.update(jax=least(jax), jax_own=least(jax, "own"))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        told = heddle(a, name, folder, True) if a.text else {}
    row.update((key, told[key]) for key in ("compiled", "text", "longest") if key in told)
    return row


def mean(values):
    return math.exp(sum(math.log(v) for v in values) / len(values))


def line(r):
    if "failed" in r:
        return f"{r['name']:18} {r['failed']}"
    text = f"{r['name']:18}{r['cold']:9.0f}"
    text += f"{r['jax']:9.0f}{r['cold'] / r['jax']:7.2f}" if "jax" in r else " " * 16
    text += f"{r['warm']:8.0f}" + (f"{r['jax'] / r['warm']:8.1f}" if "jax" in r else " " * 8)
    text += f"{r['own']:8.2f}{r['compilers']:11.2f}" + (f"{r['jax_own']:7.2f}" if "jax" in r else " " * 7)
    return text + (f"{r['compiled']:9}{r['text']:9}{r['longest']:9}" if "text" in r else "")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("bench")
    p.add_argument("--device", default="opencl:0")
    p.add_argument("--name", nargs="*")
    p.add_argument("--rounds", type=int, default=1)
    p.add_argument("--jax", default=sys.executable, help="a Python that has JAX; '': none")
    p.add_argument("--text", action="store_true", help="also what the kernels' text is, which runs each program again")
    p.add_argument("--json", help="a file that gets a row a line")
    a = p.parse_args()
    with open(os.path.join(HERE, "checksums.jsonl")) as f:
        want = {r["name"]: r for r in map(json.loads, f) if r["name"].startswith("first_")}
    names = ["first_" + n.removeprefix("first_") for n in a.name] if a.name else list(want)
    for name in set(names) - set(want):
        p.error(f"no program {name}: there are {', '.join(want)}")
    if a.jax and subprocess.run([a.jax, "-c", "import jax"], stderr=subprocess.DEVNULL).returncode:
        print(f"first.py: no JAX in {a.jax}: Heddle alone is measured", file=sys.stderr)
        a.jax = ""
    adopt_compilers()
    print(f"{'program':18}{'cold':>9}{'JAX':>9}{'':7}{'warm':>8}{'JAX by':>8}{'own s':>8}{'compilers':>11}{'JAX s':>7}"
          + (f"{'kernels':>9}{'text':>9}{'longest':>9}" if a.text else ""))
    rows = []
    for name in names:
        rows.append(measure(a, name, want[name]))
        print(line(rows[-1]), flush=True)
        if a.json:
            with open(a.json, "a") as f:
                print(json.dumps(rows[-1]), file=f)
    good = [r for r in rows if "failed" not in r]
    if a.jax and good:
        worst, warm = max(good, key=lambda r: r["cold"] / r["jax"]), min(good, key=lambda r: r["jax"] / r["warm"])
        print(f"\ncold by JAX's: geometric mean {mean([r['cold'] / r['jax'] for r in good]):.2f} over {len(good)} "
              f"programs, worst {worst['name']} {worst['cold'] / worst['jax']:.2f}")
        print(f"JAX's cold by warm: geometric mean {mean([r['jax'] / r['warm'] for r in good]):.1f}, "
              f"least {warm['name']} {warm['jax'] / warm['warm']:.1f}")
    if good:
        most = max(good, key=lambda r: r["own"] + r["compilers"])
        print(f"processor time cold: most {most['name']} {most['own'] + most['compilers']:.1f} s")
    sys.exit(len(good) < len(rows))


main()

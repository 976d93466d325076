#!/usr/bin/env python3
"""Heddle beside JAX: the same workloads on the same cores, in turn.

    compare.py BENCH [NAME ...] [--device D] [--min-time S] [--base FILE.json] [--growth PROGRAM] [--out FOLDER]

For each workload JAX, Heddle, JAX, Heddle; again while the figures of JAX differ by more than 15 %. A row counts if both
checksums agree. After all workloads PROGRAM, on the same device: the laws of growth. Results go to FOLDER/results.json
and FOLDER/results.html, a page that needs nothing else.
"""
import argparse
import json
import math
import os
import platform
import re
import subprocess
import sys
import time

from page import MISSING, page

HERE = os.path.dirname(os.path.abspath(__file__))
SPREAD, ROUNDS = .15, 4             # JAX may differ by this much; at most so many rounds
CHANGE = .03                        # less is no change, however quiet the machine
FIRST = ("first_call_ms", "trace_ms", "transform_ms", "schedule_ms", "compile_ms", "run_ms")


# ---- the two sides

class Jax:
    """A process that keeps the compiled workload between two rounds."""

    def __init__(self):
        self.process = subprocess.Popen([sys.executable, os.path.join(HERE, "jax_suite.py"), "--serve"], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def run(self, name, seconds):
        try:
            self.process.stdin.write(f"{name} {seconds}\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self.__init__()
            return dict(name=name, failed="the process ended")
        return json.loads(line)


def heddle(a, name, again):
    command = [a.bench, "--json", "-", "--min-time", str(a.min_time), name]
    if a.device:
        command += ["--device", a.device]
    if again:
        command += ["--no-cached"]
    done = subprocess.run(command, capture_output=True, text=True)
    rows = [line for line in done.stdout.splitlines() if line.startswith("{")]
    row = json.loads(rows[0]) if rows else dict(name=name, failed=done.stderr.strip() or "no result")
    limits = re.search(r"triad ([\d.]+) GB/s, multiply-add ([\d.]+)", done.stderr)
    if limits:
        row["triad_gb_s"], row["fma_gflop_s"] = float(limits[1]), float(limits[2])
    return row


def best(rows):
    """The fastest of several runs; what only some of them have is kept."""
    good = [r for r in rows if r.get("min_ms")]
    if not good:
        return rows[0]
    row = dict(min(good, key=lambda r: r["min_ms"]))
    first = min((r for r in good if r.get("first_call_ms")), key=lambda r: r["first_call_ms"], default={})
    row.update((key, first[key]) for key in FIRST if key in first)
    cached = [r["cached_call_ms"] for r in good if r.get("cached_call_ms")]
    if cached:
        row["cached_call_ms"] = min(cached)
    return row


def noise(rows):
    """How far the least times of several runs lie apart; of one run, how far its median is from its least."""
    least = [r["min_ms"] for r in rows if r.get("min_ms")]
    if len(least) > 1:
        return max(least) / min(least) - 1
    return rows[0]["median_ms"] / least[0] - 1 if least and rows[0].get("median_ms") else 0


def wrong(row, want):
    """How far JAX's results are off, over the tolerance."""
    if not want or "failed" in row:
        return 0
    worst = abs(row["sum"] - want["sum"]) / want["abs"]
    if not want["sum_only"]:
        for x, y in zip(row["elems"], want["elems"]):
            worst = max(worst, abs(x - y) / max(abs(y), want["abs"] / want["n"]))
    return worst / want["tol"]


def pair(a, jax, name, want):
    ours, theirs = [], []
    for turn in range(ROUNDS):
        if jax:
            theirs.append(jax.run(name, a.min_time))
        ours.append(heddle(a, name, turn > 0))
        ms = [r["min_ms"] for r in theirs[-2:] if r.get("min_ms")]
        if "failed" in ours[0] or not jax or not ms or (turn and max(ms) <= (1 + SPREAD) * min(ms)):
            break
    row = best(ours)
    row["noise"] = noise(ours)
    row["quiet"] = bool(ms and max(ms) <= (1 + SPREAD) * min(ms)) if jax else None
    if jax:
        row["jax"] = best(theirs)
        row["jax"]["error"] = wrong(row["jax"], want)
    valid = "failed" not in row and row.get("error", 0) <= 1
    if valid and jax and row["jax"].get("min_ms"):
        row["ratio"] = row["jax"]["min_ms"] / row["min_ms"]
        row["cpu_ratio"] = row["jax"]["cpu_ms"] / row["cpu_ms"] if row.get("cpu_ms") else None
    row["to_target"] = row.get("ratio", MISSING) / row["target"] if row.get("target") else None
    return row


def compare(row, before):
    """Says since an earlier result what is more than the noise of both."""
    if not before.get("min_ms") or not row.get("min_ms"):
        return
    row["of_before"] = times = before["min_ms"] / row["min_ms"]
    least = max(CHANGE, row["noise"], before.get("noise", noise([before])))
    changed = max(times, 1 / times) > 1 + least
    row["change"] = "=" if not changed else f"{times:.2f}x faster" if times > 1 else f"{1 / times:.2f}x slower"


def grow(a):
    """The laws, each with its points; their lines are shown as they come. A size that hangs must not cost the evening."""
    command = [a.growth, "--json", "-", "--limit", "120"] + (["--device", a.device] if a.device else [])
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    return [json.loads(text) for text in done.stdout.splitlines()]


# ---- what comes out

def line(row):
    name, target = row["name"], row.get("target") or 0
    if "failed" in row:
        return f"{name:20} {row['failed']}  (target {target:g})"
    text = f"{name:20} {row['min_ms']:10.4f} ms"
    if "jax" in row:
        text += f"  JAX {row['jax'].get('min_ms', math.nan):10.4f}"
        text += f"  ratio {row.get('ratio', math.nan):7.2f} of {target:5.4g}"
        text += "  " if row.get("ratio", 0) >= target else " <"
        text += " " if row["quiet"] else "~"
    text += f"  first {row.get('first_call_ms', 0):8.1f} cached {row.get('cached_call_ms') or math.nan:7.1f}"
    text += f"  bandwidth {row.get('bandwidth_share', 0):4.2f} roof {row.get('roofline_share', 0):4.2f}"
    if row.get("error", 0) > 1:
        text += f"  CHECKSUM OFF {row['error']:.3g} times"
    if "change" in row:
        text += f"  {row['change']}"
    return text


def geometric_mean(rows):
    return math.exp(sum(math.log(r.get("ratio") or MISSING) for r in rows) / len(rows))


def since(rows, base):
    """A line on what changed since the base."""
    changes = [r["change"] for r in rows if "change" in r]
    faster, slower = (sum(c.endswith(word) for c in changes) for word in ("faster", "slower"))
    both = [r for r in rows if r["name"] in base]
    text = f"{faster + slower} of {len(changes)} rows changed: {faster} faster, {slower} slower"
    if any("ratio" in r for r in both):
        before, now = geometric_mean([base[r["name"]] for r in both]), geometric_mean(both)
        text += f"; geometric mean {before:.2f} before, {now:.2f} now, over the {len(both)} rows of both"
    return text


def save(a, result):
    paths = [os.path.join(a.out, name) for name in ("results.json", "results.html")]
    with open(paths[0], "w") as f:
        json.dump(result, f, indent=1)
    with open(paths[1], "w") as f:
        f.write(page(result))
    return ", ".join(paths)


def processor_name():
    try:
        return next(line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def jax_version():
    try:
        import jax
        return jax.__version__
    except ImportError:
        return None


def revision():
    done = subprocess.run(["git", "-C", HERE, "describe", "--always", "--dirty"], capture_output=True, text=True)
    return f" ({done.stdout.strip()})" if not done.returncode else ""


def about(a, rows, version):
    row = next((r for r in rows if "device" in r), {})
    device = f"on {row.get('device', a.device)}, {row.get('driver', 'no device')}"
    return "; ".join((f"{processor_name()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}",
                      f"Heddle {row.get('heddle', '')}{revision()} {device}", f"JAX {version}", time.strftime("%Y-%m-%d %H:%M")))


def arguments():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("bench")
    p.add_argument("names", nargs="*")
    p.add_argument("--device")
    p.add_argument("--min-time", type=float, default=1)
    p.add_argument("--base", help="results.json of another run to compare with")
    p.add_argument("--growth", help="the program of the laws of growth; not run for named workloads")
    p.add_argument("--out", default=".")
    return p.parse_args()


def workloads(a):
    listed = subprocess.run([a.bench, "--list"], capture_output=True, text=True, check=True).stdout.split("\n")
    every = [text.split()[1] for text in listed if text]
    for name in a.names:
        if name not in every:
            sys.exit(f"no workload {name}: see {a.bench} --list")
    return a.names or every


def main():
    a = arguments()
    version = jax_version()
    if not version:
        print(f"compare.py: no JAX in {sys.executable}: Heddle alone is measured", file=sys.stderr)
    names = workloads(a)
    want = {r["name"]: r for r in map(json.loads, open(os.path.join(HERE, "checksums.jsonl")))}
    base = {r["name"]: r for r in json.load(open(a.base))["rows"]} if a.base else {}
    jax = Jax() if version else None
    rows = []
    os.makedirs(a.out, exist_ok=True)
    for k, name in enumerate(names, 1):
        rows.append(pair(a, jax, name, want.get(name)))
        compare(rows[-1], base.get(name, {}))
        print(f"[{k}/{len(names)}] {line(rows[-1])}", file=sys.stderr, flush=True)
    rows.sort(key=lambda r: r.get("to_target") or 0)
    result = dict(about=about(a, rows, version), rows=rows)
    if jax:
        reached = sum((r.get("ratio") or 0) >= (r.get("target") or 0) for r in rows)
        result["geometric_mean"] = geometric_mean(rows)
        result["reached"] = f"{reached} of {len(rows)} reach their target"
        result["mean"] = f"geometric mean {result['geometric_mean']:.2f} over {len(rows)} workloads"
    if base:
        result["since"] = since(rows, base)
    if a.growth and not a.names:
        save(a, result)
        result["growth"] = grow(a)
    print("\nfarthest from its target first; < target not reached, ~ no quiet pair of runs\n")
    for row in rows:
        print(line(row))
    for law in result.get("growth", []):
        print(f"{law['law']:8} {'holds' if law['holds'] else 'does not hold'}")
    print(save(a, result))
    for key in ("reached", "since", "mean"):
        if key in result:
            print(result[key])


if __name__ == "__main__":
    main()

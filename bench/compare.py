#!/usr/bin/env python3
"""Heddle beside JAX: the same workloads on the same cores, in turn.

    compare.py BENCH [NAME ...] [--device D] [--min-time S] [--base FILE.json] [--out FOLDER]

For each workload JAX, Heddle, JAX, Heddle; again while the figures of JAX differ by more than 15 %. A row counts if both
checksums agree. Results go to FOLDER/results.json and FOLDER/results.html, a page that needs nothing else.
"""
import argparse
import html
import json
import math
import os
import platform
import re
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
MISSING = .1                        # what a workload counts that does not run, or whose numbers are wrong
SPREAD, ROUNDS = .15, 4             # JAX may differ by this much; at most so many rounds


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
    for key in ("first_call_ms", "cached_call_ms"):
        values = [r[key] for r in good if r.get(key)]
        if values:
            row[key] = min(values)
    return row


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


# ---- what comes out

def line(row, base):
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
    if name in base and base[name].get("min_ms"):
        text += f"  {base[name]['min_ms'] / row['min_ms']:5.2f}x of before"
    return text


def geometric_mean(rows):
    return math.exp(sum(math.log(r.get("ratio", MISSING)) for r in rows) / len(rows))


PAGE = """<!doctype html><meta charset="utf-8"><title>Heddle beside JAX</title>
<style>
body {{ font: 14px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; color: #222; background: #fff; }}
table {{ border-collapse: collapse; width: 100%; }}
th, td {{ padding: .2rem .6rem; text-align: right; border-bottom: 1px solid #ddd; }}
th:first-child, td:first-child {{ text-align: left; }} th {{ position: sticky; top: 0; background: #f4f4f4; cursor: pointer; }}
.bad {{ color: #b00020; }} .bar {{ display: inline-block; height: .7em; background: #4a7; }} .low .bar {{ background: #c55; }}
@media (prefers-color-scheme: dark) {{
  body {{ background: #161616; color: #ddd; }} th {{ background: #242424; }} td, th {{ border-color: #333; }}
}}
</style>
<h1>Heddle beside JAX</h1><p>{about}</p><p><b>{mean}</b></p>
<table id="t"><thead><tr>{head}</tr></thead><tbody>
{body}
</tbody></table>
<script>
document.querySelectorAll("th").forEach((h, k) => h.onclick = () => {{
  const b = document.querySelector("tbody");
  const value = r => r.cells[k].dataset.v === undefined ? r.cells[k].textContent : +r.cells[k].dataset.v;
  const rows = [...b.rows].sort((x, y) => value(x) > value(y) ? 1 : value(x) < value(y) ? -1 : 0);
  if (h.dataset.up) rows.reverse();
  h.dataset.up = h.dataset.up ? "" : "1";
  b.append(...rows);
}});
</script>
"""


def cell(value, form="{:.3g}"):
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return '<td data-v="-1">-</td>'
    return f'<td data-v="{value}">{form.format(value)}</td>'


def page(result, mean):
    heads = ("workload", "group", "Heddle ms", "JAX ms", "ratio", "target", "", "cpu ratio", "first ms", "JAX first",
             "cached", "bandwidth", "roofline", "error", "before / now")
    body = []
    for r in result["rows"]:
        jax, ratio, target = r.get("jax", {}), r.get("ratio"), r.get("target") or 1
        low = (ratio or MISSING) < target
        width = min(100, 50 * (ratio or MISSING) / target)
        name = html.escape(r["name"]) + (f' <span class="bad">{html.escape(r["failed"])}</span>' if "failed" in r else "")
        bar = f'<td data-v="{width}" style="text-align:left;width:8rem"><span class="bar" style="width:{width}%"></span></td>'
        cells = [f"<td>{name}</td><td>{r.get('group', '')}</td>", cell(r.get("min_ms"), "{:.4g}"),
                 cell(jax.get("min_ms"), "{:.4g}"), cell(ratio), cell(target), bar, cell(r.get("cpu_ratio")),
                 cell(r.get("first_call_ms"), "{:.0f}"), cell(jax.get("first_call_ms"), "{:.0f}"),
                 cell(r.get("cached_call_ms"), "{:.0f}"), cell(r.get("bandwidth_share"), "{:.2f}"),
                 cell(r.get("roofline_share"), "{:.2f}"), cell(r.get("error")), cell(r.get("of_before"), "{:.2f}")]
        body.append(f'<tr class="{"low" if low else ""}">' + "".join(cells) + "</tr>")
    head = "".join(f"<th>{h}</th>" for h in heads)
    return PAGE.format(about=html.escape(result["about"]), mean=mean, head=head, body="\n".join(body))


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


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("bench")
    p.add_argument("names", nargs="*")
    p.add_argument("--device")
    p.add_argument("--min-time", type=float, default=1)
    p.add_argument("--base", help="results.json of another run to compare with")
    p.add_argument("--out", default=".")
    a = p.parse_args()
    version = jax_version()
    if not version:
        print(f"compare.py: no JAX in {sys.executable}: Heddle alone is measured", file=sys.stderr)
    listed = subprocess.run([a.bench, "--list"], capture_output=True, text=True, check=True).stdout.split("\n")
    every = [text.split()[1] for text in listed if text]
    for name in a.names:
        if name not in every:
            sys.exit(f"no workload {name}: see {a.bench} --list")
    names = a.names or every
    want = {r["name"]: r for r in map(json.loads, open(os.path.join(HERE, "checksums.jsonl")))}
    base = {r["name"]: r for r in json.load(open(a.base))["rows"]} if a.base else {}
    jax = Jax() if version else None
    result = dict(about=f"{processor_name()}, {os.cpu_count()} cores; JAX {version}; device {a.device or 'the fastest'}; "
                        f"{time.strftime('%Y-%m-%d %H:%M')}", rows=[])
    os.makedirs(a.out, exist_ok=True)
    for k, name in enumerate(names, 1):
        row = pair(a, jax, name, want.get(name))
        if base.get(name, {}).get("min_ms") and row.get("min_ms"):
            row["of_before"] = base[name]["min_ms"] / row["min_ms"]
        result["rows"].append(row)
        print(f"[{k}/{len(names)}] {line(row, base)}", file=sys.stderr, flush=True)
    result["rows"].sort(key=lambda r: r.get("to_target") or 0)
    rows = result["rows"]
    print(f"\nfarthest from its target first; < target not reached, ~ no quiet pair of runs\n")
    for row in rows:
        print(line(row, base))
    mean = ""
    if jax:
        result["geometric_mean"] = geometric_mean(rows)
        reached = sum((r.get("ratio") or 0) >= (r.get("target") or 0) for r in rows)
        mean = f"geometric mean {result['geometric_mean']:.2f} over {len(rows)} workloads"
        print(f"{reached} of {len(rows)} reach their target\n{mean}")
    with open(os.path.join(a.out, "results.json"), "w") as f:
        json.dump(result, f, indent=1)
    with open(os.path.join(a.out, "results.html"), "w") as f:
        f.write(page(result, mean))
    print(f"{os.path.join(a.out, 'results.json')}, {os.path.join(a.out, 'results.html')}")


if __name__ == "__main__":
    main()

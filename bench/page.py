#!/usr/bin/env python3
"""Results as one page that needs nothing else: bars beside their targets, a table that sorts, and how time and memory grow.

    page.py RESULTS.json >PAGE.html

In: what compare.py writes. All axes are logarithmic, so a bar twice as long is a ratio squared.
"""
import html
import json
import math
import sys

GROUPS = ("guide", "kernels", "control", "models", "latency")
MISSING = .1                        # what a workload counts that does not run, or whose numbers are wrong

# law, what grows, its unit, the measures and their names
CHARTS = (
    ("vmap", "a function of 8 numbers over a batch", "batch", "ms", (("run_ms", "a call"), ("first_ms", "the first call"))),
    ("scan", "dependent steps", "steps", "ms", (("run_ms", "a call"), ("compile_ms", "trace and compile"))),
    ("graph", "programs of many instructions", "instructions", "ms", (("compile_ms", "trace and compile"),)),
    ("memory", "gradients through a recurrent network", "steps", "KiB", (("kilobytes", "temporary memory"),)),
)

# head, key, format
COLUMNS = (
    ("Heddle ms", "min_ms", "{:.4g}"), ("JAX ms", "jax.min_ms", "{:.4g}"), ("ratio", "ratio", "{:.3g}"),
    ("target", "target", "{:.3g}"), ("noise", "noise", "{:.0%}"), ("cpu ratio", "cpu_ratio", "{:.3g}"),
    ("sys ms", "sys_ms", "{:.2g}"), ("launches", "launches", "{:.0f}"), ("first ms", "first_call_ms", "{:.0f}"),
    ("trace", "trace_ms", "{:.1f}"), ("transforms", "transform_ms", "{:.1f}"), ("schedule", "schedule_ms", "{:.1f}"),
    ("compile", "compile_ms", "{:.0f}"), ("run", "run_ms", "{:.1f}"), ("cached", "cached_call_ms", "{:.0f}"),
    ("JAX first", "jax.first_call_ms", "{:.0f}"), ("bandwidth", "bandwidth_share", "{:.2f}"),
    ("roofline", "roofline_share", "{:.2f}"), ("error", "error", "{:.2g}"),
)

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Heddle beside JAX</title>
<style>
:root { color-scheme: light dark; --ink: #222; --soft: #707070; --line: #ddd; --paper: #fff; --head: #f4f4f4; --bad: #c00020;
  --guide: #2f6fd0; --kernels: #c98500; --control: #0f9478; --models: #8250c8; --latency: #67737f; }
@media (prefers-color-scheme: dark) { :root { --ink: #ddd; --soft: #999; --line: #383838; --paper: #161616; --head: #242424;
  --bad: #ff6675; --guide: #6c9df0; --kernels: #dca53a; --control: #3fbf9f; --models: #b18cf0; --latency: #98a4b0; } }
body { font: 14px/1.45 system-ui, sans-serif; margin: 2rem auto; padding: 0 1rem; max-width: 90rem; color: var(--ink); background: var(--paper); }
.mean { font-size: 1.5rem; font-weight: 600; } .soft { color: var(--soft); } .bad { color: var(--bad); font-weight: 600; }
.legend { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; } .legend i { display: inline-block; width: .8em; height: .8em; margin-right: .4em; }
.wide { overflow: auto; max-height: 90vh; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .1rem .5rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { position: sticky; top: 0; background: var(--head); cursor: pointer; vertical-align: bottom; z-index: 1; }
th:nth-child(-n+3), td:nth-child(-n+3) { text-align: left; } td svg, th svg { display: block; }
svg text { font: 11px system-ui, sans-serif; fill: var(--soft); } svg text.title { font-size: 14px; font-weight: 600; fill: var(--ink); }
svg text.bad { fill: var(--bad); } .grid { stroke: var(--line); } .one { stroke: var(--soft); } .target { stroke: var(--ink); stroke-width: 2; }
.missed { stroke: var(--bad); stroke-width: 2; } .gap { stroke: var(--bad); stroke-dasharray: 2 2; }
.curve { fill: none; stroke-width: 2; } .bound { fill: none; stroke-dasharray: 4 3; } .out { fill: var(--bad); }
.laws { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(24rem, 100%), 1fr)); gap: 1.5rem; } .laws svg { width: 100%; max-width: 36rem; }
</style>
"""

SORT = """<script>
document.querySelectorAll("th").forEach((h, k) => h.onclick = () => {
  const b = document.querySelector("tbody");
  const value = r => r.cells[k].dataset.v === undefined ? r.cells[k].textContent : +r.cells[k].dataset.v;
  const rows = [...b.rows].sort((x, y) => value(x) > value(y) ? 1 : value(x) < value(y) ? -1 : 0);
  if (h.dataset.up) rows.reverse();
  h.dataset.up = h.dataset.up ? "" : "1";
  b.append(...rows);
});
</script>
"""


class Scale:
    """A logarithmic axis of whole decades around the values, from pixel a to pixel b."""

    def __init__(self, values, a, b):
        logs = [math.log10(v) for v in values if v and v > 0] or [0]
        self.low, self.high, self.a, self.b = math.floor(min(logs)), math.ceil(max(logs)), a, b
        self.high = max(self.high, self.low + 1)

    def __call__(self, v):
        return round(self.a + (math.log10(v) - self.low) / (self.high - self.low) * (self.b - self.a), 1)

    def ticks(self):
        return [10. ** k for k in range(self.low, self.high + 1)]


def short(v):
    """10000 is 10k: what stands at a tick."""
    return next((f"{v / unit:g}{name}" for unit, name in ((1e6, "M"), (1e3, "k")) if v >= unit), f"{v:g}")


def line(kind, x, y, u, v):
    return f'<line class="{kind}" x1="{x}" y1="{y}" x2="{u}" y2="{v}"/>'


def text(x, y, s, anchor="middle", kind="", more=""):
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" class="{kind}"{more}>{html.escape(s)}</text>'


# ---- ratios

WIDTH, HEIGHT = 300, 18


def missed(row):
    return "jax" in row and (row.get("ratio") or MISSING) < (row.get("target") or 0)


def axis(scale):
    marks = "".join(text(scale(t), 11, short(t)) + line("one" if t == 1 else "grid", scale(t), 14, scale(t), HEIGHT)
                    for t in scale.ticks())
    return f'<svg width="{WIDTH}" height="{HEIGHT}">{marks}</svg>'


def bar(row, scale):
    """From JAX, which is 1, to the ratio; a tick at the target, red and tied to the bar where it is missed."""
    ratio, target = row.get("ratio") or MISSING, row.get("target") or 1
    x, one, at, middle = scale(ratio), scale(1), scale(target), HEIGHT / 2
    parts = [line("one" if t == 1 else "grid", scale(t), 0, scale(t), HEIGHT) for t in scale.ticks()]
    parts.append(f'<rect x="{min(x, one)}" y="4" width="{max(1, round(abs(x - one), 1))}" height="{HEIGHT - 8}" '
                 f'fill="var(--{row.get("group", "latency")})"/>')
    if missed(row) and at > max(x, one):
        parts.append(line("gap", max(x, one), middle, at, middle))
    parts.append(line("missed" if missed(row) else "target", at, 1, at, HEIGHT - 1))
    said = html.escape(f"{row['name']}: {ratio:.3g}, target {target:g}")
    return f'<svg width="{WIDTH}" height="{HEIGHT}"><title>{said}</title>{"".join(parts)}</svg>'


def value(row, key):
    for part in key.split("."):
        row = row.get(part) if isinstance(row, dict) else None
    return row


def cell(v, form, bad=False):
    if v is None or (isinstance(v, float) and math.isnan(v)):
        return '<td data-v="-1">-</td>'
    return f'<td data-v="{v:.6g}"{" class=bad" if bad else ""}>{form.format(v)}</td>'


def table_row(row, scale, change):
    name = html.escape(row["name"])
    if "failed" in row:
        name += f' <span class="bad">{html.escape(row["failed"])}</span>'
    drawn = bar(row, scale) if "jax" in row else ""             # Heddle alone was measured
    cells = [f"<td>{name}</td><td>{row.get('group', '')}</td>",
             f'<td data-v="{(row.get("ratio") or MISSING) / (row.get("target") or 1):.4g}">{drawn}</td>']
    for head, key, form in COLUMNS:
        bad = (head == "ratio" and missed(row)) or (head == "error" and (row.get("error") or 0) > 1)
        cells.append(cell(value(row, key), "&lt; " + form if bad and head == "ratio" else form, bad))
    if change:
        cells.append(f'<td data-v="{row.get("of_before") or 0}">{row.get("change", "-")}</td>')
    return "<tr>" + "".join(cells) + "</tr>"


def table(rows):
    change = any("change" in r for r in rows)
    scale = Scale([v for r in rows for v in (r.get("ratio") or MISSING, r.get("target"), 1)], 8, WIDTH - 8)
    heads = ["workload", "group", axis(scale)] + [c[0] for c in COLUMNS] + ["since before"] * change
    return ('<div class="wide"><table><thead><tr>' + "".join(f"<th>{h}</th>" for h in heads) + "</tr></thead><tbody>\n"
            + "\n".join(table_row(r, scale, change) for r in rows) + "\n</tbody></table></div>")


LEGEND = ('<p class="legend">' + "".join(f'<span><i style="background:var(--{g})"></i>{g}</span>' for g in GROUPS)
          + '<span>bars begin at 1, which is JAX, and end at the ratio</span><span>| the target</span>'
          + '<span class="bad">&lt; the target is not reached</span></p>')


# ---- growth

LEFT, TOP, RIGHT, BOTTOM = 60, 34, 500, 250
COLOURS = ("guide", "kernels")


def curve(kind, colour, points):
    joined = " ".join(f"{x},{y}" for x, y in points)
    return f'<polyline class="{kind}" stroke="var(--{colour})" points="{joined}"/>' if len(points) > 1 else ""


def measure_lines(points, key, name, k, x, y):
    """One measure of a law: its bound, its curve, its points, those beyond the bound red."""
    colour = COLOURS[k]
    have = [p for p in points if (p.get(key) or 0) > 0]
    bound = [(x(p["size"]), y(p["most"][key])) for p in have if key in p["most"]]
    parts = [curve("bound", colour, bound), curve("curve", colour, [(x(p["size"]), y(p[key])) for p in have])]
    for p in have:
        out = p[key] > p["most"].get(key, math.inf)
        style = 'class="out"' if out else f'fill="var(--{colour})"'
        said = f"{name} at {p['size']}: {p[key]:.4g}" + (f", at most {p['most'][key]:.4g}" if key in p["most"] else "")
        parts.append(f'<circle cx="{x(p["size"])}" cy="{y(p[key])}" r="{5 if out else 3.5}" {style}><title>{said}</title></circle>')
    parts.append(f'<rect x="{LEFT + 10 + 90 * k}" y="{BOTTOM + 44}" width="10" height="10" fill="var(--{colour})"/>')
    parts.append(text(LEFT + 26 + 90 * k, BOTTOM + 53, name, "start"))
    return "".join(parts)


def chart(law, title, across, unit, measures):
    points = law["points"]
    x = Scale([p["size"] for p in points], LEFT, RIGHT)
    y = Scale([v for p in points for key, _ in measures for v in (p.get(key), p["most"].get(key) if key in p else None)], BOTTOM, TOP)
    parts = [line("grid", x(t), TOP, x(t), BOTTOM) + text(x(t), BOTTOM + 15, short(t)) for t in x.ticks()]
    parts += [line("grid", LEFT, y(t), RIGHT, y(t)) + text(LEFT - 6, y(t) + 4, short(t), "end") for t in y.ticks()]
    parts += [measure_lines(points, key, name, k, x, y) for k, (key, name) in enumerate(measures)]
    middle = (TOP + BOTTOM) / 2
    parts += [text((LEFT + RIGHT) / 2, BOTTOM + 33, across), text(14, middle, unit, more=f' transform="rotate(-90 14 {middle})"'),
              text(RIGHT, BOTTOM + 53, "dashed: the most the law allows", "end"), text(LEFT, 16, title, "start", "title"),
              text(RIGHT, 16, "holds" if law["holds"] else "does not hold", "end", "" if law["holds"] else "bad")]
    for p in points:
        if not any(key in p for key, _ in measures):
            parts.append(text(RIGHT, TOP - 4, f"no result at {p['size']}", "end", "bad"))
    return f'<svg viewBox="0 0 {RIGHT + 15} {BOTTOM + 62}" role="img" aria-label="{title}">{"".join(parts)}</svg>'


def growth(laws):
    drawn = [chart(law, f"{name}: {title}", *rest) for name, title, *rest in CHARTS for law in laws if law["law"] == name]
    return '<h2>How time and memory grow</h2><div class="laws">' + "\n".join(drawn) + "</div>" if drawn else ""


def page(result):
    words = [f'<h1>Heddle beside JAX</h1><p class="soft">{html.escape(result["about"])}</p>']
    for key, kind in (("mean", "mean"), ("reached", ""), ("since", "")):
        if result.get(key):
            words.append(f'<p class="{kind}">{html.escape(result[key])}</p>')
    return "\n".join([PAGE, *words, LEGEND, table(result["rows"]), growth(result.get("growth", [])), SORT])


if __name__ == "__main__":
    print(page(json.load(open(sys.argv[1]))))

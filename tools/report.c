/*
 * report.c - the page of `heddle compare`: a table, a histogram for each result, the graph.
 *
 * In: a report. Out: one HTML file that needs no other file, no script and no network.
 * The graph is drawn in layers, an instruction below all its operands; the instruction that makes the
 * difference is red, what depends on it orange. Where it is in a body of a region, the body is drawn, too.
 */
#include "report.h"

#include <errno.h>
#include <math.h>
#include <string.h>

enum { BOX_W = 132, BOX_H = 34, GAP_X = 14, GAP_Y = 30, MOST_BOXES = 600 };

static const char style[] =
    "body{font:14px/1.4 system-ui,sans-serif;margin:2em;color:#222}"
    "table{border-collapse:collapse}td,th{padding:.2em .8em;text-align:right;border-bottom:1px solid #ddd}"
    "th{border-color:#888}td:first-child,th:first-child,td.l{text-align:left}"
    ".ok{color:#287d3c}.bad{color:#b3261e;font-weight:bold}.mono{font-family:monospace}"
    "svg{display:block;margin:.5em 0 1.5em}svg text{font:11px monospace}"
    ".box{fill:#f4f6f8;stroke:#8a97a5}.born{fill:#ffb4ab;stroke:#b3261e;stroke-width:2}"
    ".later{fill:#ffe2b8;stroke:#b87514}.wire{stroke:#b8c0c8;fill:none}.bar{fill:#5b7fb5}.over{fill:#b3261e}"
    ".scroll{overflow:auto;border:1px solid #ddd}";

static void html_text(FILE *f, const char *s)
{
    for (; *s; s++)
        switch (*s) {
        case '<':
            fputs("&lt;", f);
            break;
        case '>':
            fputs("&gt;", f);
            break;
        case '&':
            fputs("&amp;", f);
            break;
        case '"':
            fputs("&quot;", f);
            break;
        default:
            fputc(*s, f);
        }
}

/* ==================== table and histograms */

static void table_row(FILE *f, const Report *r, const Compared *m, int k)
{
    const Graph *g = r->c->trial.g;
    const Gap *p = &m->out[k];
    bool agrees = gap_agrees(p, r->c->tol);
    fprintf(f, "<tr><td>%s</td><td>%d</td><td class=\"l mono\">%s</td>", m->device->info.name, k,
        type_text(&g->type[g->out[k]]));
    fprintf(f, "<td>%.3g</td><td>%.3g</td><td>%.3g</td><td>%lld</td><td>%.3g</td>", p->ulp, p->relative,
        p->absolute, (long long)p->nan, p->roundings);
    if (p->at >= 0)
        fprintf(f, "<td>%lld: %.9g, %.9g</td>", (long long)p->at, p->got, p->want);
    else
        fprintf(f, "<td>none</td>");
    fprintf(f, "<td class=\"%s\">%s</td></tr>\n", agrees ? "ok" : "bad", agrees ? "agrees" : "differs");
}

static void table(FILE *f, const Report *r)
{
    fprintf(f,
        "<table><tr><th>device</th><th>output</th><th class=\"l\">type</th><th>ulp</th><th>relative</th>"
        "<th>absolute</th><th>nan</th><th>roundings</th><th>worst element: there, "
        "host</th><th></th></tr>\n");
    for (int d = 0; d < r->n; d++) {
        const Compared *m = &r->of[d];
        for (int k = 0; k < r->c->trial.g->nout && !m->failed; k++)
            table_row(f, r, m, k);
        if (m->failed) {
            fprintf(f, "<tr><td>%s</td><td class=\"l bad\" colspan=\"9\">", m->device->info.name);
            html_text(f, m->failed);
            fprintf(f, "</td></tr>\n");
        }
    }
    fprintf(f, "</table>\n");
}

static const char *bar_name(int k)
{
    if (k < 2)
        return k ? "1" : "0";
    return k == GAP_BARS - 1 ? "more, nan" :
        k < 11               ? arena_text("%d to %d", 1 << (k - 1), (1 << k) - 1) :
                               arena_text("2^%d to 2^%d", k - 1, k);
}

/* Bars of elements by ULP, as long as the logarithm of how many there are. */
static void histogram(FILE *f, const Gap *g)
{
    int last = 0, most = 0;
    for (int k = 0; k < GAP_BARS; k++)
        last = g->bar[k] ? k : last;
    for (int k = 0; k <= last; k++)
        most += g->bar[k] || k < 2;
    fprintf(f, "<svg width=\"560\" height=\"%d\" role=\"img\">\n", 18 * most + 4);
    for (int k = 0, row = 0; k <= last; k++) {
        if (!g->bar[k] && k >= 2)
            continue;
        double wide = g->bar[k] ? 20 + 300 * log((double)g->bar[k]) / log((double)g->size + 2) : 0;
        fprintf(f, "<text x=\"90\" y=\"%d\" text-anchor=\"end\">%s</text>", 18 * row + 13, bar_name(k));
        fprintf(f, "<rect class=\"%s\" x=\"98\" y=\"%d\" width=\"%.1f\" height=\"14\"/>",
            k > 5 ? "over" : "bar", 18 * row + 2, wide);
        fprintf(
            f, "<text x=\"%.1f\" y=\"%d\">%lld</text>\n", 104 + wide, 18 * row + 13, (long long)g->bar[k]);
        row++;
    }
    fprintf(f, "</svg>\n");
}

static void histograms(FILE *f, const Report *r)
{
    const Graph *g = r->c->trial.g;
    for (int d = 0; d < r->n; d++)
        for (int k = 0; k < g->nout && !r->of[d].failed; k++) {
            fprintf(f, "<h3>%s, output %d, %s: elements by ULP</h3>\n", r->of[d].device->info.name, k,
                type_text(&g->type[g->out[k]]));
            histogram(f, &r->of[d].out[k]);
        }
}

/* ==================== the graph */

typedef struct Drawing {
    const Graph *g;
    int *layer, *column;
    int layers, widest;
    bool *later;
} Drawing;

/* Of each value how far it is below the inputs, and how many stand left of it. */
static Drawing drawing_of(const Graph *g, const Ins *born)
{
    Drawing d = { g, NEWS(int, g->nval), NEWS(int, g->nval), 1, 0, NEWS(bool, g->nval) };
    int *wide = NEWS(int, g->nins + 2);
    for (int k = 0; k < g->nin; k++)
        d.column[g->in[k]] = wide[0]++;
    for (int n = 0; n < g->nins; n++) {
        const Ins *i = g->ins[n];
        int layer = i->nin ? 1 : 0;
        bool later = i == born;
        for (int k = 0; k < i->nin; k++) {
            layer = d.layer[i->in[k]] + 1 > layer ? d.layer[i->in[k]] + 1 : layer;
            later = later || d.later[i->in[k]];
        }
        for (int k = 0; k < i->nout; k++)
            d.layer[i->out + (Ref)k] = layer, d.column[i->out + (Ref)k] = wide[layer],
                             d.later[i->out + (Ref)k] = later;
        wide[layer]++;
        d.layers = layer + 1 > d.layers ? layer + 1 : d.layers;
    }
    for (int l = 0; l < d.layers; l++)
        d.widest = wide[l] > d.widest ? wide[l] : d.widest;
    return d;
}

static int box_x(const Drawing *d, Ref v) { return GAP_X + d->column[v] * (BOX_W + GAP_X); }
static int box_y(const Drawing *d, Ref v) { return GAP_Y / 2 + d->layer[v] * (BOX_H + GAP_Y); }

static void wire(FILE *f, const Drawing *d, Ref from, Ref to)
{
    int x = box_x(d, from) + BOX_W / 2, y = box_y(d, from) + BOX_H, u = box_x(d, to) + BOX_W / 2,
        w = box_y(d, to);
    fprintf(f, "<path class=\"wire\" d=\"M%d %d C%d %d %d %d %d %d\"/>\n", x, y, x, y + GAP_Y, u, w - GAP_Y,
        u, w);
}

static void box(FILE *f, const Drawing *d, Ref v, const char *kind, const char *what, const char *title)
{
    int x = box_x(d, v), y = box_y(d, v);
    fprintf(f, "<g><title>");
    html_text(f, title);
    fprintf(f, "</title><rect class=\"%s\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" rx=\"4\"/>", kind, x,
        y, BOX_W, BOX_H);
    fprintf(f, "<text x=\"%d\" y=\"%d\">%.20s</text><text x=\"%d\" y=\"%d\">", x + 6, y + 14, what, x + 6,
        y + 28);
    html_text(f, arena_text("%.20s", type_text(&d->g->type[v])));
    fprintf(f, "</text></g>\n");
}

static void draw(FILE *f, const Graph *g, const Ins *born, const Ins *around)
{
    Drawing d = drawing_of(g, born);
    int wide = d.widest * (BOX_W + GAP_X) + GAP_X;
    if (g->nins > MOST_BOXES) {
        fprintf(f, "<p>%d instructions: too many to draw.</p>\n", g->nins);
        return;
    }
    fprintf(f, "<div class=\"scroll\"><svg width=\"%d\" height=\"%d\">\n", wide,
        d.layers * (BOX_H + GAP_Y) + GAP_Y);
    for (int n = 0; n < g->nins; n++)
        for (int k = 0; k < g->ins[n]->nin; k++)
            wire(f, &d, g->ins[n]->in[k], g->ins[n]->out);
    for (int k = 0; k < g->nin; k++)
        box(f, &d, g->in[k], "box", "input", arena_text("input %d", k));
    for (int n = 0; n < g->nins; n++) {
        const Ins *i = g->ins[n];
        const char *what = i->op == OP_region ? region_kind_name[i->region->kind] : optab[i->op].name;
        const char *place = compare_place(i);
        box(f, &d, i->out,
            i == born           ? "born" :
                i == around     ? "born" :
                d.later[i->out] ? "later" :
                                  "box",
            arena_text("v%u %s", i->out, what), arena_text("v%u %s %s", i->out, what, place));
    }
    fprintf(f, "</svg></div>\n");
}

static void draw_level(FILE *f, const Level *l, const Ins *born)
{
    if (l->up) {
        draw_level(f, l->up, l->region);
        fprintf(f, "<h3>In the body of ");
        html_text(f, compare_name(l->up, l->region));
        fprintf(f, " ");
        html_text(f, compare_place(l->region));
        fprintf(f, "</h3>\n");
    }
    draw(f, l->g, born, NULL);
}

static void graphs(FILE *f, const Report *r)
{
    bool drawn = false;
    for (int d = 0; d < r->n; d++) {
        const Compared *m = &r->of[d];
        if (!m->born)
            continue;
        fprintf(f, "<h2>%s: born in <span class=\"bad mono\">", m->device->info.name);
        html_text(f, compare_place(m->born->i)), fputc(' ', f);
        html_text(f, compare_name(m->born->level, m->born->i));
        fprintf(f,
            "</span></h2>\n<p>Run by itself from the host's values, element %lld is %.9g; on the host it is "
            "%.9g (%.3g ulp).</p>\n",
            (long long)m->gap.at, m->gap.got, m->gap.want, m->gap.ulp);
        draw_level(f, m->born->level, m->born->i);
        drawn = true;
    }
    if (!drawn) {
        fprintf(f, "<h2>The graph</h2>\n<p>No instruction differs by itself.</p>\n");
        draw(f, r->c->trial.g, NULL, NULL);
    }
}

int report_page(const Report *r, const char *path)
{
    FILE *f = fopen(path, "w");
    if (!f)
        return error_set(E_IO, "%s: %s", path, strerror(errno));
    fprintf(f, "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>");
    html_text(f, r->file);
    fprintf(f, "</title><style>%s</style>\n<h1>", style);
    html_text(f, r->file);
    fprintf(f, ": <span class=\"%s\">%s</span></h1>\n<p>Against the host; up to %g roundings agree.</p>\n",
        report_agrees(r) ? "ok" : "bad", report_agrees(r) ? "agrees" : "differs", r->c->tol);
    table(f, r);
    graphs(f, r);
    histograms(f, r);
    fprintf(f, "</html>\n");
    return fclose(f) ? error_set(E_IO, "%s: %s", path, strerror(errno)) : 0;
}

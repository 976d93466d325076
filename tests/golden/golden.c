/*
 * golden.c - runs stored cases: what JAX computes (or exact arithmetic gives) against what Heddle computes.
 *
 * In:  a folder of JSON-lines files, their format described in tests/golden/README.md.
 * Out: a line for each failure with case, device and largest error; reasons of skips, counted; last
 *      `N passed, N failed, N skipped`. Exit code 1 if a case failed or none ran, 77 if the device is not
 *      there.
 * A case is a program over flat arrays under a list of transforms, innermost first (golden_transforms.c).
 */
#include <dirent.h>
#include <fnmatch.h>
#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base.h"
#include "golden.h"
#include "misuse.h"

/* ---- attributes ---- */

static const json_t *attr(const json_t *attrs, const char *name)
{
    const json_t *v = json_object_get(attrs, name);
    return v && !json_is_null(v) ? v : NULL;
}

bool attr_has(const json_t *attrs, const char *name) { return attr(attrs, name) != NULL; }

static int64_t whole(const char *s)
{
    return *s == '-' ? strtoll(s, NULL, 10) : (int64_t)strtoull(s, NULL, 10);
}
static int64_t as_i(const json_t *v)
{
    return json_is_string(v) ? whole(json_string_value(v)) : (int64_t)json_number_value(v);
}

int64_t attr_i(const json_t *attrs, const char *name, int64_t otherwise)
{
    const json_t *v = attr(attrs, name);
    return v ? as_i(v) : otherwise;
}

double attr_f(const json_t *attrs, const char *name, double otherwise)
{
    const json_t *v = attr(attrs, name);
    return v ? json_number_value(v) : otherwise;
}

bool attr_b(const json_t *attrs, const char *name, bool otherwise)
{
    const json_t *v = attr(attrs, name);
    return v ? json_is_true(v) : otherwise;
}

const char *attr_s(const json_t *attrs, const char *name, const char *otherwise)
{
    const json_t *v = attr(attrs, name);
    return v && json_is_string(v) ? json_string_value(v) : otherwise;
}

hd_ints attr_l(const json_t *attrs, const char *name)
{
    const json_t *v = attr(attrs, name);
    hd_ints r = { 0 };
    if (v && !json_is_array(v))
        r.n = 1, r.v[0] = as_i(v);
    for (size_t i = 0; v && i < json_array_size(v) && i < HD_MAX_RANK; i++)
        r.v[r.n++] = as_i(json_array_get(v, i));
    return r;
}

enum hd_dtype golden_dtype(const char *name)
{
    for (int d = HD_BOOL; d <= HD_C128; d++)
        if (name && !strcmp(hd_dtype_name((enum hd_dtype)d), name))
            return (enum hd_dtype)d;
    return HD_NODTYPE;
}

enum hd_dtype attr_dtype(const json_t *attrs, const char *name, enum hd_dtype otherwise)
{
    const char *s = attr_s(attrs, name, NULL);
    return s ? golden_dtype(s) : otherwise;
}

GoldenFn *golden_row(const GoldenRow *t, const char *op)
{
    for (; t->op; t++)
        if (!strcmp(t->op, op))
            return t->f;
    return NULL;
}

/* ---- arrays ---- */

static double number(const json_t *v)
{
    if (json_is_string(v)) {
        const char *s = json_string_value(v);
        return !strcmp(s, "nan") ? NAN :
            !strcmp(s, "inf")    ? INFINITY :
            !strcmp(s, "-inf")   ? -INFINITY :
                                   strtod(s, NULL);
    }
    return json_is_boolean(v) ? json_is_true(v) : json_number_value(v);
}

static int64_t integer(const json_t *v)
{
    if (json_is_string(v))
        return whole(json_string_value(v));
    return json_is_boolean(v) ? json_is_true(v) :
        json_is_integer(v)    ? (int64_t)json_integer_value(v) :
                                (int64_t)json_number_value(v);
}

static bool tensor_read(const json_t *t, GoldenTensor *out)
{
    const json_t *data = json_object_get(t, "data");
    out->dt = golden_dtype(json_string_value(json_object_get(t, "dtype")));
    out->shape = attr_l(t, "shape");
    out->n = json_array_size(data);
    size_t size = hd_dtype_size(out->dt);
    if (out->dt == HD_NODTYPE)
        return false;
    out->data = calloc(out->n ? out->n : 1, size ? size : 1);
    for (size_t i = 0; out->data && i < out->n; i++) {
        char *p = (char *)out->data + i * size;
        const json_t *v = json_array_get(data, i);
        if (dtype_complex((Dtype)out->dt))
            for (size_t w = 0; w < 2; w++)
                dtype_store_f(dtype_part((Dtype)out->dt), p + w * size / 2, number(json_array_get(v, w)));
        else if (dtype_float((Dtype)out->dt))
            dtype_store_f((Dtype)out->dt, p, number(v));
        else
            dtype_store_i((Dtype)out->dt, p, integer(v));
    }
    return out->data != NULL;
}

/* ---- comparison ---- */

/* the float's place on the number line of its dtype */
static int64_t ordered(Dtype dt, double v)
{
    int64_t bits = 0;
    dtype_store_f(dt, &bits, v);
    size_t w = 8 * dtype_size(dt);
    int64_t mag = bits & (int64_t)(((uint64_t)1 << (w - 1)) - 1);
    return (bits >> (w - 1)) & 1 ? -mag : mag;
}

static bool denormal(Dtype dt, double v)
{
    double least = dt == DT_F64 ? 0x1p-1022 : dt == DT_F16 ? 0x1p-14 : 0x1p-126;
    return fabs(v) < least;
}

/* How far got is from want, in units of what is allowed: at most 1 is right. */
static double distance(Dtype dt, const json_t *tol, double got, double want)
{
    if (isnan(got) || isnan(want))
        return isnan(got) && isnan(want) ? 0 : INFINITY;
    const json_t *ulp = json_object_get(tol, "ulp"), *rtol = json_object_get(tol, "rtol");
    if (rtol) {
        double limit =
            json_number_value(json_object_get(tol, "atol")) + json_number_value(rtol) * fabs(want);
        return got == want ? 0 : isinf(got) || isinf(want) ? INFINITY : fabs(got - want) / limit;
    }
    if (ulp) {
        if (attr_b(tol, "ftz", false) && denormal(dt, got) && denormal(dt, want))
            return 0;
        if (want == 0 && attr_b(tol, "signed_zero", false) && (got != 0 || !signbit(got) != !signbit(want)))
            return INFINITY;
        if (isinf(got) != isinf(want))
            return INFINITY;
        return got == want ? 0 :
                             fabs((double)(ordered(dt, got) - ordered(dt, want))) / json_number_value(ulp);
    }
    return got == want && !signbit(got) == !signbit(want) ? 0 : INFINITY;
}

typedef struct Verdict { double worst; int output; size_t at; double got, want; char text[160]; } Verdict;

/* Of complex numbers |got - want| and |want| are norms. Where a part is no finite number, or must be exact,
 * each part is for itself. */
static double distance_of_pair(Dtype dt, const json_t *tol, const void *got, const void *want, size_t at)
{
    size_t size = dtype_size(dt), other = at & 1 ? at - 1 : at + 1;
    double a = dtype_load_f(dt, (const char *)got + at * size),
           b = dtype_load_f(dt, (const char *)want + at * size),
           c = dtype_load_f(dt, (const char *)got + other * size),
           d = dtype_load_f(dt, (const char *)want + other * size);
    const json_t *rtol = json_object_get(tol, "rtol");
    if (!rtol || !isfinite(a) || !isfinite(b) || !isfinite(c) || !isfinite(d))
        return distance(dt, tol, a, b);
    return hypot(a - b, c - d) /
        (json_number_value(json_object_get(tol, "atol")) + json_number_value(rtol) * hypot(b, d));
}

static void compare(const GoldenTensor *want, const GoldenTensor *other, const hd_array *got,
    const json_t *tol, int output, Verdict *v)
{
    hd_ints s = hd_array_shape(got);
    Dtype dt = dtype_part((Dtype)want->dt); /* complex numbers are two of their parts */
    bool same = s.n == want->shape.n && hd_array_dtype(got) == want->dt;
    for (int i = 0; same && i < s.n; i++)
        same = s.v[i] == want->shape.v[i];
    size_t size = hd_dtype_size((enum hd_dtype)dt), parts = hd_dtype_size(want->dt) / (size ? size : 1);
    const char *p = same ? hd_data(got) : NULL;
    if (!same || (!p && want->n)) {
        v->worst = INFINITY;
        v->output = output;
        size_t k = (size_t)snprintf(v->text, sizeof v->text, same ? "no data: %s" : "%s[",
            same ? hd_error() : hd_dtype_name(hd_array_dtype(got)));
        for (int i = 0; !same && i < s.n && k < sizeof v->text; i++)
            k +=
                (size_t)snprintf(v->text + k, sizeof v->text - k, "%s%lld", i ? "," : "", (long long)s.v[i]);
        if (!same && k < sizeof v->text)
            snprintf(v->text + k, sizeof v->text - k, "] instead of %s rank %d", hd_dtype_name(want->dt),
                want->shape.n);
        return;
    }
    for (size_t i = 0; i < want->n * parts; i++) {
        const void *g = p + i * size, *w = (const char *)want->data + i * size;
        double d, a, b;
        if (dtype_float(dt)) {
            a = dtype_load_f(dt, g), b = dtype_load_f(dt, w);
            d = parts == 2 ? distance_of_pair(dt, tol, p, want->data, i) : distance(dt, tol, a, b);
            if (other) {                        /* denormal arguments may count as zeros */
                double e = distance(dt, tol, a, dtype_load_f(dt, (const char *)other->data + i * size));
                d = e < d ? e : d;
            }
        } else {
            int64_t x = dtype_load_i(dt, g), y = dtype_load_i(dt, w);
            a = (double)x, b = (double)y;
            d = x == y ? 0 : INFINITY;
        }
        if (d > v->worst)
            v->worst = d, v->output = output, v->at = i, v->got = a, v->want = b;
    }
}

/* ---- cases ---- */

typedef struct Options {
    const char *device, *glob, *folder, *family[16];
    const char *compare;                        /* devices, each against the host; NULL: cases are run */
    int nfamily;
    bool table, f64;
    long every;
} Options;
static bool input_is(const json_t *j, const char *dtype)
{
    return !strcmp(attr_s(json_array_get(json_object_get(j, "in"), 0), "dtype", ""), dtype);
}

static GoldenFn *find(const json_t *j, const char **missing)
{
    const char *op = attr_s(j, "op", "");
    json_t *attrs = json_object_get(j, "attrs");
    if (attr_b(j, "x64", false))
        json_object_set_new(attrs, "x64", json_true());
    /* called exact, but XLA multiplies with the rounded reciprocal of the count; a division is nearer */
    if (!strcmp(op, "jnp.mean") && input_is(j, "i32"))
        json_object_set_new(json_object_get(j, "tol"), "ulp", json_integer(1));
    GoldenFn *f = golden_windows(op);
    if (!f)
        f = golden_ops(op, attrs, missing);
    if (!f && !*missing)
        f = golden_random(op, attrs, missing);
    if (!f && !*missing)
        f = golden_programs(op, attrs, missing);
    if (!f && !*missing)
        *missing = op;
    return f;
}

/* The program itself, under no transform. */
static hd_fn *bare(const json_t *j, GoldenFn *f)
{
    static uint64_t serial;
    CaseEnv e = { .f = f, .attrs = json_object_get(j, "attrs"), .serial = ++serial };
    hd (*base)(const hd *, int, const void *) = golden_base;
    return hd_bind(base, e);
}

static hd_fn *build(const json_t *j, GoldenFn *f, const char **missing)
{
    hd_fn *fn = bare(j, f);
    const json_t *list = json_object_get(j, "apply");
    for (size_t i = 0; fn && i < json_array_size(list); i++)
        fn = golden_apply(fn, json_array_get(list, i), missing);
    return fn;
}

/* A situation that must be refused. */
static void run_misuse(const char *name, const Options *o, GoldenCount *c)
{
    const Misuse *m = misuse_find(name);
    char why[200];
    const char *wrong;
    if (m && !m->f) {
        snprintf(why, sizeof why, "%s%s", m->kind == 'n' ? "C cannot write it: " : "", m->text);
        golden_skip(c, why);
    } else if ((wrong = m ? misuse_judge(m, o->device) : "errors.def does not speak of it") != NULL)
        printf("FAIL %s on %s: %s\n", name, o->device, wrong), c->failed++;
    else
        c->passed++;
}

/* The function on the case's arrays: a tuple, or NULL after an error. */
static hd_array *call(hd_fn *f, const GoldenTensor *in, int n, const char *device)
{
    hd_array *arg[64] = { 0 }, *out = NULL;
    hd_jit_opts o = { .device = device };
    for (int i = 0; i < n; i++)
        arg[i] = hd_array_new(in[i].dt, in[i].shape, in[i].data, NULL);
    if (hd_call_n(hd_jit_n(f, &o), &out, 1, arg, n))
        out = NULL;
    for (int i = 0; i < n; i++)
        hd_drop(arg[i]);
    return out;
}

static bool has_f64(const char *device);

/* The program of a case on each device of a list, against the host; stored answers are not looked at. */
static void compare_case(
    hd_fn *f, const GoldenTensor *in, int n, const Options *o, const char *name, GoldenCount *c)
{
    hd_array *arg[64] = { 0 };
    char list[200], *save = NULL;
    bool failed = false, skipped = false;
    snprintf(list, sizeof list, "%s", o->compare);
    for (int i = 0; i < n; i++)
        arg[i] = hd_array_new(in[i].dt, in[i].shape, in[i].data, NULL);
    for (char *d = strtok_r(list, ",", &save); d; d = strtok_r(NULL, ",", &save)) {
        hd_difference e;
        if (hd_compare_n(&e, d, f, arg, n))
            printf("FAIL %s on %s: %s\n", name, d, hd_error()), failed = true;
        else if (!e.agree && strstr(e.born, "f64") && !has_f64(d))
            skipped = true;
        else if (!e.agree)
            printf("FAIL %s on %s: output %d is %.3g roundings off, %lld nan: %s\n", name, d, e.output,
                e.roundings, (long long)e.nan_mismatches, e.born), failed = true;
    }
    for (int i = 0; i < n; i++)
        hd_drop(arg[i]);
    if (failed)
        c->failed++;
    else if (skipped)
        golden_skip(c, "f64 on this device");
    else
        c->passed++;
    fflush(stdout);
}

static void report(GoldenCount *c, const Options *o, const char *name, const Verdict *v, const char *error)
{
    c->failed++;
    if (error)
        printf("FAIL %s on %s: %s\n", name, o->device, error);
    else if (v->text[0])
        printf("FAIL %s on %s: output %d: %s\n", name, o->device, v->output, v->text);
    else
        printf("FAIL %s on %s: output %d, element %zu: %.9g instead of %.9g, %.3g times the tolerance\n",
            name, o->device, v->output, v->at, v->got, v->want, v->worst);
    fflush(stdout);
}

static void run_case(const json_t *j, const Options *o, GoldenCount *c)
{
    const char *missing = NULL, *name = attr_s(j, "case", "?");
    if (!strcmp(attr_s(j, "op", ""), "error")) {
        if (!o->compare)
            run_misuse(name, o, c);
        return;
    }
    GoldenFn *f = find(j, &missing);
    const json_t *jin = json_object_get(j, "in"), *jout = json_object_get(j, "out");
    GoldenTensor in[64] = { 0 }, want[64] = { 0 };
    int nin = (int)json_array_size(jin), nout = (int)json_array_size(jout);
    bool plain = nin <= 64 && nout <= 64;
    for (int i = 0; plain && i < nin; i++)
        plain = tensor_read(json_array_get(jin, (size_t)i), &in[i]);
    for (int i = 0; plain && i < nout; i++)
        plain = tensor_read(json_array_get(jout, (size_t)i), &want[i]);
    if (!plain)
        missing = "an array that is none";
    hd_fn *fn = missing ? NULL : build(j, f, &missing);
    if (missing)
        golden_skip(c, missing);
    else if (o->compare)
        compare_case(fn, in, nin, o, name, c);
    else {
        hd_array *got = call(fn, in, nin, o->device);
        bool denormals = strstr(name, "_denormal") && nout == 2;
        Verdict v = { 0 };
        const char *wrong = golden_wrong(j);
        if (wrong && got && !golden_right(j, bare(j, f), in, want, nout))
            v.worst = INFINITY, snprintf(v.text, sizeof v.text, "no difference quotients: %s", hd_error());
        if (!got &&
            ((!o->f64 && strstr(hd_error(), "f64")) || strstr(hd_error(), "of f64 is not available")))
            golden_skip(c, "f64 on this device");
        else if (!got)
            report(c, o, name, &v, hd_error());
        else {
            int n = hd_array_len(got);
            if (wrong)
                golden_judged(c, wrong);
            if (n != (denormals ? 1 : nout))
                v.worst = INFINITY, snprintf(v.text, sizeof v.text, "%d outputs instead of %d", n, nout);
            else
                for (int i = 0; i < n; i++)
                    compare(&want[i], denormals ? &want[1] : NULL, hd_array_nth(got, i),
                        json_object_get(j, "tol"), i, &v);
            if (v.worst > 1)
                report(c, o, name, &v, NULL);
            else
                c->passed++;
        }
        hd_drop(got);
    }
    for (int i = 0; i < 64; i++)
        free(in[i].data), free(want[i].data);
}

/* A share of the cases is drawn by their names, so that it is the same wherever cases are added or taken
 * away. */
static bool chosen_case(const json_t *j, const Options *o)
{
    const char *name = attr_s(j, "case", "");
    return (!o->glob || !fnmatch(o->glob, name, 0)) &&
        (o->every < 2 || hash_bytes(name, strlen(name), 0) % (uint64_t)o->every == 0);
}

/* Attributes are read while a function is traced, also later: the JSON of a case lives until the program
 * ends. */
static void run_file(const char *path, const Options *o, GoldenCount *c, json_t *keep)
{
    FILE *f = fopen(path, "r");
    char *line = NULL;
    size_t cap = 0;
    while (f && getline(&line, &cap, f) > 0) {
        json_error_t e;
        json_t *j = json_loads(line, JSON_ALLOW_NUL, &e);
        if (!j) {
            printf("FAIL %s: %s\n", path, e.text);
            c->failed++;
            continue;
        }
        json_array_append_new(keep, j);
        if (chosen_case(j, o))
            run_case(j, o, c);
    }
    free(line);
    if (f)
        fclose(f);
}

/* Does the device have f64? What only lacks that is skipped. */
static bool has_f64(const char *device)
{
    hd_device_info d;
    for (int i = 0; i < hd_device_count(); i++)
        if (!hd_device(i, &d) && !strcmp(d.name, device))
            return d.has_f64;
    return true;
}

static int name_order(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static const char usage[] =
    "Usage: golden [OPTION...] DIR\nRuns stored cases against one device.\n"
    "  -d, --device NAME   where to run: host, opencl:0 ... (host)\n"
    "  -f, --family F      only the file F.jsonl; may be given several times\n"
    "  -p, --pmap NAMES    every vmap is a pmap over these devices in turn: opencl:0,vulkan:0\n"
    "  -C, --compare NAMES instead: each program on these devices against the host, as hd_compare does\n"
    "  -c, --case GLOB     only cases whose name matches\n"
    "  -e, --every K       only about one case of K, always the same\n"
    "  -s, --skips         a table of families and of the reasons of skips; fails where one has no good "
    "reason\n";

static bool parse_options(int argc, char **argv, Options *o)
{
    static const struct option known[] = { { "device", 1, NULL, 'd' }, { "family", 1, NULL, 'f' },
        { "case", 1, NULL, 'c' }, { "pmap", 1, NULL, 'p' }, { "compare", 1, NULL, 'C' },
        { "every", 1, NULL, 'e' },
        { "skips", 0, NULL, 's' }, { 0 } };
    for (int key; (key = getopt_long(argc, argv, "d:f:c:p:e:sC:", known, NULL)) != -1; )
        switch (key) {
        case 'd': o->device = optarg; break;
        case 'f':
            if (o->nfamily == 16)
                return false;
            o->family[o->nfamily++] = optarg;
            break;
        case 'c': o->glob = optarg; break;
        case 'p': pmap_devices = optarg; break;
        case 'C': o->compare = optarg; break;
        case 's': o->table = true; break;
        case 'e': o->every = strtol(optarg, NULL, 10); break;
        default: return false;
        }
    o->folder = argv[optind];
    return optind == argc - 1 && o->every > 0;
}

static bool chosen_family(const char *family, const Options *o)
{
    for (int i = 0; i < o->nfamily; i++)
        if (!strcmp(o->family[i], family))
            return true;
    return !o->nfamily;
}

/* The families of the folder, each with its count. Returns how many. */
static int run_folder(const Options *o, GoldenCount *c, int most)
{
    struct dirent **list = NULL;
    json_t *keep = json_array();
    int n = scandir(o->folder, &list, NULL, name_order), k = 0;
    for (int i = 0; i < n; i++) {
        char path[4096];
        int len = (int)strlen(list[i]->d_name) - 6;
        if (len > 0 && !strcmp(list[i]->d_name + len, ".jsonl") && k < most) {
            snprintf(c[k].family, sizeof c[k].family, "%.*s", len, list[i]->d_name);
            snprintf(path, sizeof path, "%s/%s", o->folder, list[i]->d_name);
            if (chosen_family(c[k].family, o))
                run_file(path, o, &c[k++], keep);
        }
        free(list[i]);
    }
    free(list);
    json_decref(keep);
    return k;
}

int main(int argc, char **argv)
{
    Options o = { .device = "host", .every = 1 };
    static GoldenCount count[16];
    int passed = 0, failed = 0, skipped = 0, gaps = 0;
    if (!parse_options(argc, argv, &o)) {
        fputs(usage, stderr);
        return 2;
    }
    if (!hd_default_device(o.device)) {         /* asks whether it is there */
        printf("%s\n0 passed, 0 failed, 0 skipped\n", hd_error());
        return 77;
    }
    o.f64 = has_f64(o.device);
    int n = run_folder(&o, count, 16);
    if (o.table)
        gaps = golden_table(count, n, o.device);
    for (int k = 0; k < n; k++) {
        for (int i = 0; i < count[k].nreason && !o.table; i++)
            printf(count[k].reason[i].judged ? "judged by difference quotients %d: %s\n" :
                                               "skipped %d: missing %s\n",
                count[k].reason[i].n, count[k].reason[i].why);
        passed += count[k].passed, failed += count[k].failed, skipped += count[k].skipped;
    }
    printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped);
    return failed || !passed || gaps;
}

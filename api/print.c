/*
 * print.c - hd_print: arrays as numpy prints them, trees with their keys.
 *
 * Numbers have the fewest digits that tell them from their neighbours in their own dtype, at most 8 after
 * the point; columns are aligned; more than 1000 elements are shortened to 3 at each end of each axis; lines
 * are at most 75 wide.
 */
#include "api.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH_ = 75, EDGE = 3, MANY = 1000, PLACES = 8, ROOM = 400 };

/* ==================== digits */

typedef struct Digits { char d[20]; int n, exp; } Digits;       /* d[0] . d[1] d[2] ... * 10^exp */

static bool same_in(Dtype d, double a, double b)
{
    switch (d) {
    case DT_F8E4M3FN: case DT_F8E5M2: case DT_F16: {
        char x[2] = { 0 }, y[2] = { 0 };
        dtype_store_f(d, x, a), dtype_store_f(d, y, b);
        return !memcmp(x, y, 2);
    }
    case DT_BF16: return bfloat_from_double(a) == bfloat_from_double(b);
    case DT_F32: case DT_C64: return (float)a == (float)b;
    default: return a == b;
    }
}

/* The fewest digits of a finite v >= 0 that read back as v. */
static Digits shortest(double v, Dtype d)
{
    Digits r = { .n = 0 };
    char b[40];
    for (int p = 0; p < 17; p++) {
        snprintf(b, sizeof b, "%.*e", p, v);
        if (same_in(d, d == DT_F32 || d == DT_C64 ? (double)strtof(b, NULL) : strtod(b, NULL), v))
            break;
    }
    char *e = strchr(b, 'e');
    for (char *s = b; s < e; s++)
        if (*s != '.')
            r.d[r.n++] = *s;
    r.exp = atoi(e + 1);
    while (r.n > 1 && r.d[r.n - 1] == '0')
        r.n--;
    return r;
}

/* Both write "int.frac" with no zeros at the end of frac; places: the most digits after the point. */
static void positional(char *out, double v, Dtype d, int places)
{
    Digits g = shortest(fabs(v), d);
    int frac = g.n - 1 - g.exp;
    char *s = out;
    if (signbit(v))
        *s++ = '-';
    if (frac > places) {
        snprintf(s, ROOM - 1, "%.*f", places, fabs(v));
        for (s += strlen(s); s[-1] == '0'; s--)
            ;
        *s = 0;
        return;
    }
    if (g.exp < 0)
        *s++ = '0';
    for (int i = 0; i <= g.exp; i++)
        *s++ = i < g.n ? g.d[i] : '0';
    *s++ = '.';
    for (int i = g.exp + 1; i < g.n; i++)
        *s++ = i < 0 ? '0' : g.d[i];
    *s = 0;
}

static void scientific(char *out, int *exp, double v, Dtype d, int places)
{
    Digits g = shortest(fabs(v), d);
    char b[40];
    if (g.n - 1 > places) {
        snprintf(b, sizeof b, "%.*e", places, fabs(v));
        g.exp = atoi(strchr(b, 'e') + 1);
        g.n = 0;
        for (char *s = b; *s != 'e'; s++)
            if (*s != '.')
                g.d[g.n++] = *s;
        while (g.n > 1 && g.d[g.n - 1] == '0')
            g.n--;
    }
    snprintf(out, ROOM, "%s%c.%.*s", signbit(v) ? "-" : "", g.d[0], g.n - 1, g.d + 1);
    *exp = g.exp;
}

/* ==================== a format for all numbers of an array */

typedef struct Format {
    Dtype dt; bool sci, plus;
    int left, right, exp_digits;                /* columns before and after the point */
} Format;

/* From here on numbers are written with an exponent: where a float no longer tells whole numbers apart. */
static double cutoff(Dtype d, double most)
{
    bool half = d == DT_F16 || dtype_f8(d);
    double by_digits = half ? 1e3 : d == DT_BF16 ? 1e2 : d == DT_F32 || d == DT_C64 ? 1e6 : most;
    return by_digits < most ? by_digits : most;
}

/* a / b as the dtype has it */
static double ratio(Dtype d, double a, double b)
{
    return d == DT_F16 ? half_to_double(half_from_double(a / b)) :
        d == DT_BF16 ? bfloat_to_double(bfloat_from_double(a / b)) :
           d == DT_F32 || d == DT_C64 ? (double)((float)a / (float)b) : a / b;
}

static int exp_width(int e) { return abs(e) >= 100 ? 3 : 2; }

static Format float_format(const double *v, size_t n, Dtype dt, bool plus)
{
    Format f = { .dt = dt, .plus = plus };
    double most = 0, least = INFINITY;
    bool other = false, minus = false, nan = false;
    char b[ROOM];
    for (size_t i = 0; i < n; i++) {
        double a = fabs(v[i]);
        if (!isfinite(v[i]))
            other = true, nan |= isnan(v[i]), minus |= v[i] < 0;
        else if (a > 0)
            most = fmax(most, a), least = fmin(least, a);
    }
    f.sci = most > 0 && (most >= cutoff(dt, 1e8) || least < 1e-4 || ratio(dt, most, least) > 1000);
    for (size_t i = 0; i < n; i++) {
        int exp = 0;
        if (!isfinite(v[i]))
            continue;
        if (f.sci)
            scientific(b, &exp, v[i], dt, PLACES);
        else
            positional(b, v[i], dt, PLACES);
        int left = (int)(strchr(b, '.') - b), right = (int)strlen(b) - left - 1;
        left += plus && b[0] != '-';
        f.left = left > f.left ? left : f.left;
        f.right = right > f.right ? right : f.right;
        f.exp_digits = f.sci && exp_width(exp) > f.exp_digits ? exp_width(exp) : f.exp_digits;
    }
    int all = f.left + 1 + f.right + (f.sci ? 2 + f.exp_digits : 0);
    int want = other ? 3 + (minus || plus) : 0;
    if (other && nan && want < 3)
        want = 3;
    if (all < want)
        f.left += want - all;
    return f;
}

static void float_word(const Format *f, double v, char *out)
{
    char b[ROOM];
    int exp = 0, all = f->left + 1 + f->right + (f->sci ? 2 + f->exp_digits : 0);
    if (!isfinite(v)) {
        snprintf(out, ROOM, "%*s", all, isnan(v) ? "nan" : v < 0 ? "-inf" : f->plus ? "+inf" : "inf");
        return;
    }
    if (f->sci) {                               /* all with as many digits as one of them needs */
        snprintf(b, sizeof b, "%.*e", f->right, v);
        char *e = strchr(b, 'e');
        exp = atoi(e + 1), *e = 0;
        if (!strchr(b, '.'))
            strcat(b, ".");
    } else {
        positional(b, v, f->dt, PLACES);
    }
    if (f->plus && b[0] != '-')
        memmove(b + 1, b, strlen(b) + 1), b[0] = '+';
    char *dot = strchr(b, '.');
    int left = (int)(dot - b), right = (int)strlen(dot + 1);
    int n = f->left > left ? f->left - left : 0;
    memset(out, ' ', (size_t)n);
    n += snprintf(out + n, (size_t)(ROOM - n), "%.120s", b);
    if (f->sci) {
        snprintf(out + n, (size_t)(ROOM - n), "e%c%0*d", exp < 0 ? '-' : '+', f->exp_digits, abs(exp));
    } else {
        for (; right < f->right; right++)
            out[n++] = ' ';
        out[n] = 0;
    }
}

/* ==================== an array being written */

typedef struct Writer {
    Text *t;
    const Type *type; const char *data;
    bool shortened;
    Format re, im; int width;                   /* floats; integers and bool */
} Writer;

static const char *element(const Writer *w, int64_t i)
{
    return w->data + (size_t)i * dtype_size((Dtype)w->type->dt);
}

static double imaginary(const Writer *w, int64_t i)
{
    const char *p = element(w, i);
    double d;
    float f;
    if (w->type->dt == DT_C64)
        return memcpy(&f, p + 4, 4), f;
    return memcpy(&d, p + 8, 8), d;
}

static bool floats(Dtype d) { return dtype_float(d) || dtype_f8(d); }
static bool pairs(const Writer *w) { return w->type->dt == DT_C64 || w->type->dt == DT_C128; }

static void integer(const Writer *w, int64_t i, char *out)
{
    Dtype d = (Dtype)w->type->dt;
    int64_t v = dtype_load_i(d, element(w, i));
    if (d == DT_BOOL)
        snprintf(out, ROOM, "%s", v ? "True" : "False");
    else if (d == DT_U64)
        snprintf(out, ROOM, "%" PRIu64, (uint64_t)v);
    else if (d == DT_KEY)
        snprintf(out, ROOM, "key(%" PRIu32 " %" PRIu32 ")", (uint32_t)v, (uint32_t)((uint64_t)v >> 32));
    else
        snprintf(out, ROOM, "%" PRId64, v);
}

static void word(const Writer *w, int64_t i, char *out)
{
    char b[ROOM];
    Dtype d = (Dtype)w->type->dt;
    if (pairs(w)) {
        float_word(&w->re, dtype_load_f(d, element(w, i)), out);
        float_word(&w->im, imaginary(w, i), b);
        size_t n = strlen(b), k = n, at = strlen(out);
        while (k && b[k - 1] == ' ')
            k--;
        if (at + n + 2 > ROOM)                  /* no number is that long */
            return;
        memcpy(out + at, b, k);                 /* the j before the blanks behind the number */
        out[at + k] = 'j';
        memcpy(out + at + k + 1, b + k, n - k + 1);
    } else if (floats(d)) {
        float_word(&w->re, dtype_load_f(d, element(w, i)), out);
    } else {
        integer(w, i, b);
        snprintf(out, ROOM, "%*s", w->width, b);
    }
}

/* Calls f on each element that is shown. */
static void each(
    const Writer *w, int axis, int64_t base, void (*f)(const Writer *, int64_t, void *), void *env)
{
    if (axis == w->type->rank) {
        f(w, base, env);
        return;
    }
    int64_t n = w->type->dim[axis];
    for (int64_t i = 0; i < n; i++) {
        if (w->shortened && n > 2 * EDGE && i == EDGE)
            i = n - EDGE;
        each(w, axis + 1, base * n + i, f, env);
    }
}

static void count_one(const Writer *w, int64_t i, void *n) { (void)w, (void)i; ++*(size_t *)n; }

typedef struct Values { double *re, *im; size_t n; int width; } Values;

static void collect(const Writer *w, int64_t i, void *env)
{
    Values *v = env;
    char b[ROOM];
    if (!v->re) {
        integer(w, i, b);
        v->width = (int)strlen(b) > v->width ? (int)strlen(b) : v->width;
        return;
    }
    v->re[v->n] = dtype_load_f((Dtype)w->type->dt, element(w, i));
    if (v->im)
        v->im[v->n] = imaginary(w, i);
    v->n++;
}

static int choose_format(Writer *w)
{
    size_t n = 0;
    Values v = { NULL, NULL, 0, 0 };
    each(w, 0, 0, count_one, &n);
    Dtype d = (Dtype)w->type->dt;
    if (floats(d) || pairs(w)) {
        v.re = malloc(sizeof *v.re * (n + 1));
        v.im = pairs(w) ? malloc(sizeof *v.im * (n + 1)) : NULL;
        if (!v.re || (pairs(w) && !v.im)) {
            free(v.re), free(v.im);
            return error_set(E_NOMEM, "out of host memory");
        }
    }
    each(w, 0, 0, collect, &v);
    w->width = d == DT_BOOL && v.width < 5 ? 5 : v.width;
    if (v.re)
        w->re = float_format(v.re, v.n, d, false);
    if (v.im)
        w->im = float_format(v.im, v.n, d, true);
    free(v.re), free(v.im);
    return 0;
}

/* One word more on the last line, or on a new one. *line: columns used on it. */
static void add_word(Writer *w, const char *s, int hang, int most, int *line)
{
    if (*line > hang && *line + (int)strlen(s) > most) {
        while (w->t->n && w->t->s[w->t->n - 1] == ' ')
            w->t->s[--w->t->n] = 0;
        text_char(w->t, '\n', 1);
        text_char(w->t, ' ', hang);
        *line = hang;
    }
    text_add(w->t, "%s", s);
    *line += (int)strlen(s);
}

static void write_axis(Writer *w, int axis, int64_t base, int hang, int width)
{
    int64_t n = w->type->dim[axis];
    int left = w->type->rank - axis, line = hang + 1;
    bool gap = w->shortened && n > 2 * EDGE;
    char b[ROOM];
    text_char(w->t, '[', 1);
    for (int64_t i = 0; i < n; i++) {
        bool dots = gap && i == EDGE;
        if (dots)
            i = n - EDGE - 1;
        if (left == 1) {
            if (dots)
                snprintf(b, sizeof b, "...");
            else
                word(w, base * n + i, b);
            add_word(w, b, hang + 1, width - 1, &line);
            if (i + 1 < n)
                text_char(w->t, ' ', 1), line++;
            continue;
        }
        if (i)
            text_char(w->t, ' ', dots || i ? hang + 1 : 0);
        if (dots)
            text_add(w->t, "...");
        else
            write_axis(w, axis + 1, base * n + i, hang + 1, width - 1);
        if (i + 1 < n)
            text_char(w->t, '\n', left - 1);
    }
    text_char(w->t, ']', 1);
}

/* One number by itself, as Python's str has it. */
static void write_scalar(Writer *w)
{
    char b[ROOM], c[ROOM];
    Dtype d = (Dtype)w->type->dt;
    if (!floats(d) && !pairs(w)) {
        integer(w, 0, b);
        text_add(w->t, "%s", b);
        return;
    }
    double v[2] = { dtype_load_f(d, w->data), pairs(w) ? imaginary(w, 0) : 0 };
    if (pairs(w))
        text_char(w->t, '(', 1);
    for (int k = 0; k < 1 + pairs(w); k++) {
        int exp = 0;
        double a = fabs(v[k]);
        if (!isfinite(v[k]))
            snprintf(b, sizeof b, "%s", isnan(v[k]) ? "nan" : v[k] < 0 ? "-inf" : "inf");
        else if (a == 0 || (a >= 1e-4 && a < cutoff(d, 1e16)))
            positional(b, v[k], d, 25), strcat(b, b[strlen(b) - 1] == '.' && !pairs(w) ? "0" : "");
        else {
            scientific(b, &exp, v[k], d, 20);
            size_t n = strlen(b);
            snprintf(b + n - (b[n - 1] == '.'), 16, "e%c%02d", exp < 0 ? '-' : '+', abs(exp) % 1000);
        }
        size_t n = strlen(b);
        if (pairs(w) && b[n - 1] == '.')
            b[n - 1] = 0;
        snprintf(c, sizeof c, "%s", b);
        text_add(w->t, "%s%s", k && c[0] != '-' ? "+" : "", c);
    }
    if (pairs(w))
        text_add(w->t, "j)");
}

int text_array(Text *t, const Type *type, const void *data, int hang)
{
    Writer w = { .t = t, .type = type, .data = data, .shortened = type_size(type) > MANY };
    int e = 0;
    if (type_size(type) == 0)
        text_add(t, "[]");
    else if (!type->rank)
        write_scalar(&w);
    else if (!(e = choose_format(&w)))
        write_axis(&w, 0, 0, hang, WIDTH_);
    return e;
}

static int write_array(Text *t, const hd_array *a, int hang)
{
    if (a->abstract) {
        Arena *arena = arena_new(), *saved = arena_use(arena);
        text_add(t, "%s", type_text(&a->type));
        arena_use(saved);
        arena_drop(arena);
        return 0;
    }
    char *data = malloc(a->store->bytes ? a->store->bytes : 1);
    if (!data)
        return error_set(E_NOMEM, "out of host memory");
    int e = store_read(a->store, data);
    e = e ? e : text_array(t, &a->type, data, hang);
    free(data);
    return e;
}

static int write_tree(Text *t, const hd_array *a, int hang)
{
    int e = 0;
    if (!a->tree)
        return write_array(t, a, hang);
    text_char(t, a->key ? '{' : '(', 1);
    for (int i = 0; i < a->n && !e; i++) {
        int inner = hang + 1;
        if (i) {
            text_add(t, ",\n");
            text_char(t, ' ', inner);
        }
        if (a->key) {
            text_add(t, "%s: ", a->key[i]);
            inner += (int)strlen(a->key[i]) + 2;
        }
        e = write_tree(t, a->part[i], inner);
    }
    text_char(t, a->key ? '}' : ')', 1);
    return e;
}

int hd_print(FILE *file, const hd_array *a)
{
    OP(hd_print);
    Text t = { 0 };
    if (!a)
        return error_pass();
    error_begin();
    if (!file)
        return error_told(error_set(E_INVAL, "hd_print: the file is NULL"));
    if (!array_alive("hd_print", -1, a))
        return error_told((int)error_code());
    int e = array_bring(a);
    e = e ? e : write_tree(&t, a, 0);
    if (!e && fprintf(file, "%s\n", t.s ? t.s : "") < 0)
        e = error_set(E_IO, "hd_print: the file cannot be written");
    text_free(&t);
    return error_told(e);
}

/*
 * spirv_words.c - words, types, constants, and the module that they make.
 *
 * In:  instructions, in any order of sections.   Out: the module, sections in the order that SPIR-V demands.
 * Types and constants are found if they are there already: SPIR-V wants each non-aggregate type once.
 */
#include "spirv_words.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

uint32_t sp_id(Writer *w) { return w->next++; }

static void word(Words *s, uint32_t x) { PUSH(s->w, s->n, s->cap, x); }

void sp_put(Words *s, int op, int n, const uint32_t *args)
{
    word(s, (uint32_t)(n + 1) << 16 | (uint32_t)op);
    for (int i = 0; i < n; i++)
        word(s, args[i]);
}

uint32_t sp_op(Writer *w, int op, uint32_t type, int n, const uint32_t *args)
{
    uint32_t id = sp_id(w);
    word(w->to, (uint32_t)(n + 3) << 16 | (uint32_t)op);
    word(w->to, type);
    word(w->to, id);
    for (int i = 0; i < n; i++)
        word(w->to, args[i]);
    return id;
}

void sp_label(Writer *w, uint32_t id)
{
    PUT(w->to, OpLabel, id);
    w->last_label = id;
}

/* An instruction with a text among its words: those before and behind go with their numbers, hence the
 * parameters. */
void sp_text(
    Words *s, int op, int n, const uint32_t *before, const char *text, int nafter, const uint32_t *after)
{
    size_t bytes = strlen(text) + 1, k = (bytes + 3) / 4;
    word(s, (uint32_t)(1 + (size_t)n + k + (size_t)nafter) << 16 | (uint32_t)op);
    for (int i = 0; i < n; i++)
        word(s, before[i]);
    for (size_t i = 0; i < k; i++) {
        uint32_t x = 0;
        for (size_t b = 0; b < 4 && 4 * i + b < bytes; b++)
            x |= (uint32_t)(unsigned char)text[4 * i + b] << (8 * b);
        word(s, x);
    }
    for (int i = 0; i < nafter; i++)
        word(s, after[i]);
}

int sp_fail(Writer *w, Code code, const char *format, ...)
{
    char s[400];
    va_list a;
    va_start(a, format);
    vsnprintf(s, sizeof s, format, a);
    va_end(a);
    if (!w->error)
        w->error = error_set(code, "kernel %s: %s", w->k->name, s);
    return w->error;
}

/* ==================== types and constants */

uint32_t sp_global(Writer *w, int op, uint32_t type, int n, const uint32_t *args)
{
    uint64_t h = hash_bytes(args, sizeof *args * (size_t)n, (uint64_t)op << 32 | type);
    int size = n + 2 + (type != 0);
    uint32_t first = (uint32_t)size << 16 | (uint32_t)op;
    for (int i = w->nknown - 1; i >= 0; i--) {
        const uint32_t *g = w->globals.w + w->known[i].at;
        if (w->known[i].hash == h && g[0] == first && (!type || g[1] == type) &&
            (!n || !memcmp(g + 2 + (type != 0), args, sizeof *args * (size_t)n)))
            return w->known[i].id;
    }
    uint32_t id = sp_id(w);
    PUSH(w->known, w->nknown, w->known_cap, (Known){ h, w->globals.n, id });
    word(&w->globals, first);
    if (type)
        word(&w->globals, type);
    word(&w->globals, id);
    for (int i = 0; i < n; i++)
        word(&w->globals, args[i]);
    return id;
}

static void capability(Writer *w, bool *asked, bool has, uint32_t cap, const char *what)
{
    if (!*asked && has)
        PUT(&w->caps_w, OpCapability, cap);
    else if (!*asked)
        sp_fail(w, E_DTYPE, "the device has no %s", what);
    *asked = true;
}

static uint32_t narrow(Writer *w, bool bytes)
{
    const SpirvCaps *c = w->caps;
    bool *asked = bytes ? &w->has_8 : &w->has_16;
    if (!*asked && (bytes ? c->bytes : c->shorts))
        PUT(&w->caps_w, OpCapability, bytes ? CapInt8 : CapInt16);
    if (bytes)
        capability(w, asked, c->byte_storage, CapStorage8,
            "arrays of 8-bit elements (bool, i8, u8): convert them to i32, or choose another device");
    else
        capability(w, asked, c->short_storage, CapStorage16,
            "arrays of 16-bit elements (f16, bf16, i16, u16): convert them to f32 or i32, or choose another "
            "device");
    return bytes ? 8 : 16;
}

uint32_t sp_type(Writer *w, Reg r, int n)
{
    uint32_t t = 0;
    if (n > 1)
        return GLOBAL_(w, OpTypeVector, 0, sp_type(w, r, 1), (uint32_t)n);
    switch (r) {
    case R_BOOL: return sp_global(w, OpTypeBool, 0, 0, NULL);
    case R_U8: case R_U16:
        t = narrow(w, r == R_U8);
        break;
    case R_U64:
        capability(w, &w->has_i64, w->caps->i64, CapInt64,
            "64-bit integers: convert to i32, or choose another device");
        t = 64;
        break;
    case R_F64:
        capability(
            w, &w->has_f64, w->caps->f64, CapFloat64, "f64: convert to f32, or choose another device");
        return GLOBAL_(w, OpTypeFloat, 0, 64);
    case R_F32: return GLOBAL_(w, OpTypeFloat, 0, 32);
    default: t = 32;
    }
    return GLOBAL_(w, OpTypeInt, 0, t, 0);
}

uint32_t sp_pointer(Writer *w, int storage, uint32_t type)
{
    return GLOBAL_(w, OpTypePointer, 0, (uint32_t)storage, type);
}

uint32_t sp_const(Writer *w, Reg r, int n, uint64_t bits)
{
    uint32_t t = sp_type(w, r, 1), c;
    if (r == R_BOOL)
        c = sp_global(w, bits ? OpConstantTrue : OpConstantFalse, t, 0, NULL);
    else if (r == R_U64 || r == R_F64)
        c = GLOBAL_(w, OpConstant, t, (uint32_t)bits, (uint32_t)(bits >> 32));
    else
        c = GLOBAL_(w, OpConstant, t, (uint32_t)bits);
    return n > 1 ? GLOBAL_(w, OpConstantComposite, sp_type(w, r, n), c, c, c, c) : c;
}

uint32_t sp_lanes(Writer *w, Reg r, int chunk)
{
    uint32_t c[4];
    for (int i = 0; i < 4; i++)
        c[i] = sp_const(w, r, 1, (uint64_t)(4 * chunk + i));
    return sp_global(w, OpConstantComposite, sp_type(w, r, 4), 4, c);
}

/* ==================== the module */

static void append(Words *to, const Words *from)
{
    for (int i = 0; i < from->n; i++)
        word(to, from->w[i]);
}

static void modes(Words *s, uint32_t main, int widths, uint32_t mode)
{
    for (int b = 0; b < 3; b++)
        if (widths >> b & 1)
            PUT(s, OpExecutionMode, main, mode, 16u << b);
}

static void head(Writer *w, Words *s, uint32_t main)
{
    const SpirvCaps *c = w->caps;
    PUT(s, OpCapability, CapShader);
    PUT(s, OpCapability, CapPhysicalAddresses);
    append(s, &w->caps_w);
    if (c->denormals)
        PUT(s, OpCapability, CapDenormPreserve);
    if (c->specials)
        PUT(s, OpCapability, CapSignedZeroInfNanPreserve);
    if (c->nearest)
        PUT(s, OpCapability, CapRoundingModeRTE);
    sp_text(s, OpExtInstImport, 1, &w->glsl, "GLSL.std.450", 0, NULL);
    PUT(s, OpMemoryModel, 5348, 1);             /* PhysicalStorageBuffer64, GLSL450 */
    uint32_t used[2 + 64], n = 0;
    used[n++] = w->pushed, used[n++] = w->invocation;
    for (int i = 0; i < w->k->npriv && n < 66; i++)
        if (w->k->priv[i]->space == LOCAL)
            used[n++] = w->priv[i];
    sp_text(s, OpEntryPoint, 2, (const uint32_t[]){ 5, main }, "main", (int)n, used);   /* 5: GLCompute */
    uint32_t size[3] = { (uint32_t)w->local, 1, 1 };
    for (int d = 1; d < w->k->ngrid; d++)
        size[d] = w->k->grid[d].group ? (uint32_t)w->k->grid[d].group : 1;
    PUT(s, OpExecutionMode, main, ModeLocalSize, size[0], size[1], size[2]);
    modes(s, main, c->denormals, ModeDenormPreserve);
    modes(s, main, c->specials, ModeSignedZeroInfNanPreserve);
    modes(s, main, c->nearest, ModeRoundingModeRTE);
    sp_text(s, OpName, 1, &main, w->k->name, 0, NULL);
}

int sp_module(Writer *w, uint32_t main, uint32_t **words, size_t *n)
{
    Words s = { 0 };
    uint32_t none = sp_global(w, OpTypeVoid, 0, 0, NULL), type = GLOBAL_(w, OpTypeFunction, 0, none);
    word(&s, 0x07230203), word(&s, 0x00010500), word(&s, 0), word(&s, 0), word(&s, 0);
    head(w, &s, main);
    append(&s, &w->decor);
    append(&s, &w->globals);
    PUT(&s, OpFunction, none, main, 0, type);
    PUT(&s, OpLabel, w->entry);
    append(&s, &w->vars);
    append(&s, &w->hidden);
    append(&s, &w->body);
    sp_put(&s, OpReturn, 0, NULL);
    sp_put(&s, OpFunctionEnd, 0, NULL);
    append(&s, &w->funcs);
    s.w[3] = w->next;
    *n = (size_t)s.n;
    if (!(*words = malloc(sizeof **words * *n)))
        return error_set(E_NOMEM, "no memory for a program");
    memcpy(*words, s.w, sizeof **words * *n);
    return 0;
}

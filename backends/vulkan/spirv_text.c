/*
 * spirv_text.c - modules as text, and their verifier.
 *
 * In:  words of SPIR-V. Out: a line an instruction, `%12 = FMul %3 %10 %11`, the type of the result first;
 * or 0, or the error of
 *      the first instruction that breaks a rule: lengths and operands are those of the instruction, an id is
 *      made once, below the bound, and before its use, a block ends with a branch or a return and the next
 *      one begins with a label.
 * A row below says what each word of an instruction is: t the type of its result, r the result, i an id, n a
 * number, s text; '*': the last one any number of times. What the writer does not write has no row, and is
 * an error.
 */
#include "spirv_words.h"

#include <string.h>

typedef struct Row { const char *name, *words; } Row;
#define ROW(op, words) [op] = { #op, words }

static const Row rows[256] = {
    ROW(OpName, "is"),
    ROW(OpExtInstImport, "rs"),
    ROW(OpExtInst, "trini*"),
    ROW(OpMemoryModel, "nn"),
    ROW(OpEntryPoint, "nisi*"),
    ROW(OpExecutionMode, "in*"),
    ROW(OpCapability, "n"),
    ROW(OpTypeVoid, "r"),
    ROW(OpTypeBool, "r"),
    ROW(OpTypeInt, "rnn"),
    ROW(OpTypeFloat, "rn"),
    ROW(OpTypeVector, "rin"),
    ROW(OpTypeArray, "rii"),
    ROW(OpTypeStruct, "ri*"),
    ROW(OpTypePointer, "rni"),
    ROW(OpTypeFunction, "rii*"),
    ROW(OpConstantTrue, "tr"),
    ROW(OpConstantFalse, "tr"),
    ROW(OpConstant, "trn*"),
    ROW(OpConstantComposite, "tri*"),
    ROW(OpFunction, "trni"),
    ROW(OpFunctionParameter, "tr"),
    ROW(OpFunctionEnd, ""),
    ROW(OpFunctionCall, "trii*"),
    ROW(OpVariable, "trni*"),
    ROW(OpLoad, "trin*"),
    ROW(OpStore, "iin*"),
    ROW(OpAccessChain, "trii*"),
    ROW(OpPtrAccessChain, "triii*"),
    ROW(OpDecorate, "inn*"),
    ROW(OpMemberDecorate, "innn*"),
    ROW(OpCompositeConstruct, "tri*"),
    ROW(OpCompositeExtract, "trin*"),
    ROW(OpConvertFToU, "tri"),
    ROW(OpConvertFToS, "tri"),
    ROW(OpConvertSToF, "tri"),
    ROW(OpConvertUToF, "tri"),
    ROW(OpUConvert, "tri"),
    ROW(OpSConvert, "tri"),
    ROW(OpFConvert, "tri"),
    ROW(OpBitcast, "tri"),
    ROW(OpSNegate, "tri"),
    ROW(OpIAdd, "trii"),
    ROW(OpFAdd, "trii"),
    ROW(OpISub, "trii"),
    ROW(OpFSub, "trii"),
    ROW(OpIMul, "trii"),
    ROW(OpFMul, "trii"),
    ROW(OpUDiv, "trii"),
    ROW(OpSDiv, "trii"),
    ROW(OpFDiv, "trii"),
    ROW(OpUMod, "trii"),
    ROW(OpUMulExtended, "trii"),
    ROW(OpSMulExtended, "trii"),
    ROW(OpAny, "tri"),
    ROW(OpLogicalEqual, "trii"),
    ROW(OpLogicalNotEqual, "trii"),
    ROW(OpLogicalOr, "trii"),
    ROW(OpLogicalAnd, "trii"),
    ROW(OpLogicalNot, "tri"),
    ROW(OpSelect, "triii"),
    ROW(OpIEqual, "trii"),
    ROW(OpINotEqual, "trii"),
    ROW(OpUGreaterThan, "trii"),
    ROW(OpSGreaterThan, "trii"),
    ROW(OpUGreaterThanEqual, "trii"),
    ROW(OpSGreaterThanEqual, "trii"),
    ROW(OpULessThan, "trii"),
    ROW(OpSLessThan, "trii"),
    ROW(OpULessThanEqual, "trii"),
    ROW(OpSLessThanEqual, "trii"),
    ROW(OpFOrdEqual, "trii"),
    ROW(OpFUnordNotEqual, "trii"),
    ROW(OpFOrdLessThan, "trii"),
    ROW(OpFOrdGreaterThan, "trii"),
    ROW(OpFOrdLessThanEqual, "trii"),
    ROW(OpFOrdGreaterThanEqual, "trii"),
    ROW(OpShiftRightLogical, "trii"),
    ROW(OpShiftRightArithmetic, "trii"),
    ROW(OpShiftLeftLogical, "trii"),
    ROW(OpBitwiseOr, "trii"),
    ROW(OpBitwiseXor, "trii"),
    ROW(OpBitwiseAnd, "trii"),
    ROW(OpNot, "tri"),
    ROW(OpBitCount, "tri"),
    ROW(OpControlBarrier, "iii"),
    ROW(OpPhi, "tri*"),
    ROW(OpLoopMerge, "iin"),
    ROW(OpSelectionMerge, "in"),
    ROW(OpLabel, "r"),
    ROW(OpBranch, "i"),
    ROW(OpBranchConditional, "iii"),
    ROW(OpReturn, ""),
    ROW(OpReturnValue, "i"),
};

enum { HEADER = 5, MAGIC = 0x07230203 };

static const Row *row_of(uint32_t op) { return op < 256 && rows[op].name ? &rows[op] : NULL; }

/* What the k-th word behind the first is, given what the one before was. Text takes as many words as it is
 * long. */
static char kind_at(const char **words)
{
    char kind = **words;
    if (kind && (*words)[1] != '*')
        ++*words;
    return kind;
}

static size_t text_words(const uint32_t *w, size_t n)
{
    for (size_t k = 0; k < n; k++)
        if (!(w[k] >> 24))
            return k + 1;
    return n;
}

/* ==================== text */

static void line(const uint32_t *w, size_t n, Text *t)
{
    const Row *r = row_of(w[0] & 0xFFFF);
    const char *words = r ? r->words : "n*", *result = strchr(words, 'r');
    if (result && n > (size_t)(result - words) + 1)
        text_add(t, "%%%u = ", w[result - words + 1]);
    text_add(t, "%s", r ? r->name + 2 : arena_text("op%u", w[0] & 0xFFFF));
    for (size_t k = 1; k < n; k++) {
        char kind = kind_at(&words);
        if (kind == 'r')
            continue;
        if (kind == 's') {
            text_add(t, " \"%.*s\"", (int)(4 * (n - k)), (const char *)&w[k]);
            k += text_words(w + k, n - k) - 1;
        } else
            text_add(t, kind == 'n' || !kind ? " %u" : " %%%u", w[k]);
    }
    text_add(t, "\n");
}

void spirv_text(const char *name, const uint32_t *words, size_t n, int local, Text *t)
{
    text_add(t, "; %s: %zu words of SPIR-V, %d invocations a work-group\n", name, n, local);
    for (size_t at = HEADER, k; at < n && (k = words[at] >> 16) && k <= n - at; at += k)
        line(words + at, k, t);
}

/* ==================== the verifier */

typedef struct Check { const char *name; uint32_t bound; bool *made, *used; bool in_block; } Check;

static int wrong(const Check *c, const uint32_t *w, const char *what)
{
    const Row *r = row_of(w[0] & 0xFFFF);
    return error_set(E_INTERNAL, "SPIR-V of kernel %s: %s (%u) %s", c->name, r ? r->name : "an instruction",
        w[0] & 0xFFFF, what);
}

/* Names of what comes later: blocks, values of the step before, functions, what is decorated. */
static bool may_come_later(int op)
{
    return op < OpTypeVoid || op == OpPhi || op == OpFunctionCall ||
        (op >= OpDecorate && op <= OpMemberDecorate) || (op >= OpLoopMerge && op <= OpBranchConditional);
}

static int block_check(Check *c, const uint32_t *w)
{
    int op = (int)(w[0] & 0xFFFF);
    bool ends = op == OpBranch || op == OpBranchConditional || op == OpReturn || op == OpReturnValue;
    bool outside = op < OpFunction || op == OpDecorate || op == OpMemberDecorate || op == OpFunction ||
        op == OpFunctionParameter || op == OpFunctionEnd || (op == OpVariable && w[3] != StorageFunction);
    if (op == OpLabel ? c->in_block : outside ? c->in_block && op != OpExtInst : !c->in_block)
        return op == OpExtInst ?
            0 :
            wrong(c, w, c->in_block ? "stands in a block that has not ended" : "stands in no block");
    c->in_block = op == OpLabel || (c->in_block && !ends);
    return 0;
}

static int ids_check(Check *c, const uint32_t *w, size_t n)
{
    int op = (int)(w[0] & 0xFFFF);
    const char *words = row_of(w[0] & 0xFFFF)->words;
    uint32_t result = 0;
    for (size_t k = 1; k < n; k++) {
        char kind = kind_at(&words);
        if (!kind)
            return wrong(c, w, "has too many words");
        if (kind == 's')
            k += text_words(w + k, n - k) - 1;
        if (kind == 's' || kind == 'n')
            continue;
        if (!w[k] || w[k] >= c->bound)
            return wrong(c, w, "has an id beyond the bound");
        if (kind == 'r' && c->made[w[k]])
            return wrong(c, w, "makes an id again");
        if (kind == 'r')
            result = w[k];
        else if (!c->made[w[k]] && !may_come_later(op))
            return wrong(c, w, "uses an id before it is made");
        c->used[w[k]] = true;
    }
    c->made[result] = true;
    return *words && words[strlen(words) - 1] != '*' && *words != '*' ? wrong(c, w, "has too few words") : 0;
}

int spirv_check(const char *name, const uint32_t *words, size_t n)
{
    Check c = { .name = name };
    if (n < HEADER || words[0] != MAGIC)
        return error_set(E_INTERNAL, "SPIR-V of kernel %s: it has no header", name);
    c.bound = words[3];
    c.made = NEWS(bool, c.bound), c.used = NEWS(bool, c.bound);
    for (size_t at = HEADER, k; at < n; at += k) {
        k = words[at] >> 16;
        if (!k || k > n - at || !row_of(words[at] & 0xFFFF))
            return wrong(&c, words + at, "has no such length, or is not known");
        if (ids_check(&c, words + at, k) || block_check(&c, words + at))
            return (int)error_code();
    }
    for (uint32_t id = 1; id < c.bound; id++)
        if (c.used[id] && !c.made[id])
            return error_set(E_INTERNAL, "SPIR-V of kernel %s: id %u is used and nowhere made", name, id);
    return 0;
}

/*
 * spirv_words.h - between the files of the SPIR-V writer: spirv.c (kernels, structure), spirv_loop.c,
 * spirv_place.c (index forms, memory), spirv_value.c (instructions that give a value), spirv_words.c (words,
 * types, constants, the module), exact.c (what devices do not compute exactly, as kernels).
 *
 * Registers. SPIR-V has vectors of 4, so W lanes are 4 ids, and one lane is one. Integers of 8, 16 and 32
 * bits are 32-bit ones, extended by their sign or with zeros; so devices need no narrow arithmetic. All
 * integer types are unsigned: the instruction says how the bits are meant. f16 and bf16 are in memory only.
 */
#ifndef HEDDLE_SPIRV_WORDS_H
#define HEDDLE_SPIRV_WORDS_H

#include "spirv.h"

enum { /* instructions */
    OpName = 5,
    OpExtInstImport = 11,
    OpExtInst,
    OpMemoryModel = 14,
    OpEntryPoint,
    OpExecutionMode,
    OpCapability,
    OpTypeVoid = 19,
    OpTypeBool,
    OpTypeInt,
    OpTypeFloat,
    OpTypeVector,
    OpTypeArray = 28,
    OpTypeStruct = 30,
    OpTypePointer = 32,
    OpTypeFunction,
    OpConstantTrue = 41,
    OpConstantFalse,
    OpConstant,
    OpConstantComposite,
    OpFunction = 54,
    OpFunctionParameter,
    OpFunctionEnd,
    OpFunctionCall,
    OpVariable = 59,
    OpLoad = 61,
    OpStore,
    OpAccessChain = 65,
    OpPtrAccessChain = 67,
    OpDecorate = 71,
    OpMemberDecorate,
    OpCompositeConstruct = 80,
    OpCompositeExtract,
    OpConvertFToU = 109,
    OpConvertFToS,
    OpConvertSToF,
    OpConvertUToF,
    OpUConvert,
    OpSConvert,
    OpFConvert,
    OpBitcast = 124,
    OpSNegate = 126,
    OpIAdd = 128,
    OpFAdd,
    OpISub,
    OpFSub,
    OpIMul,
    OpFMul,
    OpUDiv,
    OpSDiv,
    OpFDiv,
    OpUMod,
    OpUMulExtended = 151,
    OpSMulExtended,
    OpAny = 154,
    OpLogicalEqual = 164,
    OpLogicalNotEqual,
    OpLogicalOr,
    OpLogicalAnd,
    OpLogicalNot,
    OpSelect,
    OpIEqual,
    OpINotEqual,
    OpUGreaterThan,
    OpSGreaterThan,
    OpUGreaterThanEqual,
    OpSGreaterThanEqual,
    OpULessThan,
    OpSLessThan,
    OpULessThanEqual,
    OpSLessThanEqual,
    OpFOrdEqual = 180,
    OpFUnordNotEqual = 183,
    OpFOrdLessThan,
    OpFOrdGreaterThan = 186,
    OpFOrdLessThanEqual = 188,
    OpFOrdGreaterThanEqual = 190,
    OpShiftRightLogical = 194,
    OpShiftRightArithmetic,
    OpShiftLeftLogical,
    OpBitwiseOr,
    OpBitwiseXor,
    OpBitwiseAnd,
    OpNot,
    OpBitCount = 205,
    OpControlBarrier = 224,
    OpPhi = 245,
    OpLoopMerge,
    OpSelectionMerge,
    OpLabel,
    OpBranch,
    OpBranchConditional,
    OpReturn = 253,
    OpReturnValue
};
enum {                                          /* of GLSL.std.450 */
    GlslRoundEven = 2, GlslTrunc, GlslFloor = 8, GlslCeil, GlslSqrt = 31, GlslFma = 50, GlslFindUMsb = 75
};
enum { /* capabilities, modes, storage classes, decorations */
    CapShader = 1,
    CapFloat64 = 10,
    CapInt64,
    CapInt16 = 22,
    CapInt8 = 39,
    CapStorage16 = 4433,
    CapStorage8 = 4448,
    CapDenormPreserve = 4464,
    CapSignedZeroInfNanPreserve = 4466,
    CapRoundingModeRTE,
    CapPhysicalAddresses = 5347,
    ModeLocalSize = 17,
    ModeDenormPreserve = 4459,
    ModeSignedZeroInfNanPreserve = 4461,
    ModeRoundingModeRTE,
    StorageInput = 1,
    StorageWorkgroup = 4,
    StorageFunction = 7,
    StoragePushConstant = 9,
    StorageAddress = 5349,
    DecorBlock = 2,
    DecorArrayStride = 6,
    DecorBuiltIn = 11,
    DecorOffset = 35,
    DecorNoContraction = 42,
    BuiltInGlobalInvocationId = 28,
    AccessAligned = 2
};

typedef struct Words { uint32_t *w; int n, cap; } Words;

/* Register types, and the types of narrow elements in memory. */
typedef enum Reg { R_BOOL, R_U32, R_U64, R_F32, R_F64, R_U8, R_U16, R_COUNT } Reg;

/* Functions in a module, made where they are called (exact.c, by component). */
typedef enum Template {
    T_FMA32, T_FMA64, T_DIV32, T_DIV64, T_SQRT32, T_SQRT64, T_HALF_IN, T_HALF_OUT, T_BFLOAT_OUT, T_MULHI_U64,
    T_MULHI_I64,
    T_COUNT
} Template;

typedef struct Ids { uint32_t id[4]; } Ids;     /* of a value: 4 of 4 lanes each, or the first alone */

typedef struct SpVar { const Atom *a; uint32_t id; } SpVar;

typedef struct Known { uint64_t hash; int at; uint32_t id; } Known;     /* an instruction of the globals */

typedef struct Writer {
    const Kernel *k;                            /* the kernel, or the template, that is being written */
    const SpirvCaps *caps;
    Words caps_w, decor, globals, vars, hidden, body, funcs;
    /* where instructions go: the body, or a function of a template */
    Words *to;
    uint32_t next, glsl, entry, last_label;     /* blocks: the first, the one that is being written */
    /* of the loop around: the block behind (0: none), whether it was left */
    uint32_t around, left;
    Known *known; int nknown, known_cap;
    bool has_i64, has_f64, has_8, has_16;       /* capabilities already asked for */
    uint32_t fn[T_COUNT][2];                    /* by 1 and 4 lanes */
    Ids *val;                                   /* by Val */
    bool wide;                                  /* indices are 64-bit */
    SpVar *atom; int natom, atom_cap;            /* loop and grid variables */
    uint32_t *param, *priv;                     /* pointers, by number */
    uint32_t step, pushed, invocation, cut;     /* cut: where a loop says that it was ended; 0: no loop is */
    /* hidden zeros: f32 or f64, plus or minus, 1 or 4 lanes; 0: not there yet */
    uint32_t zero[2][2][2];
    int *copies;                                /* by Val, of loops: bodies one behind the other */
    int local, error;
} Writer;

/* ==================== spirv_words.c */
uint32_t sp_id(Writer *);
void sp_put(Words *, int op, int n, const uint32_t *args);              /* no result */
#define PUT(words, op, ...) sp_put(words, op, sizeof((const uint32_t[]){ __VA_ARGS__ }) / 4, \
    (const uint32_t[]){ __VA_ARGS__ })
/* to the current function; its result */
uint32_t sp_op(Writer *, int op, uint32_t type, int n, const uint32_t *args);
#define OP(w, op, type, ...) sp_op(w, op, type, sizeof((const uint32_t[]){ __VA_ARGS__ }) / 4, \
    (const uint32_t[]){ __VA_ARGS__ })
void sp_label(Writer *, uint32_t id);           /* a block begins */
/* type 0: has none. Found or made */
uint32_t sp_global(Writer *, int op, uint32_t type, int n, const uint32_t *args);
#define GLOBAL_(w, op, type, ...) sp_global(w, op, type, sizeof((const uint32_t[]){ __VA_ARGS__ }) / 4, \
    (const uint32_t[]){ __VA_ARGS__ })
uint32_t sp_type(Writer *, Reg, int n);         /* of n components */
uint32_t sp_pointer(Writer *, int storage, uint32_t type);
uint32_t sp_const(Writer *, Reg, int n, uint64_t bits); /* n equal components */
uint32_t sp_lanes(Writer *, Reg, int chunk);    /* 4 * chunk + 0 1 2 3 */
void sp_text(
    Words *, int op, int n, const uint32_t *before, const char *text, int nafter, const uint32_t *after);
int sp_module(Writer *, uint32_t main, uint32_t **words, size_t *n);    /* everything in order */
int sp_fail(Writer *, Code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* ==================== spirv_value.c */
Reg sp_reg(Dtype);
uint32_t sp_splat(Writer *, Reg, uint32_t x, int n);    /* one component -> n */
uint32_t sp_extract(Writer *, Reg, uint32_t vector, int lane);
uint32_t sp_narrow(Writer *, Dtype, int n, uint32_t x); /* of 32 bits, brought into the dtype's range */
uint32_t sp_widen(Writer *, bool is_signed, int n, uint32_t x); /* 32 bits -> 64 */
/* An instruction on n components: op, dt, bits and name of *i count; `of` is the dtype of its (last)
 * operand. */
uint32_t sp_value(Writer *, const KIns *i, Dtype of, int n, const uint32_t *a);
uint32_t sp_horizontal(Writer *, KOp, Dtype, const Ids *);
uint32_t sp_call(Writer *, Template, int n, const uint32_t *a);

/* ==================== spirv_place.c */
Ids sp_get(Writer *, Val, int w);               /* an operand of w lanes */
uint32_t sp_form(Writer *, Form, int chunk);    /* chunk < 0: of one lane, the first; else of 4 */
void sp_load(Writer *, Val);
void sp_store(Writer *, const KIns *);
void sp_load_block(Writer *, const KIns *);
void sp_store_block(Writer *, const KIns *);
void sp_parameters(Writer *);                   /* at the entry: pointers from the table, variables */
/* sp_const; a float zero as the device needs it */
uint32_t sp_operand(Writer *, Reg, int n, uint64_t bits);

/* ==================== spirv_loop.c */
void sp_scope(Writer *, int scope);             /* spirv.c */
void sp_loop(Writer *, const KIns *);
void sp_leave(Writer *, const KIns *);          /* K_BRK */
void sp_copies(Writer *);                       /* how many bodies of each loop */

/* ==================== exact.c: in the current arena and form table */
/* in[] are loaded at 0, out is stored at 0 */
typedef struct Exact { Kernel *k; Buffer in[3], out; int nin; } Exact;
void exact_template(Exact *, Template, FmaForm);
int exact_signature(Template, Dtype *out);      /* how many operands; what it gives */

#endif

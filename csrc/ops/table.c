/* table.c - the operators of one variant, in the order of ops.def. */
#include "kern/largest.h"

#define OP(name) extern const pa_op PA_(pa_op_##name);
#include "ops/ops.def"
#undef OP

static const pa_op *const ops[] = {
#define OP(name) &PA_(pa_op_##name),
#include "ops/ops.def"
#undef OP
};

#define PA_STR_(x) #x
#define PA_STR(x)  PA_STR_(x)

extern const pa_table PA_(pa_table);
const pa_table PA_(pa_table) = {PA_STR(PA_ISA), PA_REAL,
                                (int)(sizeof ops / sizeof ops[0]), ops, PA_(pa_largest)};

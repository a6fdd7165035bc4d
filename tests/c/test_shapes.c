/* Every operator's shape function, on shapes and attributes of any size: a status and a
 * message, or outputs whose sizes are right and memory that can be addressed. Data are
 * never touched. tests/shapes.py runs the same with every wrap of an integer a failure.
 *
 *     test_shapes [N]      N calls of each operator at random, beside the systematic ones
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/graph.h"

static int failures;
static pa_error err;
static long calls, sound;

static const int64_t DIMS[] = {
    0,
    1,
    2,
    3,
    7,
    65536,
    2147483647,
    2147483648,
    2147483649,
    4294967296,
    4294967297,
    1LL << 40,
    1LL << 61,
    INT64_MAX / 4,
    INT64_MAX / 8 + 1,
    INT64_MAX - 1,
    INT64_MAX,
};
enum { N_DIMS = sizeof DIMS / sizeof DIMS[0] };

static uint64_t state = 88172645463325252u;

static uint64_t any(uint64_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % below;
}

static void complain(const pa_call *c, const char *what)
{
    char text[128];
    failures++;
    printf("FAIL %s: %s; inputs", c->op->name, what);
    for (int i = 0; i < c->n_in; i++)
        printf(" %s %s", pa_dtype_name(c->in[i]->dtype), pa_shape_text(c->in[i], text));
    printf("\n");
}

/* Is size the product of the dims, and in bytes a ptrdiff_t? */
static bool right(const pa_tensor *t)
{
    size_t size = 1;
    if (t->rank < 0 || t->rank > PA_MAX_RANK)
        return false;
    for (int i = 0; i < t->rank; i++)
        if (t->dim[i] == 0)
            return t->size == 0;
    for (int i = 0; i < t->rank; i++) {
        if (t->dim[i] < 0 || size > (size_t)PTRDIFF_MAX / (size_t)t->dim[i])
            return false;
        size *= (size_t)t->dim[i];
    }
    return t->size == size && size <= (size_t)PTRDIFF_MAX / pa_dtype_size(t->dtype);
}

static void judge(const pa_lib *lib, int index, int n_in, pa_tensor *const *in,
                  int n_args, const pa_arg *args)
{
    pa_call c;
    pa_attr attr[PA_MAX_ATTR];
    pa_tensor out[PA_MAX_OUT];
    err.text[0] = 0;
    pa_status st =
        pa_call_prepare(&c, attr, out, lib, index, n_in, in, n_args, args, &err);
    calls++;
    if (st) {
        if (!err.text[0] || strlen(err.text) >= sizeof err.text)
            printf("FAIL %s: no message\n", lib->table[0]->ops[index]->name), failures++;
        return;
    }
    sound++;
    for (int i = 0; i < c.n_out; i++)
        if (!right(c.out[i]))
            complain(&c, "a result has a size that is not its dims'");
    if (c.saved_bytes > PTRDIFF_MAX || c.scratch_bytes > PTRDIFF_MAX)
        complain(&c, "more memory than can be addressed");
    if (!(c.flops >= 0))
        complain(&c, "flops");
}

/* An argument for every attribute, or for some of them. */
static int some_args(const pa_op *op, pa_arg args[PA_MAX_ATTR],
                     int64_t list[PA_MAX_ATTR][PA_MAX_RANK])
{
    int n = 0;
    for (const pa_attr_desc *d = op->attrs; d && d->name; d++) {
        if (any(3) == 0)
            continue;
        pa_arg *a = &args[n];
        *a = (pa_arg){.name = d->name};
        if (d->type == PA_ATTR_LIST) {
            a->n = (int)any(PA_MAX_RANK + 1);
            a->list = list[n];
            for (int i = 0; i < a->n; i++) {
                int64_t big = DIMS[any(N_DIMS)];
                list[n][i] = any(3) ? (int64_t)any(4) - 1 : any(2) ? big : -big - 1;
            }
        } else if (d->type == PA_ATTR_MAP) {
            a->text = any(2) ? "tanh" : NULL;
        } else {
            const double odd[] = {0,       1,      2,      3,         d->init, d->min,
                                  d->max,  0x1p31, 0x1p32, 0x1p53,    0x1p62,  -1,
                                  -0x1p63, 0x1p63, 65537,  0x1p31 - 1};
            a->num = odd[any(sizeof odd / sizeof odd[0])];
        }
        n++;
    }
    return n;
}

static void shape_of(int64_t *dim, int rank)
{
    for (int i = 0; i < rank; i++)
        dim[i] = any(2) ? DIMS[any(N_DIMS)] : (int64_t)any(5);
}

/* Inputs that often fit each other: dims from a few numbers, one shape for several. */
static void at_random(const pa_lib *lib, int index, long times)
{
    const pa_op *op = lib->table[0]->ops[index];
    pa_tensor t[PA_MAX_IN];
    pa_tensor *in[PA_MAX_IN];
    pa_arg args[PA_MAX_ATTR];
    int64_t list[PA_MAX_ATTR][PA_MAX_RANK];
    for (long k = 0; k < times; k++) {
        int n_in = op->min_in + (int)any((uint64_t)(op->max_in - op->min_in) + 1);
        int64_t few[3], dim[PA_MAX_RANK];
        shape_of(few, 3);
        pa_dtype dtype = any(2) ? PA_F64 : PA_F32;
        for (int i = 0; i < n_in; i++) {
            int rank = (int)any(any(4) ? 5 : PA_MAX_RANK + 1);
            for (int d = 0; d < rank; d++)
                dim[d] = any(8) ? few[any(3)] : DIMS[any(N_DIMS)];
            t[i] = (pa_tensor){0};
            in[i] = &t[i];
            if (i && any(2)) {
                t[i] = t[i - 1];
            } else if (pa_tensor_init(&t[i], any(8) ? dtype : PA_I32, rank, dim, &err)) {
                dim[0] = few[0] % 7;
                (void)pa_tensor_init(&t[i], dtype, rank ? 1 : 0, dim, &err);
            }
        }
        int n = any(4) ? some_args(op, args, list) : 0;
        judge(lib, index, n_in, in, n, args);
    }
}

/* All dims^rank up to rank 3, the same for every input, and with its last two dims turned
 * round for every second one (so that products fit). */
static void in_order(const pa_lib *lib, int index, pa_dtype dtype)
{
    const pa_op *op = lib->table[0]->ops[index];
    for (int rank = 0, n = 1; rank <= 3; rank++, n *= N_DIMS)
        for (int k = 0; k < n; k++) {
            int64_t dim[3] = {DIMS[k % N_DIMS], DIMS[k / N_DIMS % N_DIMS],
                              DIMS[k / N_DIMS / N_DIMS % N_DIMS]};
            pa_tensor t[2] = {{0}, {0}}, *in[PA_MAX_IN];
            if (pa_tensor_init(&t[0], dtype, rank, dim, &err))
                continue; /* there is no such array */
            t[1] = t[0];
            if (rank > 1) {
                t[1].dim[rank - 1] = t[0].dim[rank - 2];
                t[1].dim[rank - 2] = t[0].dim[rank - 1];
            }
            for (int turn = 0; turn < 2; turn++)
                for (int n_in = op->min_in; n_in <= op->max_in; n_in++) {
                    for (int i = 0; i < n_in; i++)
                        in[i] = &t[turn && i % 2];
                    judge(lib, index, n_in, in, 0, NULL);
                }
        }
}

int main(int argc, char **argv)
{
    long times = argc > 1 ? atol(argv[1]) : 3000;
    pa_lib lib;
    if (pa_lib_open(&lib, NULL, 1, &err)) {
        printf("FAIL %s\n", err.text);
        return 1;
    }
    int n_ops = lib.table[0]->n_ops;
    for (int i = 0; i < n_ops; i++) {
        in_order(&lib, i, PA_F32);
        in_order(&lib, i, PA_F64);
        at_random(&lib, i, times);
    }
    pa_lib_close(&lib);
    printf("%ld calls of %d shape functions, %ld of them sound, %d failures\n", calls,
           n_ops, sound, failures);
    return failures != 0;
}

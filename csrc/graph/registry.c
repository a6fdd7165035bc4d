/* registry.c - which tables of operators this build has, which the processor runs, and
 * how attributes given by name become the array that an operator reads. */
#include <math.h>
#include <string.h>

#include "base/cpu.h"
#include "base/spare.h"
#include "graph/graph.h"

#ifdef PA_HAVE_AVX512
extern const pa_table pa_table_avx512_f32, pa_table_avx512_f64;
#endif
#ifdef PA_HAVE_AVX2
extern const pa_table pa_table_avx2_f32, pa_table_avx2_f64;
#endif
#ifdef PA_HAVE_NEON
extern const pa_table pa_table_neon_f32, pa_table_neon_f64;
#endif
extern const pa_table pa_table_base_f32, pa_table_base_f64;

static const pa_table *const tables[][2] = {
/* best first */
#ifdef PA_HAVE_AVX512
    {&pa_table_avx512_f32, &pa_table_avx512_f64},
#endif
#ifdef PA_HAVE_AVX2
    {&pa_table_avx2_f32, &pa_table_avx2_f64},
#endif
#ifdef PA_HAVE_NEON
    {&pa_table_neon_f32, &pa_table_neon_f64},
#endif
    {&pa_table_base_f32, &pa_table_base_f64},
};

enum { N_TABLES = sizeof tables / sizeof tables[0] };

void pa_isas(const char *names[8])
{
    int n = 0;
    for (int i = 0; i < N_TABLES; i++)
        if (pa_cpu_has(tables[i][0]->isa))
            names[n++] = tables[i][0]->isa;
    names[n] = NULL;
}

pa_status pa_lib_open(pa_lib *lib, const char *isa, int threads, pa_error *err)
{
    const char *names[8];
    pa_isas(names);
    char known[64] = "";
    bool found = isa == NULL;
    for (int i = 0; names[i]; i++) {
        if (i)
            strcat(known, ", ");
        strcat(known, names[i]);
        found = found || strcmp(names[i], isa) == 0;
    }
    if (!found)
        return pa_fail(err, PA_EVALUE,
                       "ISA: got '%.40s', expected one that this processor runs: %s", isa,
                       known);
    if (threads < 0)
        return pa_fail(err, PA_EVALUE,
                       "threads: got %d, expected 1 or more, or 0 for every core",
                       threads);
    *lib = (pa_lib){0};
    for (int i = 0; i < N_TABLES; i++)
        if (strcmp(tables[i][0]->isa, isa ? isa : names[0]) == 0) {
            lib->table[0] = tables[i][0];
            lib->table[1] = tables[i][1];
        }
    lib->spare = pa_spare_new();
    lib->pool = lib->spare ? pa_pool_new(threads ? threads : pa_cpu_count()) : NULL;
    if (lib->pool)
        return PA_OK;
    pa_lib_close(lib);
    return pa_fail(err, PA_ENOMEM, "out of memory for the thread pool");
}

void pa_lib_close(pa_lib *lib)
{
    pa_pool_free(lib->pool);
    pa_spare_free(lib->spare);
    lib->pool = NULL;
    lib->spare = NULL;
}

int pa_table_find(const pa_table *table, const char *name)
{
    for (int i = 0; i < table->n_ops; i++)
        if (strcmp(table->ops[i]->name, name) == 0)
            return i;
    return -1;
}

/* ---- attributes ----------------------------------------------------------------------
 */

static pa_status set_list(pa_attr *a, const pa_op *op, const pa_attr_desc *d,
                          const pa_arg *arg, pa_error *err)
{
    if (arg->n < 0 || arg->n > PA_MAX_RANK)
        return pa_fail(err, PA_EVALUE, "%s: %s: got %d numbers, expected at most %d",
                       op->name, d->name, arg->n, PA_MAX_RANK);
    a->n = arg->n;
    for (int i = 0; i < arg->n; i++)
        a->list[i] = arg->list[i];
    return PA_OK;
}

static pa_status set_map(pa_attr *a, const pa_table *table, const pa_op *op,
                         const pa_attr_desc *d, const pa_arg *arg, pa_error *err)
{
    int i = arg->text ? pa_table_find(table, arg->text) : -1;
    if (arg->text && (i < 0 || table->ops[i]->map == NULL))
        return pa_fail(err, PA_EVALUE, "%s: %s: '%.60s' is not an element-wise operator",
                       op->name, d->name, arg->text);
    a->num = i;
    return PA_OK;
}

static pa_status set_number(pa_attr *a, const pa_op *op, const pa_attr_desc *d,
                            const pa_arg *arg, pa_error *err)
{
    bool whole = d->type == PA_ATTR_INT || d->type == PA_ATTR_BOOL;
    bool is_default = isnan(arg->num) && isnan(d->init);
    if (whole && arg->num != floor(arg->num))
        return pa_fail(err, PA_EVALUE, "%s: %s: got %g, expected a whole number",
                       op->name, d->name, arg->num);
    if (!is_default && !(arg->num >= d->min && arg->num <= d->max))
        return pa_fail(err, PA_EVALUE, "%s: %s: got %g, expected a number from %g to %g",
                       op->name, d->name, arg->num, d->min, d->max);
    a->num = arg->num;
    return PA_OK;
}

static pa_status unknown_attr(const pa_op *op, const char *name, pa_error *err)
{
    char known[256] = "";
    for (const pa_attr_desc *d = op->attrs; d && d->name; d++) {
        size_t at = strlen(known);
        if (at + strlen(d->name) + 3 > sizeof known)
            break;
        strcat(known, at ? ", " : "");
        strcat(known, d->name);
    }
    return pa_fail(err, PA_ETYPE, "%s: unknown argument '%.60s'; %s%s", op->name, name,
                   known[0] ? "known: " : "it takes none", known);
}

pa_status pa_attrs_set(pa_attr attr[PA_MAX_ATTR], const pa_table *table, const pa_op *op,
                       int n_args, const pa_arg *args, pa_error *err)
{
    int n = 0;
    for (const pa_attr_desc *d = op->attrs; d && d->name; d++)
        attr[n++] = (pa_attr){.num = d->init};
    for (int k = 0; k < n_args; k++) {
        int i = 0;
        while (i < n && strcmp(op->attrs[i].name, args[k].name) != 0)
            i++;
        if (i == n)
            return unknown_attr(op, args[k].name, err);
        const pa_attr_desc *d = &op->attrs[i];
        pa_status status =
            d->type == PA_ATTR_LIST  ? set_list(&attr[i], op, d, &args[k], err)
            : d->type == PA_ATTR_MAP ? set_map(&attr[i], table, op, d, &args[k], err)
                                     : set_number(&attr[i], op, d, &args[k], err);
        if (status)
            return status;
    }
    return PA_OK;
}

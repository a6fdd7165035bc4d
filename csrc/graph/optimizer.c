#include "graph/graph.h"

#include <stdlib.h>

pa_status pa_optimizer_new(pa_optimizer **made, const pa_lib *lib, const char *name,
                           int n_args, const pa_arg *args, pa_clip clip, double clip_at,
                           pa_error *err)
{
    const pa_table *table = lib->table[PA_F32];
    int index = pa_table_find(table, name);
    if (index < 0 || table->ops[index]->kind != PA_KIND_OPTIMIZER)
        return pa_fail(err, PA_EVALUE, "'%.60s' is not an optimizer", name);
    if (clip != PA_CLIP_NONE && !(clip_at > 0))
        return pa_fail(err, PA_EVALUE, "%s: clipping: got %g, expected a number over 0",
                       name, clip_at);
    const pa_op *op = table->ops[index];
    pa_attr attr[PA_MAX_ATTR];
    pa_status status = pa_attrs_set(attr, table, op, n_args, args, err);
    if (status)
        return status;
    pa_optimizer *opt = calloc(1, sizeof *opt);
    if (!opt)
        return pa_fail(err, PA_ENOMEM, "out of memory for an optimizer");
    opt->lib = lib;
    opt->op = op->name;
    for (const pa_attr_desc *d = op->attrs; d && d->name; d++, opt->n_args++)
        opt->args[opt->n_args] = (pa_arg){d->name, .num = attr[opt->n_args].num};
    opt->n_slots = op->slots(attr);
    opt->clip = clip;
    opt->clip_at = clip_at;
    for (int i = 0; i < opt->n_slots; i++)
        opt->slot_init[i] = op->slot_init ? op->slot_init(attr, i) : 0;
    *made = opt;
    return PA_OK;
}

void pa_optimizer_free(pa_optimizer *opt)
{
    if (!opt)
        return;
    for (int i = 0; i < opt->n_blocks; i++) {
        pa_block_unref(opt->blocks[i].params);
        pa_block_unref(opt->blocks[i].grad);
        for (int k = 0; k < PA_MAX_SLOTS; k++)
            pa_block_unref(opt->blocks[i].slot[k]);
    }
    free(opt->blocks);
    free(opt);
}

static struct pa_slots *slots_of(pa_optimizer *opt, pa_block *params)
{
    for (int i = 0; i < opt->n_blocks; i++)
        if (opt->blocks[i].params == params)
            return &opt->blocks[i];
    if (!pa_grow(&opt->blocks, opt->n_blocks, &opt->cap_blocks, sizeof *opt->blocks))
        return NULL;
    struct pa_slots *s = &opt->blocks[opt->n_blocks++];
    *s = (struct pa_slots){.params = pa_block_ref(params)};
    return s;
}

static void fill(pa_block *b, double x)
{
    for (size_t i = 0; i < b->size; i++)
        if (b->dtype == PA_F64)
            ((double *)b->data)[i] = x;
        else
            ((float *)b->data)[i] = (float)x;
}

pa_block *pa_optimizer_slot(pa_optimizer *opt, pa_block *params, int i)
{
    struct pa_slots *s = i >= 0 && i < opt->n_slots ? slots_of(opt, params) : NULL;
    if (s && !s->slot[i]) {
        s->slot[i] = pa_block_new(params->dtype, params->size);
        if (s->slot[i] && opt->slot_init[i] != 0)
            fill(s->slot[i], opt->slot_init[i]);
    }
    return s ? s->slot[i] : NULL;
}

pa_block *pa_optimizer_grad(pa_optimizer *opt, pa_block *params)
{
    struct pa_slots *s = slots_of(opt, params);
    if (s && !s->grad)
        s->grad = pa_block_new(params->dtype, params->size);
    return s ? s->grad : NULL;
}

int pa_optimizer_slots(const pa_optimizer *opt)
{
    return opt->n_slots;
}

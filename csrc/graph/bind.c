/* bind.c - a program's inputs and outputs: where they lie, and what it tells of itself.
 */
#include <math.h>

#include "graph/program.h"

/* A value and its aliases. */
static void move(pa_program *p, int root, void *memory)
{
    if (p->tensor[root].data == memory)
        return;
    for (int u = 0; u < p->n_values; u++)
        if (p->root[u] == root)
            p->tensor[u].data = memory;
}

void pa_program_bind(pa_program *p, int i, const void *data)
{
    move(p, p->input[i], data ? (void *)(uintptr_t)data : p->input_memory[i]);
}

bool pa_program_bind_output(pa_program *p, int i, void *data)
{
    const int root = p->root[p->output[i]];
    void *memory = p->output_memory[i];
    for (int k = 0; k < p->n_inputs; k++)
        if (p->input[k] == root)
            return false;
    if ((uintptr_t)memory - (uintptr_t)p->arena >= p->bytes ||
        (data && p->tensor[root].data != memory))
        return false;
    move(p, root, data ? data : memory);
    return true;
}

int pa_program_inputs(const pa_program *p)
{
    return p->n_inputs;
}

pa_tensor *pa_program_input(pa_program *p, int i)
{
    return &p->tensor[p->input[i]];
}

const pa_tensor *pa_program_output(const pa_program *p, int i)
{
    return i >= 0 && i < p->n_outputs ? &p->tensor[p->output[i]] : NULL;
}

double pa_program_loss(const pa_program *p)
{
    if (p->loss < 0)
        return NAN;
    const pa_tensor *t = &p->tensor[p->loss];
    return t->dtype == PA_F64 ? *(double *)t->data : (double)*(float *)t->data;
}

size_t pa_program_bytes(const pa_program *p)
{
    return p->bytes;
}

double pa_program_flops(const pa_program *p)
{
    return p->flops;
}

int pa_program_calls(const pa_program *p)
{
    return p->n_calls;
}

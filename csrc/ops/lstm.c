/* lstm - long short-term memory over a whole sequence, gates in Keras's order i, f, g, o
 *
 *     i, f, o = gate_act(x_t kernel + h_(t-1) recurrent + bias), g = act(the same)
 *     c_t = f c_(t-1) + i g,   h_t = o act(c_t)
 *
 * x: (B, T, F), kernel: (F, 4U), recurrent: (U, 4U), bias: (4U,), h0, c0: (B, U),
 * mask: (B, T), scale: (B, U); y: (B, T, U) all h, h: (B, U) and c: (B, U) the last ones.
 * A step whose mask is 0 keeps both states. scale multiplies h on its way to recurrent.
 *
 * Derivative, with dh the whole gradient of h_t: do = dh act(c_t), dc += dh o act'(c_t),
 * di = dc g, df = dc c_(t-1), dg = dc i, each times the slope of its gate, and dc f goes
 * on to c_(t-1). With tanh and sigmoid slopes follow from values.
 *
 * Source: Hochreiter and Schmidhuber, Neural Computation 9, 1997; Gers, Schmidhuber and
 * Cummins, Neural Computation 12, 2000 (the forget gate). */
#include "kern/rnn.h"

/* z: the row's four gates, c: its cell before, next: its cell after. In two loops: in
 * one, each turn would wait for tanh of the cell behind its gates, with nothing else to
 * do. */
static void plain_row(const pa_rnn *r, real *z, const real *c, real *next, real *part,
                      real *h)
{
    const size_t U = r->U;
    for (size_t j = 0; j < U; j += VR_N) {
        const int n = pa_rnn_lanes(r, j);
        vr i = pa_gate_sigmoid(pa_rnn_load(z + j, n));
        vr f = pa_gate_sigmoid(pa_rnn_load(z + U + j, n));
        vr g = pa_gate_tanh(pa_rnn_load(z + 2 * U + j, n));
        vr o = pa_gate_sigmoid(pa_rnn_load(z + 3 * U + j, n));
        pa_rnn_store(z + j, i, n);
        pa_rnn_store(z + U + j, f, n);
        pa_rnn_store(z + 2 * U + j, g, n);
        pa_rnn_store(z + 3 * U + j, o, n);
        pa_rnn_store(next + j, vr_fma(f, pa_rnn_load(c + j, n), vr_mul(i, g)), n);
    }
    for (size_t j = 0; j < U; j += VR_N) {
        const int n = pa_rnn_lanes(r, j);
        vr tc = pa_gate_tanh(pa_rnn_load(next + j, n));
        pa_rnn_store(part + j, tc, n);
        pa_rnn_store(h + j, vr_mul(pa_rnn_load(z + 3 * U + j, n), tc), n);
    }
}

static void any_row(const pa_rnn *r, size_t row, const real *c, real *next, real *h)
{
    const size_t U = r->U;
    real *z = r->z + row * 4 * U, *slope = r->slope + row * 4 * U,
         *part = r->part + row * U;
    PA_(pa_rnn_activate)(r->gate_act, z, slope, 2 * U);
    PA_(pa_rnn_activate)(r->act, z + 2 * U, slope + 2 * U, U);
    PA_(pa_rnn_activate)(r->gate_act, z + 3 * U, slope + 3 * U, U);
    for (size_t j = 0; j < U; j++)
        part[j] = next[j] = z[U + j] * c[j] + z[j] * z[2 * U + j];
    PA_(pa_rnn_activate)(r->act, part, r->part_slope + row * U, U);
    for (size_t j = 0; j < U; j++)
        h[j] = z[3 * U + j] * part[j];
}

static void step(const pa_rnn *r, size_t t, size_t lo, size_t hi)
{
    const size_t U = r->U;
    for (size_t b = lo; b < hi; b++) {
        const size_t row = t * r->B + b, after = row + r->B;
        if (r->plain)
            plain_row(r, r->z + row * 4 * U, r->c + row * U, r->c + after * U,
                      r->part + row * U, pa_rnn_h(r, t + 1, b));
        else
            any_row(r, row, r->c + row * U, r->c + after * U, pa_rnn_h(r, t + 1, b));
    }
}

PA_INLINE void row_back(const pa_rnn *r, size_t t, size_t b, const bool plain)
{
    const size_t U = r->U, row = t * r->B + b;
    const real *z = r->z + row * 4 * U, *slope = plain ? NULL : r->slope + row * 4 * U;
    real *dz = pa_rnn_dz(r, t, b), *dc = r->dc + b * U;
    for (size_t j = 0; j < U; j += VR_N) {
        const int n = pa_rnn_lanes(r, j);
        vr gate[4], ds[4];
        for (int k = 0; k < 4; k++) {
            const size_t at = (size_t)k * U + j;
            gate[k] = pa_rnn_load(z + at, n);
            PA_PREFETCH(z + at + 8 * U);
            ds[k] = plain ? (k == 2 ? pa_gate_dtanh(gate[k]) : pa_gate_dsigmoid(gate[k]))
                          : pa_rnn_load(slope + at, n);
        }
        PA_PREFETCH(r->part + row * U + j + 2 * U);
        PA_PREFETCH(r->c + row * U + j + 2 * U);
        vr tc = pa_rnn_load(r->part + row * U + j, n);
        vr dtc = plain ? pa_gate_dtanh(tc) : pa_rnn_load(r->part_slope + row * U + j, n);
        vr dh = pa_rnn_grad(r, t, b, j, n);
        vr cell = vr_fma(vr_mul(dh, gate[3]), dtc, pa_rnn_load(dc + j, n));
        vr before = pa_rnn_load(r->c + row * U + j, n);
        pa_rnn_store(dz + j, vr_mul(vr_mul(cell, gate[2]), ds[0]), n);
        pa_rnn_store(dz + U + j, vr_mul(vr_mul(cell, before), ds[1]), n);
        pa_rnn_store(dz + 2 * U + j, vr_mul(vr_mul(cell, gate[0]), ds[2]), n);
        pa_rnn_store(dz + 3 * U + j, vr_mul(vr_mul(dh, tc), ds[3]), n);
        pa_rnn_store(dc + j, vr_mul(cell, gate[1]), n);
    }
}

static void step_back(const pa_rnn *r, size_t t, size_t lo, size_t hi)
{
    for (size_t b = lo; b < hi; b++)
        if (r->plain)
            row_back(r, t, b, true);
        else
            row_back(r, t, b, false);
}

static const pa_rnn_kind kind = {4, 4, 2, 1, false, true, step, step_back};

#include "kern/rnn_op.h"

static const pa_attr_desc attrs[] = {
    PA_RNN_ATTRS,
    {"recurrent_activation", PA_ATTR_MAP, -1, -1, 1e6,
     "element-wise operator of i, f, o"},
    {0},
};

const pa_op PA_(pa_op_lstm) = {
    .name = "lstm",
    .formula =
        "c_t = f c_(t-1) + i g, h_t = o activation(c_t); all h, the last h, the last c",
    .kind = PA_KIND_LAYER,
    .flags = PA_NEEDS_IN,
    .min_in = 4,
    .max_in = 8,
    .n_out = 3,
    .no_din = 1 << 6 | 1 << 7,
    .in_names = "x, kernel, recurrent, bias, h0, c0, mask, scale",
    .attrs = attrs,
    .shape = shape,
    .forward = forward,
    .backward = backward,
};

/* gru - gated recurrent unit over a whole sequence, gates in Keras's order z, r, g, the
 * reset gate applied after the product (reset_after)
 *
 *     z, r = gate_act(x_t kernel + bias_0 + h_(t-1) recurrent + bias_1)
 *     g = act(x_t kernel + bias_0 + r (h_(t-1) recurrent + bias_1))
 *     h_t = z h_(t-1) + (1 - z) g
 *
 * x: (B, T, F), kernel: (F, 3U), recurrent: (U, 3U), bias: (2, 3U), h0: (B, U),
 * mask: (B, T), scale: (B, U); y: (B, T, U) all h, h: (B, U) the last. A step whose mask
 * is 0 keeps the state. scale multiplies h on its way to recurrent.
 *
 * Derivative, with dh the whole gradient of h_t and q the bracket behind r:
 * dz = dh (h_(t-1) - g), dg = dh (1 - z), dr = dg q, each times the slope of its gate;
 * dq = dg r, and dh z goes on to h_(t-1). A row of dz holds z, r, dq, dg: recurrent sees
 * the first three, the kernel the first two and the last.
 *
 * Source: Cho et al., EMNLP 2014; Chung et al., arXiv:1412.3555. */
#include "kern/rnn.h"

/* h: before, next: after. In two loops: in one, each turn would wait for its reset gate,
 * with nothing else to do. */
static void plain_row(const pa_rnn *r, size_t row, const real *product, const real *h,
                      real *next)
{
    const size_t U = r->U;
    real *z = r->z + row * 3 * U, *part = r->part + row * U;
    for (size_t j = 0; j < 2 * U; j += VR_N) {
        const int n = 2 * U - j < VR_N ? (int)(2 * U - j) : VR_N;
        pa_rnn_store(z + j, pa_gate_sigmoid(pa_rnn_load(z + j, n)), n);
    }
    for (size_t j = 0; j < U; j += VR_N) {
        const int n = pa_rnn_lanes(r, j);
        vr q = pa_rnn_load(product + j, n), reset = pa_rnn_load(z + U + j, n);
        vr g = pa_gate_tanh(vr_fma(reset, q, pa_rnn_load(z + 2 * U + j, n)));
        vr update = pa_rnn_load(z + j, n), before = pa_rnn_load(h + j, n);
        pa_rnn_store(z + 2 * U + j, g, n);
        pa_rnn_store(part + j, q, n);
        pa_rnn_store(next + j, vr_fma(update, vr_sub(before, g), g), n);
    }
}

static void any_row(const pa_rnn *r, size_t row, const real *product, const real *h,
                    real *next)
{
    const size_t U = r->U, N = 3 * U;
    real *z = r->z + row * N, *slope = r->slope + row * N, *q = r->part + row * U;
    PA_(pa_rnn_activate)(r->gate_act, z, slope, 2 * U);
    for (size_t j = 0; j < U; j++) {
        q[j] = product[j];
        z[2 * U + j] += z[U + j] * q[j];
    }
    PA_(pa_rnn_activate)(r->act, z + 2 * U, slope + 2 * U, U);
    for (size_t j = 0; j < U; j++)
        next[j] = z[j] * (h[j] - z[2 * U + j]) + z[2 * U + j];
}

static void step(const pa_rnn *r, size_t t, size_t lo, size_t hi)
{
    for (size_t b = lo; b < hi; b++) {
        const real *product = r->product + b * r->U, *h = pa_rnn_h(r, t, b);
        if (r->plain)
            plain_row(r, t * r->B + b, product, h, pa_rnn_h(r, t + 1, b));
        else
            any_row(r, t * r->B + b, product, h, pa_rnn_h(r, t + 1, b));
    }
}

PA_INLINE void row_back(const pa_rnn *r, size_t t, size_t b, const bool plain)
{
    const size_t U = r->U, row = t * r->B + b;
    const real *z = r->z + row * 3 * U, *slope = plain ? NULL : r->slope + row * 3 * U;
    const real *h = pa_rnn_h(r, t, b);
    real *dz = pa_rnn_dz(r, t, b);
    for (size_t j = 0; j < U; j += VR_N) {
        const int n = pa_rnn_lanes(r, j);
        vr gate[3], ds[3];
        for (int k = 0; k < 3; k++) {
            const size_t at = (size_t)k * U + j;
            PA_PREFETCH(z + at + 6 * U);
            gate[k] = pa_rnn_load(z + at, n);
            ds[k] = plain ? (k == 2 ? pa_gate_dtanh(gate[k]) : pa_gate_dsigmoid(gate[k]))
                          : pa_rnn_load(slope + at, n);
        }
        PA_PREFETCH(h + j + 2 * r->ldh);
        PA_PREFETCH(r->part + row * U + j + 2 * U);
        vr dh = pa_rnn_grad(r, t, b, j, n);
        vr before = pa_rnn_load(h + j, n);
        vr q = pa_rnn_load(r->part + row * U + j, n);
        vr dg = vr_mul(vr_fnma(dh, gate[0], dh), ds[2]);
        pa_rnn_store(dz + j, vr_mul(vr_mul(dh, vr_sub(before, gate[2])), ds[0]), n);
        pa_rnn_store(dz + U + j, vr_mul(vr_mul(dg, q), ds[1]), n);
        pa_rnn_store(dz + 2 * U + j, vr_mul(dg, gate[1]), n);
        pa_rnn_store(dz + 3 * U + j, dg, n);
        pa_rnn_store(r->dh + b * U + j, vr_mul(dh, gate[0]), n);
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

static const pa_rnn_kind kind = {3, 4, 1, 2, true, true, step, step_back};

#include "kern/rnn_op.h"

static const pa_attr_desc attrs[] = {
    PA_RNN_ATTRS,
    {"recurrent_activation", PA_ATTR_MAP, -1, -1, 1e6, "element-wise operator of z, r"},
    {0},
};

const pa_op PA_(pa_op_gru) = {
    .name = "gru",
    .formula = "h_t = z h_(t-1) + (1 - z) activation(x_t + r h_(t-1)); all h, the last h",
    .kind = PA_KIND_LAYER,
    .flags = PA_NEEDS_IN,
    .min_in = 4,
    .max_in = 7,
    .n_out = 2,
    .no_din = 1 << 5 | 1 << 6,
    .in_names = "x, kernel, recurrent, bias, h0, mask, scale",
    .attrs = attrs,
    .shape = shape,
    .forward = forward,
    .backward = backward,
};

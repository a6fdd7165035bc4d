/* simple_rnn - h_t = act(x_t kernel + h_(t-1) recurrent + bias), over a whole sequence
 *
 * x: (B, T, F), kernel: (F, U), recurrent: (U, U), bias: (U,), h0: (B, U), mask: (B, T),
 * scale: (B, U); y: (B, T, U) all states, h: (B, U) the last. A step whose mask is 0
 * keeps the state. scale multiplies the state on its way to recurrent (dropout).
 *
 * Derivative: dz_t = (dy_t + dh_t) act'(z_t), dh_(t-1) = dz_t recurrent'; see kern/rnn.h.
 * With tanh, act' = 1 - h^2, and the values are those of simd/gate.h. */
#include "kern/rnn.h"

static void step(const pa_rnn *r, size_t t, size_t lo, size_t hi)
{
    const size_t at = (t * r->B + lo) * r->U, n = (hi - lo) * r->U;
    real *z = r->z + at; /* which is h[t+1] */
    if (!r->plain) {
        PA_(pa_rnn_activate)(r->act, z, r->slope + at, n);
        return;
    }
    size_t i = 0;
    for (; i + VR_N <= n; i += VR_N)
        vr_store(z + i, pa_gate_tanh(vr_load(z + i)));
    if (i < n) {
        const int k = (int)(n - i);
        vr_store_n(z + i, pa_gate_tanh(vr_load_n(z + i, k)), k);
    }
}

static void step_back(const pa_rnn *r, size_t t, size_t lo, size_t hi)
{
    for (size_t b = lo; b < hi; b++) {
        const size_t at = (t * r->B + b) * r->U;
        real *dz = pa_rnn_dz(r, t, b);
        for (size_t j = 0; j < r->U; j += VR_N) {
            const int n = pa_rnn_lanes(r, j);
            vr slope = r->plain ? pa_gate_dtanh(pa_rnn_load(r->z + at + j, n))
                                : pa_rnn_load(r->slope + at + j, n);
            vr g = pa_rnn_grad(r, t, b, j, n);
            pa_rnn_store(dz + j, vr_mul(g, slope), n);
        }
    }
}

static const pa_rnn_kind kind = {1, 1, 1, 1, false, false, step, step_back};

#include "kern/rnn_op.h"

static const pa_attr_desc attrs[] = {PA_RNN_ATTRS, {0}};

const pa_op PA_(pa_op_simple_rnn) = {
    .name = "simple_rnn",
    .formula =
        "h_t = activation(x_t kernel + h_(t-1) recurrent + bias); all h, the last h",
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

/* rnn.h - what the recurrent operators share: shapes, memory, and the walk over time.
 *
 * Inside, time comes first and runs in the order of computation (go_backwards turns it):
 *     xs     (T, B, F)    the inputs
 *     z      (T, B, N)    what the gates are made of; then, step by step, the gates
 *     h      (T+1, B, U)  the states; h[0] is the first one, h[t+1] what step t gives
 * Where both kernels stay in the second-level cache, xs and the states that are fed back
 * lie side by side with a 1 behind them, (T+1, B, F + U + 1), and a step is one product
 * with both kernels and the bias: z is not written for all of time, to come back from the
 * third-level cache step by step.
 * Otherwise z is xs kernel + bias, one product, and a step adds h[t] recurrent to z[t].
 * GRU's last U columns, the candidate's, keep the two products apart: z has the input's,
 * `product` the recurrent one.
 * Then the step calls `forward`; on the way back `backward` makes dz[t] from the gradient
 * of h[t+1], and dz[t] recurrent' flows to h[t]. What is left, dkernel = xs' dz,
 * drecurrent = h' dz, dbias and dx = dz kernel', are products over many steps.
 *
 * A row of the batch does not see the others, so threads take blocks of rows through all
 * of time: one job for a whole sequence, no waiting between steps, the same bits. */
#ifndef PA_RNN_H
#define PA_RNN_H

#include "op.h"
#include "simd/gate.h"

typedef struct pa_rnn pa_rnn;

/* Rows [lo, hi) of step t. */
typedef void pa_rnn_step(const pa_rnn *r, size_t t, size_t lo, size_t hi);

typedef struct pa_rnn_kind {
    int gates;     /* columns of the kernel, in units of U */
    int width;     /* columns of dz, in units of U */
    int states;    /* 1: h; 2: h and c */
    int bias_rows; /* 1: bias (N,); 2: bias (2, N), the second for the recurrent part */
    bool keeps_dh; /* backward leaves in dh what flows to h[t] past the product */
    bool own_z;    /* z has memory of its own; else z[t] is h[t+1] */
    pa_rnn_step *forward, *backward;
} pa_rnn_kind;

struct pa_rnn {
    const pa_rnn_kind *kind;
    size_t B, T, F, U, N, D; /* N = gates U, D = width U */
    size_t K;                /* of a step's product: U, joined F + U + 1 */
    size_t M;                /* columns whose two products are added: N, GRU's N - U */
    bool go_backwards;
    bool plain; /* tanh and sigmoid: slopes follow from values, `slope` is NULL */
    const pa_op *act, *gate_act; /* NULL: linear */
    const real *kernel, *recurrent;
    const real *x;            /* (B, T, F) */
    const pa_tensor *h0, *c0; /* the first states, NULL: zeros */
    const real *bias;         /* (N,) or (2, N) */
    const real *mask;         /* (B, T), may be NULL: 0 where a step is left out */
    const real
        *scale; /* (B, U), may be NULL: dropout of the state on its way to recurrent */
    real *y, *last_h, *last_c; /* (B, T, U), (B, U), (B, U) */
    /* saved */
    real *xs, *z, *slope; /* slope: (T, B, N) act'(z), or NULL */
    real *h;
    real *fed;                 /* (T, B, U): h times scale; h itself where it can be */
    size_t ldx, ldf, ldh, ldz; /* between the rows of xs, fed, h, z */
    bool packs;                /* forward is worth packing for */
    bool joined;               /* xs and fed lie side by side */
    real *c;                   /* LSTM: (T+1, B, U) */
    real *part; /* (T, B, U): LSTM tanh(c), GRU the candidate's recurrent part */
    real *part_slope;
    /* scratch */
    real *packed; /* recurrent (joined: kernel, recurrent, bias) or its transpose, or NULL
                     when that does not pay; of the first M columns */
    real *packed_in, *packed_rec; /* of the last U: kernel (joined), recurrent */
    real *sum;                    /* (N,) both biases, of the last U the input's */
    real *product;                /* (B, U) */
    real *dz, *dh, *dc, *dxs;     /* (block, B, D), (B, U), (B, U), (T, B, F) */
    real *sums;                   /* (2, D) */
    size_t block;                 /* steps whose dz are kept at a time */
    size_t begin, end;            /* these steps */
    const real *dy;               /* (B, T, U) */
    bool stop_at_first;           /* nobody wants the gradient of the first state */
};

/* A call's operands and memory. */
pa_rnn PA_(pa_rnn_bind)(const pa_call *c, const pa_rnn_kind *kind);

pa_status PA_(pa_rnn_shape)(pa_call *c, const pa_rnn_kind *kind, pa_error *err);
void PA_(pa_rnn_forward)(const pa_call *c, const pa_ctx *ctx, const pa_rnn_kind *kind);
void PA_(pa_rnn_backward)(const pa_call *c, const pa_ctx *ctx, const pa_rnn_kind *kind);

/* Row b of h[t]. */
PA_INLINE real *pa_rnn_h(const pa_rnn *r, size_t t, size_t b)
{
    return r->h + (t * r->B + b) * r->ldh;
}

/* v = act(v), and act'(v) into slope, for n elements. */
void PA_(pa_rnn_activate)(const pa_op *act, real *v, real *slope, size_t n);

/* Is row b left out at step t? */
PA_INLINE bool pa_rnn_skips(const pa_rnn *r, size_t t, size_t b)
{
    const size_t at = r->go_backwards ? r->T - 1 - t : t;
    return r->mask && r->mask[b * r->T + at] == 0;
}

PA_INLINE vr pa_rnn_load(const real *p, int n)
{
    return n == VR_N ? vr_load(p) : vr_load_n(p, n);
}

PA_INLINE void pa_rnn_store(real *p, vr a, int n)
{
    if (n == VR_N)
        vr_store(p, a);
    else
        vr_store_n(p, a, n);
}

/* Lanes of the vector at j of a row of U. */
PA_INLINE int pa_rnn_lanes(const pa_rnn *r, size_t j)
{
    return r->U - j < VR_N ? (int)(r->U - j) : VR_N;
}

/* dz of row b at step t. */
PA_INLINE real *pa_rnn_dz(const pa_rnn *r, size_t t, size_t b)
{
    return r->dz + ((t - r->begin) * r->B + b) * r->D;
}

/* The gradient of h[t+1]: what later steps sent and what came from outside. */
PA_INLINE vr pa_rnn_grad(const pa_rnn *r, size_t t, size_t b, size_t j, int n)
{
    return vr_add(pa_rnn_load(r->dh + b * r->U + j, n),
                  pa_rnn_load(r->dy + (b * r->T + t) * r->U + j, n));
}

/* The first attributes of every recurrent operator. */
#define PA_RNN_ATTRS                                                                     \
    {"activation", PA_ATTR_MAP, -1, -1, 1e6, "element-wise operator of the new state"},  \
    {                                                                                    \
        "go_backwards", PA_ATTR_BOOL, 0, 0, 1, "from the last step to the first"         \
    }

#endif

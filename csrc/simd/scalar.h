/* scalar.h - the vocabulary of simd.h in plain C, one lane; for processors that have no
 * header of their own. vf_fma and vd_fma round twice. */
#ifndef PA_SIMD_SCALAR_H
#define PA_SIMD_SCALAR_H

#define PA_SIMD_FMA 0
enum { VF_N = 1, VD_N = 1 };
typedef float vf;
typedef bool vfm;
typedef double vd;
typedef bool vdm;
typedef int64_t vi;
typedef struct vw {
    uint32_t a, b;
} vw;
typedef bool vwm;

/* clang-format off */
PA_INLINE vf vf_load(const float *p) { return *p; }
PA_INLINE void vf_store(float *p, vf a) { *p = a; }
PA_INLINE vf vf_load_n(const float *p, int n) { return n > 0 ? *p : 0; }
PA_INLINE void vf_store_n(float *p, vf a, int n) { if (n > 0) *p = a; }
PA_INLINE vf vf_set1(float s) { return s; }
PA_INLINE vf vf_zero(void) { return 0; }
PA_INLINE vf vf_add(vf a, vf b) { return a + b; }
PA_INLINE vf vf_sub(vf a, vf b) { return a - b; }
PA_INLINE vf vf_mul(vf a, vf b) { return a * b; }
PA_INLINE vf vf_div(vf a, vf b) { return a / b; }
PA_INLINE vf vf_fma(vf a, vf b, vf c) { return a * b + c; }
PA_INLINE vf vf_fnma(vf a, vf b, vf c) { return c - a * b; }
PA_INLINE vf vf_min(vf a, vf b) { return a < b ? a : b; }
PA_INLINE vf vf_max(vf a, vf b) { return a > b ? a : b; }
PA_INLINE vf vf_sqrt(vf a) { return sqrtf(a); }
PA_INLINE vf vf_abs(vf a) { return fabsf(a); }
PA_INLINE vf vf_neg(vf a) { return -a; }
PA_INLINE vf vf_copysign(vf a, vf s) { return copysignf(a, s); }
PA_INLINE vf vf_power_of_two(vf m)
{
    uint32_t bits;
    memcpy(&bits, &m, sizeof bits);
    bits <<= 23;
    memcpy(&m, &bits, sizeof m);
    return m;
}
PA_INLINE vfm vf_lt(vf a, vf b) { return a < b; }
PA_INLINE vfm vf_le(vf a, vf b) { return a <= b; }
PA_INLINE vfm vf_gt(vf a, vf b) { return a > b; }
PA_INLINE vfm vf_ge(vf a, vf b) { return a >= b; }
PA_INLINE vfm vf_eq(vf a, vf b) { return a == b; }
PA_INLINE vfm vf_ne(vf a, vf b) { return a != b; }
PA_INLINE vf vf_sel(vfm m, vf a, vf b) { return m ? a : b; }
PA_INLINE vfm vfm_and(vfm a, vfm b) { return a && b; }
PA_INLINE vfm vfm_or(vfm a, vfm b) { return a || b; }
PA_INLINE vfm vfm_not(vfm a) { return !a; }
PA_INLINE bool vfm_any(vfm m) { return m; }
PA_INLINE unsigned vfm_bits(vfm m) { return m; }
PA_INLINE float vf_sum(vf a) { return a; }

PA_INLINE vd vd_load(const double *p) { return *p; }
PA_INLINE void vd_store(double *p, vd a) { *p = a; }
PA_INLINE vd vd_load_n(const double *p, int n) { return n > 0 ? *p : 0; }
PA_INLINE void vd_store_n(double *p, vd a, int n) { if (n > 0) *p = a; }
PA_INLINE vd vd_load_f32(const float *p) { return *p; }
PA_INLINE void vd_store_f32(float *p, vd a) { *p = (float)a; }
PA_INLINE vd vd_set1(double s) { return s; }
PA_INLINE vd vd_zero(void) { return 0; }
PA_INLINE vd vd_add(vd a, vd b) { return a + b; }
PA_INLINE vd vd_sub(vd a, vd b) { return a - b; }
PA_INLINE vd vd_mul(vd a, vd b) { return a * b; }
PA_INLINE vd vd_div(vd a, vd b) { return a / b; }
PA_INLINE vd vd_fma(vd a, vd b, vd c) { return a * b + c; }
PA_INLINE vd vd_fnma(vd a, vd b, vd c) { return c - a * b; }
PA_INLINE vd vd_min(vd a, vd b) { return a < b ? a : b; }
PA_INLINE vd vd_max(vd a, vd b) { return a > b ? a : b; }
PA_INLINE vd vd_sqrt(vd a) { return sqrt(a); }
PA_INLINE vd vd_abs(vd a) { return fabs(a); }
PA_INLINE vd vd_neg(vd a) { return -a; }
PA_INLINE vdm vd_lt(vd a, vd b) { return a < b; }
PA_INLINE vdm vd_le(vd a, vd b) { return a <= b; }
PA_INLINE vdm vd_gt(vd a, vd b) { return a > b; }
PA_INLINE vdm vd_ge(vd a, vd b) { return a >= b; }
PA_INLINE vdm vd_eq(vd a, vd b) { return a == b; }
PA_INLINE vdm vd_ne(vd a, vd b) { return a != b; }
PA_INLINE vd vd_sel(vdm m, vd a, vd b) { return m ? a : b; }
PA_INLINE vdm vdm_and(vdm a, vdm b) { return a && b; }
PA_INLINE vdm vdm_or(vdm a, vdm b) { return a || b; }
PA_INLINE vdm vdm_not(vdm a) { return !a; }
PA_INLINE bool vdm_any(vdm m) { return m; }
PA_INLINE unsigned vdm_bits(vdm m) { return m; }
PA_INLINE double vd_sum(vd a) { return a; }

PA_INLINE vi vd_bits(vd a) { int64_t b; memcpy(&b, &a, sizeof b); return b; }
PA_INLINE vd vi_double(vi a) { double d; memcpy(&d, &a, sizeof d); return d; }
PA_INLINE vi vi_set1(int64_t s) { return s; }
PA_INLINE vi vi_add(vi a, vi b) { return (vi)((uint64_t)a + (uint64_t)b); }
PA_INLINE vi vi_sub(vi a, vi b) { return (vi)((uint64_t)a - (uint64_t)b); }
PA_INLINE vi vi_and(vi a, vi b) { return a & b; }
PA_INLINE vi vi_or(vi a, vi b) { return a | b; }
PA_INLINE vi vi_xor(vi a, vi b) { return a ^ b; }
PA_INLINE vi vi_andnot(vi a, vi b) { return ~a & b; }
PA_INLINE vi vi_shl(vi a, int n) { return (vi)((uint64_t)a << n); }
PA_INLINE vi vi_shr(vi a, int n) { return (vi)((uint64_t)a >> n); }
PA_INLINE vdm vi_testz(vi a, vi b) { return (a & b) == 0; }

PA_INLINE vw vw_low(vd a, vd b) { vw w = {(uint32_t)vd_bits(a), (uint32_t)vd_bits(b)}; return w; }
PA_INLINE vw vw_high(vd a, vd b) { vw w = {(uint32_t)((uint64_t)vd_bits(a) >> 32), (uint32_t)((uint64_t)vd_bits(b) >> 32)}; return w; }
PA_INLINE vwm vw_in(vw w, int n, uint32_t low, uint32_t count) { return (w.a << n) - low < count || (w.b << n) - low < count; }
PA_INLINE vwm vwm_or(vwm a, vwm b) { return a || b; }
PA_INLINE bool vwm_any(vwm m) { return m; }
/* clang-format on */

#endif

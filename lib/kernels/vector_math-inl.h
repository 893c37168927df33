// exp2 and tanh for the vector kernels. Included once for every instruction set, hence the unusual guard.
#if defined(SINKSCOPE_VECTOR_MATH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SINKSCOPE_VECTOR_MATH_INL_H_
#undef SINKSCOPE_VECTOR_MATH_INL_H_
#else
#define SINKSCOPE_VECTOR_MATH_INL_H_
#endif

#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace sinkscope {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr float kSmallestExponent = -126.0F;

/// Larger of `x` and `low`; NaN where x is NaN. x86 returns the second operand of max when either is NaN.
template <class V>
HWY_INLINE V at_least(V low, V x) {
#if HWY_ARCH_X86 && HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128
  return hn::Max(low, x);
#else
  return hn::IfThenElse(hn::Lt(x, low), low, x);
#endif
}

/// 2^x for x >= kSmallestExponent (not checked) and below 127; NaN stays NaN. Relative error below 2.5e-7: minimax
/// polynomial of degree 5 on [-1/2, 1/2], the integer part added to the exponent bits.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V exp2_from(D d, V x) {
  const hn::RebindToSigned<D> di;
  const V magic = hn::Set(d, 12582912.0F);  // 1.5 * 2^23: adding it rounds to an integer, found in the low bits
  const V shifted = hn::Add(x, magic);
  const V r = hn::Sub(x, hn::Sub(shifted, magic));
  V p = hn::Set(d, 0.0013276472454890609F);
  p = hn::MulAdd(p, r, hn::Set(d, 0.009675540961325169F));
  p = hn::MulAdd(p, r, hn::Set(d, 0.05550713092088699F));
  p = hn::MulAdd(p, r, hn::Set(d, 0.24022120237350464F));
  p = hn::MulAdd(p, r, hn::Set(d, 0.6931469440460205F));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0F));
  return hn::BitCast(d, hn::Add(hn::BitCast(di, p), hn::ShiftLeft<23>(hn::BitCast(di, shifted))));
}

/// tanh(x): a rational approximation (Eigen's) where |x| < 1, 1 - 2 / (e^2x + 1) beyond, where it loses nothing.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V tanh_of(D d, V x) {
  const V one = hn::Set(d, 1.0F), size = hn::Abs(x), x2 = hn::Mul(x, x);
  V above = hn::Set(d, -2.76076847742355e-16F);
  above = hn::MulAdd(above, x2, hn::Set(d, 2.00018790482477e-13F));
  above = hn::MulAdd(above, x2, hn::Set(d, -8.60467152213735e-11F));
  above = hn::MulAdd(above, x2, hn::Set(d, 5.12229709037114e-08F));
  above = hn::MulAdd(above, x2, hn::Set(d, 1.48572235717979e-05F));
  above = hn::MulAdd(above, x2, hn::Set(d, 6.37261928875436e-04F));
  above = hn::MulAdd(above, x2, hn::Set(d, 4.89352455891786e-03F));
  V below = hn::Set(d, 1.19825839466702e-06F);
  below = hn::MulAdd(below, x2, hn::Set(d, 1.18534705686654e-04F));
  below = hn::MulAdd(below, x2, hn::Set(d, 2.26843463243900e-03F));
  below = hn::MulAdd(below, x2, hn::Set(d, 4.89352518554385e-03F));
  const V small = hn::Div(hn::Mul(x, above), below);
  const V power = exp2_from(d, hn::Min(hn::Mul(size, hn::Set(d, 2.8853900817779268F)), hn::Set(d, 60.0F)));
  const V large = hn::Sub(one, hn::Div(hn::Set(d, 2.0F), hn::Add(power, one)));
  const V signed_large = hn::CopySign(large, x);
  // NaN compares false everywhere and takes the first branch, in which it stays NaN.
  return hn::IfThenElse(hn::Ge(size, one), signed_large, small);
}

}  // namespace HWY_NAMESPACE
}  // namespace sinkscope
HWY_AFTER_NAMESPACE();

#endif

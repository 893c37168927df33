#pragma once
// How far a value may move: what users write and what metrics declare.

#include <optional>
#include <string>

#include "check/values.h"

namespace sinkscope {

/// An absolute size, a share of |old|, or both. The wider of both holds; of a metric's default (`by_size`) the absolute
/// one from |old| = 0.1 on and the relative one below, because an absolute tolerance would let a small fraction vanish
/// unseen.
struct Allowance {
  std::optional<double> absolute, relative;
  bool by_size = false;

  /// The largest |change| that passes.
  double at(double old_value) const;
  /// "0.02", "5 %", "0.02 or 5 %": as it was written.
  std::string words() const;
};

/// "0.02" or "5%". Throws UsageError that begins with `where`.
Allowance parse_allowance(const std::string& text, const std::string& where);

/// The default_tolerance of a metric of this program, also of a series in its unit. 5 % for a series in another unit,
/// whose sizes an absolute tolerance would not fit, and for a metric that this program does not know.
Allowance default_allowance(const Quantity& quantity);

/// Whether a change of this size is beyond the tolerance. A change that equals it is not, also where the doubles of the
/// old and the new value cannot say so exactly; a tolerance of 0 is exact.
bool exceeds(double change, double tolerance, double old_value, double new_value);

/// The old and the new value, with as many digits as it takes to tell them apart, at least four.
struct TwoNumbers {
  std::string first, second;
};
TwoNumbers told_apart(double first, double second);

/// "0.61 -> 0.412, change -0.198, tolerance 0.02", with the digits that tell old from new and the change from its
/// tolerance.
std::string change_words(double old_value, double new_value, double tolerance);

}  // namespace sinkscope

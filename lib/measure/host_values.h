#pragma once
// Gathers the small result tensors of one forward and brings them to the host together: one copy, not one per
// statistic.

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <span>
#include <vector>

namespace sinkscope {

class HostValues {
 public:
  /// Keeps `values` (any dtype, any shape) for the copy; returns its slot. An undefined tensor gives an empty slot.
  std::size_t add(const at::Tensor& values);
  /// The same for large float32 arrays, which stay float32.
  std::size_t add_float(const at::Tensor& values);
  /// Copies everything that was added to the host. Call once, after the forward.
  void finish();

  /// Row-major values of a slot as float64.
  std::span<const double> at(std::size_t slot) const;
  std::span<const float> at_float(std::size_t slot) const;

 private:
  struct Slot {
    std::size_t begin, count;
  };
  std::vector<at::Tensor> tensors_, float_tensors_;
  std::vector<Slot> slots_, float_slots_;
  std::size_t total_ = 0, float_total_ = 0;
  at::Tensor host_, float_host_;
};

}  // namespace sinkscope

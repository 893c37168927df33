#include "measure/host_values.h"

#include <ATen/Functions.h>

namespace sinkscope {

std::size_t HostValues::add(const at::Tensor& values) {
  const std::size_t count = values.defined() ? static_cast<std::size_t>(values.numel()) : 0;
  if (count > 0) tensors_.push_back(values.reshape({-1}).to(at::kDouble));
  slots_.push_back({total_, count});
  total_ += count;
  return slots_.size() - 1;
}

std::size_t HostValues::add_float(const at::Tensor& values) {
  const std::size_t count = values.defined() ? static_cast<std::size_t>(values.numel()) : 0;
  if (count > 0) float_tensors_.push_back(values.reshape({-1}).to(at::kFloat));
  float_slots_.push_back({float_total_, count});
  float_total_ += count;
  return float_slots_.size() - 1;
}

void HostValues::finish() {
  // Streams may live on the device and the loss on the host, so they are brought together on the first tensor's device.
  const auto gather = [](std::vector<at::Tensor>& tensors) {
    if (tensors.empty()) return at::Tensor();
    for (at::Tensor& t : tensors) t = t.to(tensors.front().device());
    at::Tensor all = tensors.size() == 1 ? tensors.front() : at::cat(tensors);
    tensors.clear();
    return all.to(at::kCPU).contiguous();
  };
  host_ = gather(tensors_);
  float_host_ = gather(float_tensors_);
}

std::span<const double> HostValues::at(std::size_t slot) const {
  const Slot s = slots_.at(slot);
  return s.count == 0 ? std::span<const double>() : std::span(host_.const_data_ptr<double>() + s.begin, s.count);
}

std::span<const float> HostValues::at_float(std::size_t slot) const {
  const Slot s = float_slots_.at(slot);
  return s.count == 0 ? std::span<const float>() : std::span(float_host_.const_data_ptr<float>() + s.begin, s.count);
}

}  // namespace sinkscope

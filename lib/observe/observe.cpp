#include "observe/observe.h"

#include <fmt/format.h>

#include "base/error.h"
#include "model/load_model.h"
#include "observe/tap_ops.h"

namespace sinkscope {
namespace {

InputShape shape_of(const std::vector<c10::IValue>& inputs) {
  if (inputs.size() < 2 || !inputs[1].isTensor() || inputs[1].toTensor().dim() == 0) return {};
  const at::Tensor& first = inputs[1].toTensor();
  const bool is_ids = first.dim() == 2 && !first.is_floating_point();
  return {first.size(0), is_ids ? first.size(1) : 0};
}

}  // namespace

c10::IValue run_graph(const torch::jit::Code& code, std::vector<c10::IValue> inputs, const Taps& taps) {
  RunState state{&taps, shape_of(inputs), nullptr};
  torch::jit::Stack stack(std::make_move_iterator(inputs.begin()), std::make_move_iterator(inputs.end()));
  try {
    const RunScope scope(state);
    try {
      torch::jit::InterpreterState(code).run(stack);
    } catch (...) {
      if (!state.problem) throw;  // else not the model's: a parameter that could not be read, or a tap
    }
    if (state.problem) std::rethrow_exception(state.problem);
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    if (is_out_of_memory(error))
      throw DeviceError(fmt::format("out of memory: {}. Try a smaller --batch or --length.", cause_of(error)));
    if (state.problem) throw;  // not the model: a tap
    throw InputError(fmt::format("the model itself failed: {}", cause_of(error)));
  }
  return stack.empty() ? c10::IValue() : stack.back();
}

at::Tensor first_tensor(const c10::IValue& output) {
  if (output.isTensor()) return output.toTensor();
  const auto first_of = [](const auto& elements) {
    for (const auto& element : elements)
      if (c10::IValue(element).isTensor()) return c10::IValue(element).toTensor();
    return at::Tensor();
  };
  at::Tensor found;
  if (output.isTuple()) found = first_of(output.toTuple()->elements());
  if (output.isTensorList()) found = output.toTensorVector().empty() ? at::Tensor() : output.toTensorVector().front();
  if (output.isGenericDict())
    for (const auto& entry : output.toGenericDict())
      if (entry.key().isString() && entry.key().toStringRef() == "logits" && entry.value().isTensor())
        return entry.value().toTensor();
  if (output.isGenericDict())
    for (const auto& entry : output.toGenericDict())
      if (!found.defined() && entry.value().isTensor()) found = entry.value().toTensor();
  if (!found.defined()) throw InputError("the model returns no tensor, so its output cannot be checked or scored.");
  return found;
}

}  // namespace sinkscope

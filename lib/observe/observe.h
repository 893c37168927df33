#pragma once
// Runs an instrumented graph and hands what its sites and streams see to callbacks. Knows no metric.

#include <ATen/core/ivalue.h>
#include <torch/csrc/jit/ir/ir.h>
#include <torch/csrc/jit/runtime/interpreter.h>

#include <functional>
#include <memory>
#include <vector>

#include "base/ids.h"
#include "observe/attention_view.h"
#include "observe/head_order.h"

namespace sinkscope {

/// Callbacks during a run; called on the interpreter's thread in execution order. An exception is kept and thrown after
/// the run, because the interpreter would lose its class.
struct Taps {
  std::function<void(SiteId, const AttentionView&)> site;
  /// Returns the tensor that the graph goes on with (usually `x` itself).
  std::function<at::Tensor(StreamId, const at::Tensor& x)> stream;
  /// Ask the attention operator for its log-sum-exp. False while gradients are wanted: the composite operator runs
  /// then.
  bool want_lse = true;
  HeadOrders* head_orders = nullptr;  ///< what other runs have shown; receives what this one shows
};

/// Runs `code` on `inputs` (the module first) without optimiser, fusion or profiling. Throws what a tap threw; an error
/// of the model itself becomes an InputError that ends with its cause, out of memory a DeviceError.
c10::IValue run_graph(const torch::jit::Code& code, std::vector<c10::IValue> inputs, const Taps& taps);

/// The tensor that a model's output is judged by: the tensor itself, `logits` of a dictionary that has it, else the
/// first one of a tuple, list or dictionary.
/// Throws InputError if there is none.
at::Tensor first_tensor(const c10::IValue& output);

}  // namespace sinkscope

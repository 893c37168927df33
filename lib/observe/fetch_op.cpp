// The operator that graph/stream_parameters puts in place of a parameter.

#include <torch/library.h>

#include <exception>

#include "model/weight_stream.h"
#include "observe/tap_ops.h"

namespace sinkscope {
namespace {

/// `stream` is the number of the graph's plan.
at::Tensor fetch_parameter(std::int64_t stream, std::int64_t step) {
  try {
    return WeightStream::find(stream).fetch(stream, step);
  } catch (...) {
    keep_problem(std::current_exception());  // the interpreter would lose its class
    throw;
  }
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(sinkscope, m) { m.def("fetch_parameter(int stream, int step) -> Tensor"); }

TORCH_LIBRARY_IMPL(sinkscope, CompositeImplicitAutograd, m) { m.impl("fetch_parameter", fetch_parameter); }

}  // namespace sinkscope

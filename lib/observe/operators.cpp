// The operators that a model file may use: schemas frozen, twins in Python in scripts/sinkscope_export/operators.py.

#include <torch/library.h>

#include "observe/fused_attention.h"

namespace sinkscope {
namespace {

at::Tensor fused_attention_operator(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                                    std::optional<double> scale, std::int64_t window, std::int64_t chunk,
                                    double softcap, const std::optional<at::Tensor>& sinks) {
  return fused_attention(
             {query, key, value, fused_attention_score(scale, window, chunk, softcap, query.size(-1)), sinks})
      .output;
}

/// A mark: what it is given, declared as attention.
at::Tensor attention(const at::Tensor& weights, std::string_view, bool) { return weights; }

}  // namespace

TORCH_LIBRARY_FRAGMENT(sinkscope, m) {
  m.def(
      "fused_attention(Tensor query, Tensor key, Tensor value, float? scale=None, int window=0, int chunk=0, float "
      "softcap=0.0, Tensor? sinks=None) -> Tensor");
  m.def("attention(Tensor(a) weights, str name, bool probability=True) -> Tensor(a)");
}

// Composite: differentiable through the operators it is made of.
TORCH_LIBRARY_IMPL(sinkscope, CompositeImplicitAutograd, m) {
  m.impl("fused_attention", fused_attention_operator);
  m.impl("attention", attention);
}

}  // namespace sinkscope

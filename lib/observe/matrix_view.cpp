#include "observe/matrix_view.h"

#include <ATen/Functions.h>
#include <fmt/format.h>

#include "base/error.h"

namespace sinkscope {

AttentionView matrix_view(const MatrixArguments& a) {
  const auto matrix_last = [&](const at::Tensor& x, std::size_t which) {
    return x.detach().movedim({a.dims[2 * which], a.dims[2 * which + 1]}, {-2, -1});
  };
  // The graph does not say ranks, so a positive dim is only now known to be that of the keys.
  if (a.softmax_dim >= 0 && a.softmax_dim - a.scores.dim() != a.dims[5])
    throw InputError(fmt::format("its softmax runs over dimension {} of {}, which is not that of the keys",
                                 a.softmax_dim, a.scores.dim()));
  AttentionView view;
  view.output = matrix_last(a.output, 0);
  view.weights = matrix_last(a.weights, 1);
  view.scores = matrix_last(a.scores, 2);
  view.key = matrix_last(a.key, 3);
  view.value = matrix_last(a.value, 4);
  if (a.with_sink) {
    const at::Tensor all = matrix_last(*a.with_sink, 2);
    view.sink_mass = (all.sum(-1, false, at::kDouble) - view.weights.sum(-1, false, at::kDouble)).to(at::kFloat);
  }
  return view;
}

}  // namespace sinkscope

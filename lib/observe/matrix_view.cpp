#include "observe/matrix_view.h"

#include <ATen/Functions.h>
#include <fmt/format.h>

#include <vector>

#include "base/error.h"

namespace sinkscope {

namespace {

enum Which : std::size_t { kOutput, kWeights, kScores, kValue, kFirstKey };

/// The dims with those of the queries that this run shows.
std::vector<std::int64_t> dims_of(const MatrixArguments& a) {
  std::vector<std::int64_t> dims = a.dims.vec();
  if (a.other_rows.empty() || a.length == 0) return dims;
  const std::int64_t size = a.weights.size(dims[2 * kWeights]), other = a.weights.size(a.other_rows[kWeights]);
  if (size == other && size > 1)
    throw InputError(
        fmt::format("its probabilities have shape {}, and an einsum that does not say which of two dims is that of the "
                    "queries. Sequences of another length tell them apart.",
                    fmt::join(a.weights.sizes(), " x ")));
  if (other == a.length)
    for (const Which which : {kOutput, kWeights, kScores}) dims[2 * which] = a.other_rows[which];
  return dims;
}

}  // namespace

AttentionView matrix_view(const MatrixArguments& a) {
  const std::vector<std::int64_t> dims = dims_of(a);
  const auto matrix_last = [&](const at::Tensor& x, std::size_t which) {
    return x.detach().movedim({dims[2 * which], dims[2 * which + 1]}, {-2, -1});
  };
  // The graph does not say ranks, so a positive dim is only now known to be that of the keys.
  if (a.softmax_dim >= 0 && a.softmax_dim - a.scores.dim() != dims[2 * kScores + 1])
    throw InputError(fmt::format("its softmax runs over dimension {} of {}, which is not that of the keys",
                                 a.softmax_dim, a.scores.dim()));
  AttentionView view;
  view.output = matrix_last(a.output, kOutput);
  view.weights = matrix_last(a.weights, kWeights);
  view.scores = matrix_last(a.scores, kScores);
  view.value = matrix_last(a.value, kValue);
  view.key = matrix_last(a.keys.front(), kFirstKey);
  for (std::size_t part = 1; part < a.keys.size(); ++part)
    view.more_keys.push_back(matrix_last(a.keys[part], kFirstKey + part));
  if (a.with_sink) {
    const at::Tensor all = matrix_last(*a.with_sink, kScores);
    view.sink_mass = (all.sum(-1, false, at::kDouble) - view.weights.sum(-1, false, at::kDouble)).to(at::kFloat);
  }
  return view;
}

}  // namespace sinkscope

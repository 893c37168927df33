// The operators that insert_taps puts into a graph. The callbacks of the run in progress are found through a
// thread-local pointer, because the interpreter gives an operator no context of its own.

#include "observe/tap_ops.h"

#include <torch/library.h>

#include <exception>

#include "base/error.h"
#include "observe/fused_attention.h"
#include "observe/head_layout.h"
#include "observe/matrix_view.h"
#include "observe/projected_view.h"
#include "observe/sdpa_forward.h"

namespace sinkscope {
namespace {

thread_local RunState* current = nullptr;

/// Runs a callback; the first exception is kept for run_graph, and the model goes on.
template <class Callback>
void guarded(Callback&& callback) {
  if (current == nullptr || current->problem) return;
  try {
    callback();
  } catch (...) {
    current->problem = std::current_exception();
  }
}

/// KV heads as the cache would hold them; a repetition that was not recognised hands over the repeated heads.
void set_keys(AttentionView& view, const at::Tensor& key, const at::Tensor& value, const at::Tensor& key_heads,
              const at::Tensor& value_heads) {
  const auto groups = [](const at::Tensor& heads, const at::Tensor& all) {
    return heads.dim() == 4 && all.dim() == 4 && heads.size(0) == all.size(0) && heads.size(1) > 0 &&
           all.size(1) % heads.size(1) == 0 && heads.size(2) == all.size(2) && heads.size(3) == all.size(3);
  };
  const bool grouped = groups(key_heads, key) && groups(value_heads, value) && key_heads.size(1) == value_heads.size(1);
  view.key = (grouped ? key_heads : key).detach();
  view.value = (grouped ? value_heads : value).detach();
}

at::Tensor observe_sdpa(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                        const std::optional<at::Tensor>& mask, double dropout, bool is_causal,
                        std::optional<double> scale, bool enable_gqa, const at::Tensor& key_heads,
                        const at::Tensor& value_heads, std::int64_t site) {
  const SdpaArguments arguments{query, key, value, mask, dropout, is_causal, scale, enable_gqa};
  const bool want_lse = current != nullptr && current->taps->want_lse;
  SdpaResult result;
  if (want_lse)
    result = sdpa_forward(arguments);
  else
    result.output = sdpa_composite(arguments);
  guarded([&] {
    if (!current->taps->site) return;
    const at::NoGradGuard no_grad;
    AttentionView view;
    set_keys(view, key, value, key_heads, value_heads);
    view.query = query.detach();
    view.output = result.output.detach();
    view.mask = mask;
    view.score.causal = is_causal;
    view.score.scale = scale.value_or(1 / std::sqrt(static_cast<double>(query.size(-1))));
    view.lse = result.lse.defined() ? result.lse.detach() : at::Tensor();
    view.forward = [&] { sdpa_composite(arguments); };
    arrange(view, current->input, current->taps->head_orders, SiteId{site});
    current->taps->site(SiteId{site}, view);
  });
  return result.output;
}

at::Tensor observe_fused_attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                                   std::optional<double> scale, std::int64_t window, std::int64_t chunk, double softcap,
                                   const std::optional<at::Tensor>& sinks, const at::Tensor& key_heads,
                                   const at::Tensor& value_heads, std::int64_t site) {
  const FusedAttentionArguments arguments{query, key, value,
                                          fused_attention_score(scale, window, chunk, softcap, query.size(-1)), sinks};
  const FusedAttentionResult result = fused_attention(arguments);
  guarded([&] {
    if (!current->taps->site) return;
    const at::NoGradGuard no_grad;
    AttentionView view;
    set_keys(view, key, value, key_heads, value_heads);
    view.query = query.detach();
    view.output = result.output.detach();
    view.score = arguments.score;
    if (sinks) view.sink_logit = sinks->detach();
    view.lse = result.lse.detach();
    if (sinks) view.key_lse = result.key_lse.detach();
    view.forward = [&] { fused_attention(arguments); };
    current->taps->site(SiteId{site}, view);
  });
  return result.output;
}

at::Tensor observe_weights(const at::Tensor& output, const at::Tensor& weights, const at::Tensor& scores,
                           const at::Tensor& value, at::TensorList keys, const std::optional<at::Tensor>& with_sink,
                           at::IntArrayRef dims, at::IntArrayRef other_rows, std::int64_t softmax_dim, bool probability,
                           std::int64_t site) {
  guarded([&] {
    if (!current->taps->site) return;
    const at::NoGradGuard no_grad;
    AttentionView view = matrix_view(
        {output, weights, scores, value, keys, with_sink, dims, other_rows, softmax_dim, current->input.length});
    view.probability = probability;
    arrange(view, current->input, current->taps->head_orders, SiteId{site});
    current->taps->site(SiteId{site}, view);
  });
  return output;
}

at::Tensor observe_projected(const at::Tensor& output, const at::Tensor& query, const at::Tensor& key,
                             const at::Tensor& value, std::int64_t heads, const at::Tensor& weight,
                             const at::Tensor& bias, bool norm_first, const std::optional<at::Tensor>& norm_weight,
                             const std::optional<at::Tensor>& norm_bias, double eps,
                             const std::optional<at::Tensor>& mask, std::optional<std::int64_t> mask_type,
                             std::int64_t site) {
  guarded([&] {
    if (!current->taps->site) return;
    const at::NoGradGuard no_grad;
    ProjectedArguments arguments{query, key, value, heads, weight, bias, {}, mask, mask_type.value_or(-1)};
    if (norm_first) arguments.norm = LayerNorm{*norm_weight, *norm_bias, eps};
    AttentionView view = projected_view(arguments);
    arrange(view, current->input, current->taps->head_orders, SiteId{site});
    current->taps->site(SiteId{site}, view);
  });
  return output;
}

at::Tensor observe_marked(const at::Tensor& weights, bool probability, std::int64_t site) {
  guarded([&] {
    if (!current->taps->site) return;
    const at::NoGradGuard no_grad;
    AttentionView view;
    view.weights = weights.dim() == 3 ? weights.detach().unsqueeze(1) : weights.detach();
    view.probability = probability;
    current->taps->site(SiteId{site}, view);
  });
  return weights;
}

at::Tensor tap_stream(const at::Tensor& x, std::int64_t stream) {
  at::Tensor next = x;
  guarded([&] {
    if (current->taps->stream) next = current->taps->stream(StreamId{stream}, x);
  });
  return next;
}

at::Tensor identity1(const at::Tensor& x) { return x; }
at::Tensor identity3(const at::Tensor& x, std::int64_t, std::int64_t) { return x; }

}  // namespace

RunScope::RunScope(RunState& state) : outer_(current) { current = &state; }
RunScope::~RunScope() { current = outer_; }

void keep_problem(std::exception_ptr problem) {
  if (current != nullptr && !current->problem) current->problem = std::move(problem);
}

TORCH_LIBRARY(sinkscope, m) {
  m.def(
      "observe_sdpa(Tensor query, Tensor key, Tensor value, Tensor? attn_mask, float dropout_p, bool is_causal, float? "
      "scale, bool enable_gqa, Tensor key_heads, Tensor value_heads, int site) -> Tensor");
  m.def(
      "observe_fused_attention(Tensor query, Tensor key, Tensor value, float? scale, int window, int chunk, float "
      "softcap, Tensor? sinks, Tensor key_heads, Tensor value_heads, int site) -> Tensor");
  m.def(
      "observe_weights(Tensor(a) output, Tensor weights, Tensor scores, Tensor value, Tensor[] keys, Tensor? "
      "with_sink, "
      "int[] dims, int[] other_rows, int softmax_dim, bool probability, int site) -> Tensor(a)");
  m.def(
      "observe_projected(Tensor(a) output, Tensor query, Tensor key, Tensor value, int heads, Tensor weight, Tensor "
      "bias, bool norm_first, Tensor? norm_weight, Tensor? norm_bias, float eps, Tensor? mask, int? mask_type, int "
      "site) -> Tensor(a)");
  m.def("observe_marked(Tensor(a) weights, bool probability, int site) -> Tensor(a)");
  m.def("tap_stream(Tensor(a) x, int stream) -> Tensor(a)");
  m.def("block_input(Tensor(a) x, int call, int argument) -> Tensor(a)");
  m.def("block_output(Tensor(a) x, int call, int element) -> Tensor(a)");
  m.def("stream_point(Tensor(a) x) -> Tensor(a)");
}

// Composite: output, gradients and forward derivatives are the model's own.
TORCH_LIBRARY_IMPL(sinkscope, CompositeImplicitAutograd, m) {
  m.impl("observe_sdpa", observe_sdpa);
  m.impl("observe_fused_attention", observe_fused_attention);
  m.impl("observe_weights", observe_weights);
  m.impl("observe_marked", observe_marked);
  m.impl("observe_projected", observe_projected);
  m.impl("tap_stream", tap_stream);
  m.impl("block_input", identity3);
  m.impl("block_output", identity3);
  m.impl("stream_point", identity1);
}

}  // namespace sinkscope

#include "observe/fused_attention.h"

#include <ATen/Functions.h>
#include <ATen/SDPBackend.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/error.h"
#include "kernels/full_pass.h"
#include "kernels/row_blocks.h"
#include "kernels/score_tensor.h"

namespace sinkscope {
namespace {

using Arguments = FusedAttentionArguments;

[[noreturn]] void refuse(const Arguments& a, const char* why) {
  throw InputError(fmt::format("sinkscope::fused_attention with query {}, key {} and value {}: {}",
                               fmt::join(a.query.sizes(), " x "), fmt::join(a.key.sizes(), " x "),
                               fmt::join(a.value.sizes(), " x "), why));
}

void check(const Arguments& a) {
  const at::Tensor &q = a.query, &k = a.key, &v = a.value;
  if (q.dim() != 4 || k.dim() != 4 || v.dim() != 4) refuse(a, "all must be [batch, heads, tokens, head dim]");
  if (!q.is_floating_point() || k.scalar_type() != q.scalar_type() || v.scalar_type() != q.scalar_type())
    refuse(a, "they must have one floating dtype");
  if (k.size(0) != q.size(0) || v.size(0) != q.size(0)) refuse(a, "the batch sizes differ");
  if (k.size(2) != q.size(2) || v.size(2) != q.size(2)) refuse(a, "the numbers of tokens differ");
  if (k.size(3) != q.size(3)) refuse(a, "query and key have other head dims");
  if (k.size(1) != v.size(1) || k.size(1) == 0 || q.size(1) % k.size(1) != 0)
    refuse(a, "the number of query heads must be a multiple of that of the key and value heads");
  if (a.sinks && (a.sinks->dim() != 1 || a.sinks->size(0) != q.size(1))) refuse(a, "sinks must be [query heads]");
}

bool records_gradients(const Arguments& a) {
  return at::GradMode::is_enabled() && (a.query.requires_grad() || a.key.requires_grad() || a.value.requires_grad() ||
                                        (a.sinks && a.sinks->requires_grad()));
}

/// Query, key and value of a part of the matrix.
struct Operands {
  at::Tensor query, key, value;

  /// The same operation on all three.
  template <class Change>
  Operands each(const Change& change) const {
    return {change(query), change(key), change(value)};
  }
};

/// Attention within the part alone.
SdpaResult part(const Operands& x, bool causal, double scale) {
  SdpaResult result = sdpa_forward(
      {x.query, x.key, x.value, std::nullopt, 0, causal, scale, /*enable_gqa=*/x.query.size(1) != x.key.size(1)});
  if (!result.lse.defined())
    result.lse = log_sum_exp({.query = x.query, .key = x.key, .score = {.scale = scale, .causal = causal}});
  return result;
}

/// Adds keys that were not yet seen to the attention of some queries, in place: each part weighs by its share of the
/// denominator.
void join(const at::Tensor& output, const at::Tensor& lse, const SdpaResult& more) {
  const at::Tensor total = at::logaddexp(lse, more.lse);
  output.mul_((lse - total).exp_().unsqueeze(-1));
  output.add_(more.output * (more.lse - total).exp_().unsqueeze(-1));
  lse.copy_(total);
}

/// Keys j > i of equally many queries and keys, the mirror image of causal attention; both have `size` rows. The last
/// query sees none: the result has size - 1 rows.
SdpaResult later_keys(const Operands& x, std::int64_t size, double scale) {
  const auto keys = [&](const at::Tensor& t) { return t.narrow(2, 1, size - 1).flip(2); };
  const SdpaResult mirrored =
      part({x.query.narrow(2, 0, size - 1).flip(2), keys(x.key), keys(x.value)}, /*causal=*/true, scale);
  return {mirrored.output.flip(2), mirrored.lse.flip(2)};
}

/// [B, N, n * size, D] -> [B * n, N, size, D]: consecutive blocks of tokens as sequences of their own.
at::Tensor to_blocks(const at::Tensor& x, std::int64_t size) {
  const std::int64_t blocks = x.size(2) / size;
  return x.unflatten(2, {blocks, size}).transpose(1, 2).reshape({x.size(0) * blocks, x.size(1), size, x.size(3)});
}

/// The way back: [B * n, N, size, ...] -> [B, N, n, size, ...].
at::Tensor from_blocks(const at::Tensor& x, std::int64_t batch) {
  return x.unflatten(0, {batch, x.size(0) / batch}).transpose(1, 2);
}

/// Key j visible to query i iff 0 <= i - j < window. Cut into blocks of `window` tokens, a query sees its own block
/// causally and of the one before exactly what is later than its own place there.
SdpaResult windowed(const Operands& x, std::int64_t window, double scale) {
  const std::int64_t batch = x.query.size(0), length = x.query.size(2);
  if (window == 0 || window >= length) return part(x, /*causal=*/true, scale);
  const std::int64_t whole = length / window * window, rest = length - whole;
  const auto range = [&](std::int64_t begin, std::int64_t count) {
    return [=](const at::Tensor& t) { return t.narrow(2, begin, count); };
  };
  const auto blocks = [&](const at::Tensor& t) { return to_blocks(t, window); };
  SdpaResult own = part(x.each(range(0, whole)).each(blocks), /*causal=*/true, scale);
  at::Tensor output = at::empty({batch, x.query.size(1), length, x.value.size(3)}, own.lse.options());
  at::Tensor lse = at::empty({batch, x.query.size(1), length}, own.lse.options());
  const at::Tensor whole_output = output.narrow(2, 0, whole).unflatten(2, {whole / window, window}),
                   whole_lse = lse.narrow(2, 0, whole).unflatten(2, {whole / window, window});
  whole_output.copy_(from_blocks(own.output, batch));
  whole_lse.copy_(from_blocks(own.lse, batch));
  if (whole > window && window > 1) {
    const std::int64_t later = whole - window;  // tokens that have a whole block before theirs
    const auto before = [&](const at::Tensor& t) { return to_blocks(t.narrow(2, 0, later), window); };
    const SdpaResult more = later_keys(
        {to_blocks(x.query.narrow(2, window, later), window), before(x.key), before(x.value)}, window, scale);
    join(whole_output.narrow(2, 1, later / window).narrow(3, 0, window - 1),
         whole_lse.narrow(2, 1, later / window).narrow(3, 0, window - 1),
         {from_blocks(more.output, batch), from_blocks(more.lse, batch)});
  }
  if (rest == 0) return {output, lse};
  own = part(x.each(range(whole, rest)), /*causal=*/true, scale);
  output.narrow(2, whole, rest).copy_(own.output);
  lse.narrow(2, whole, rest).copy_(own.lse);
  const at::Tensor query = x.query.narrow(2, whole, rest);
  const auto before = [&](std::int64_t begin, std::int64_t count) -> Operands {  // of the last whole block
    const auto keys = range(whole - window + begin, count);
    return {query, keys(x.key), keys(x.value)};
  };
  // All `rest` queries see its places from `rest` on; of those before, what is later than their own.
  join(output.narrow(2, whole, rest), lse.narrow(2, whole, rest),
       part(before(rest, window - rest), /*causal=*/false, scale));
  if (rest > 1)
    join(output.narrow(2, whole, rest - 1), lse.narrow(2, whole, rest - 1), later_keys(before(0, rest), rest, scale));
  return {output, lse};
}

/// Windows within chunks: each chunk is a sequence of its own.
SdpaResult chunked(const Operands& x, const ScoreFunction& score) {
  const std::int64_t batch = x.query.size(0), length = x.query.size(2), chunk = score.chunk;
  if (chunk == 0 || chunk >= length) return windowed(x, score.window, score.scale);
  const std::int64_t whole = length / chunk * chunk;
  const SdpaResult blocks = windowed(
      x.each([&](const at::Tensor& t) { return to_blocks(t.narrow(2, 0, whole), chunk); }), score.window, score.scale);
  SdpaResult result{from_blocks(blocks.output, batch).flatten(2, 3), from_blocks(blocks.lse, batch).flatten(2, 3)};
  if (whole == length) return result;
  const SdpaResult rest = windowed(x.each([&](const at::Tensor& t) { return t.narrow(2, whole, length - whole); }),
                                   score.window, score.scale);
  return {at::cat({result.output, rest.output}, 2), at::cat({result.lse, rest.lse}, 2)};
}

/// Every score function, differentiable: blocks of rows of the matrix, softmax in float32 (float64 for float64).
SdpaResult by_row_blocks(const Arguments& a) {
  const std::int64_t batch = a.query.size(0), heads = a.query.size(1), length = a.query.size(2), dim = a.query.size(3);
  const std::int64_t kv_heads = a.key.size(1), group = heads / kv_heads;
  const auto dtype = a.query.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const at::Tensor query = a.query.to(dtype), key = a.key.to(dtype), value = a.value.to(dtype);
  // Logits, probabilities and two temporaries are alive together.
  const std::int64_t row_bytes = 4 * batch * heads * length * static_cast<std::int64_t>(c10::elementSize(dtype));
  const std::int64_t step = std::clamp<std::int64_t>(kBlockBytes / std::max<std::int64_t>(row_bytes, 1), 1, length);
  std::vector<at::Tensor> outputs, lses;
  for (std::int64_t row = 0; row < length; row += step) {
    const std::int64_t rows = std::min(step, length - row);
    const std::int64_t first = a.score.first_key(row), keys = a.score.end_key(row + rows - 1, length) - first;
    // Query heads of one KV head become rows of one matrix product, so keys are never expanded.
    const at::Tensor left = query.narrow(2, row, rows).reshape({batch, kv_heads, group * rows, dim});
    at::Tensor logits = at::matmul(left, key.narrow(2, first, keys).transpose(2, 3)) * a.score.scale;
    if (a.score.softcap > 0) logits = (logits / a.score.softcap).tanh() * a.score.softcap;
    logits = logits.view({batch, heads, rows, keys});
    const at::Tensor hidden = hidden_pairs(a.score, row, rows, first, keys, logits.device());
    if (hidden.defined()) logits = logits.masked_fill(hidden, -std::numeric_limits<double>::infinity());
    const at::Tensor lse = at::logsumexp(logits, {-1}),
                     whole = a.sinks ? at::logaddexp(lse, a.sinks->to(dtype).view({1, heads, 1})) : lse;
    const at::Tensor probabilities = (logits - whole.unsqueeze(-1)).exp().view({batch, kv_heads, group * rows, keys});
    outputs.push_back(at::matmul(probabilities, value.narrow(2, first, keys)).view({batch, heads, rows, -1}));
    lses.push_back(lse);
  }
  return {at::cat(outputs, 2).to(a.query.scalar_type()), at::cat(lses, 2)};
}

/// lse [B, H, T] of the keys.
FusedAttentionResult with_sinks(at::Tensor output, const at::Tensor& lse, const std::optional<at::Tensor>& sinks) {
  if (!sinks) return {std::move(output), lse, {}};
  return {std::move(output), at::logaddexp(lse, sinks->to(lse.scalar_type()).view({1, -1, 1})), lse};
}

bool has_flash(const Operands& x, double scale) {
  if (x.query.size(3) != x.value.size(3)) return false;
  const auto backend = static_cast<at::SDPBackend>(at::_fused_sdp_choice(
      x.query, x.key, x.value, std::nullopt, 0, /*is_causal=*/true, scale, x.query.size(1) != x.key.size(1)));
  return backend != at::SDPBackend::math;
}

}  // namespace

ScoreFunction fused_attention_score(std::optional<double> scale, std::int64_t window, std::int64_t chunk,
                                    double softcap, std::int64_t dim) {
  if (window < 0 || chunk < 0 || !(softcap >= 0) || !std::isfinite(softcap) || !std::isfinite(scale.value_or(1)))
    throw InputError(
        fmt::format("sinkscope::fused_attention with scale {}, window {}, chunk {} and softcap {}: window, chunk and "
                    "softcap must be 0 (off) or more, and all finite",
                    scale.value_or(1), window, chunk, softcap));
  return {.scale = scale.value_or(1 / std::sqrt(static_cast<double>(dim))),
          .causal = true,
          .window = window,
          .chunk = chunk,
          .softcap = softcap};
}

FusedAttentionResult fused_attention(const FusedAttentionArguments& a) {
  check(a);
  if (a.query.size(0) == 0 || a.query.size(2) == 0) {
    const auto dtype = a.query.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
    return {at::zeros({a.query.size(0), a.query.size(1), a.query.size(2), a.value.size(3)}, a.query.options()),
            at::zeros({a.query.size(0), a.query.size(1), a.query.size(2)}, a.query.options().dtype(dtype)),
            {}};
  }
  const Operands operands =
      Operands{a.query, a.key, a.value}.each([](const at::Tensor& t) { return t.stride(3) == 1 ? t : t.contiguous(); });
  if (a.score.softcap > 0 || records_gradients(a) || !has_flash(operands, a.score.scale)) {
    SdpaResult blocks = by_row_blocks(a);
    return with_sinks(std::move(blocks.output), blocks.lse, a.sinks);
  }
  SdpaResult result = chunked(operands, a.score);
  if (a.sinks) {
    const at::Tensor sink = a.sinks->to(result.lse.scalar_type()).view({1, -1, 1});
    result.output = result.output * at::sigmoid(result.lse - sink).unsqueeze(-1);
  }
  return with_sinks(result.output.to(a.query.scalar_type()), result.lse, a.sinks);
}

}  // namespace sinkscope

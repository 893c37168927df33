#pragma once
// The one table of attention calls that every kernel is tested on, and how results are compared with the float64
// reference.

#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/where.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "catch.h"
#include "kernels/attention_call.h"
#include "kernels/reference.h"

namespace sinkscope::testing {

/// Shape, score function and masks of one call.
struct ScoreCase {
  const char* name;
  std::int64_t batch = 1, heads = 2, kv_heads = 2, queries = 70, keys = 70, dim = 16;
  ScoreFunction score{};      // scale is set to 1 / sqrt(dim)
  bool sink = false;          // learned sink logits
  bool padding = false;       // the last keys of odd sequences and one key in the middle are hidden
  bool first_hidden = false;  // with padding: key 0 of sequence 0 too, so that causal row 0 is fully masked
  enum class Mask { none, boolean, additive } mask = Mask::none;
  enum class Input { plain, planted_sink, large, outliers } input = Input::plain;
  enum class Layout { contiguous, tokens_first, strided_dim } layout = Layout::contiguous;
};

namespace detail {

inline constexpr double kInfinity = std::numeric_limits<double>::infinity();

inline at::Tensor laid_out(const at::Tensor& x, ScoreCase::Layout layout) {
  using Layout = ScoreCase::Layout;
  if (layout == Layout::tokens_first) return x.transpose(1, 2).contiguous().transpose(1, 2);  // [B, T, H, D] in memory
  if (layout == Layout::strided_dim) return x.transpose(2, 3).contiguous().transpose(2, 3);
  return x;
}

/// Inputs made hard on purpose: a sink at key 0, logits of several hundred, or a few elements twenty times as large.
inline void harden(at::Tensor& query, at::Tensor& key, ScoreCase::Input input) {
  using Input = ScoreCase::Input;
  if (input == Input::planted_sink) {
    query.add_(0.5);
    key.select(2, 0).fill_(1.5);
  } else if (input == Input::large) {
    query.mul_(8);
    key.mul_(4);
  } else if (input == Input::outliers) {
    query.mul_(at::where(at::rand(query.sizes()) < 0.01, 20.0, 1.0));
    key.mul_(at::where(at::rand(key.sizes()) < 0.01, 20.0, 1.0));
  }
}

}  // namespace detail

/// The table.
inline const std::vector<ScoreCase>& score_cases() {
  using Mask = ScoreCase::Mask;
  using Input = ScoreCase::Input;
  using Layout = ScoreCase::Layout;
  static const std::vector<ScoreCase> cases = {
      {.name = "full attention"},
      {.name = "causal", .score = {.causal = true}},
      {.name = "causal, long",
       .heads = 2,
       .kv_heads = 1,
       .queries = 600,
       .keys = 600,
       .dim = 64,
       .score = {.causal = true}},
      {.name = "several sequences", .batch = 3, .queries = 33, .keys = 33, .dim = 8, .score = {.causal = true}},
      {.name = "grouped heads", .batch = 2, .heads = 6, .kv_heads = 2, .score = {.causal = true}},
      {.name = "one KV head", .heads = 4, .kv_heads = 1},
      {.name = "odd head dim", .queries = 65, .keys = 65, .dim = 13, .score = {.causal = true}},
      {.name = "head dim 80", .queries = 130, .keys = 130, .dim = 80, .score = {.causal = true}},
      {.name = "head dim 256", .queries = 100, .keys = 100, .dim = 256, .score = {.causal = true}},
      {.name = "head dim 1", .queries = 20, .keys = 20, .dim = 1, .score = {.causal = true}},
      {.name = "one token", .queries = 1, .keys = 1, .score = {.causal = true}},
      {.name = "one query on many keys", .queries = 1, .keys = 300},
      {.name = "many queries on one key", .queries = 300, .keys = 1},
      {.name = "fewer queries than keys, causal", .queries = 40, .keys = 90, .score = {.causal = true}},
      {.name = "more queries than keys, causal", .queries = 90, .keys = 40, .score = {.causal = true}},
      {.name = "sliding window", .queries = 700, .keys = 700, .score = {.causal = true, .window = 100}},
      {.name = "window of one", .queries = 80, .keys = 80, .score = {.causal = true, .window = 1}},
      {.name = "window, more queries than keys", .queries = 200, .keys = 100, .score = {.causal = true, .window = 30}},
      {.name = "chunks", .queries = 400, .keys = 400, .score = {.causal = true, .chunk = 96}},
      {.name = "window in chunks", .queries = 300, .keys = 300, .score = {.causal = true, .window = 20, .chunk = 50}},
      {.name = "soft cap", .score = {.causal = true, .softcap = 2}},
      {.name = "soft cap on large logits",
       .queries = 150,
       .keys = 150,
       .score = {.causal = true, .softcap = 30},
       .input = Input::large},
      {.name = "learned sink", .heads = 4, .score = {.causal = true}, .sink = true},
      {.name = "learned sink with window and cap",
       .queries = 300,
       .keys = 300,
       .score = {.causal = true, .window = 64, .softcap = 10},
       .sink = true},
      {.name = "padding", .batch = 3, .score = {.causal = true}, .padding = true},
      {.name = "padding, not causal", .batch = 3, .padding = true},
      {.name = "fully masked row", .batch = 2, .score = {.causal = true}, .padding = true, .first_hidden = true},
      {.name = "fully masked row with sink",
       .batch = 2,
       .score = {.causal = true},
       .sink = true,
       .padding = true,
       .first_hidden = true},
      {.name = "boolean mask", .batch = 2, .mask = Mask::boolean},
      {.name = "additive mask", .batch = 2, .heads = 4, .kv_heads = 2, .mask = Mask::additive},
      {.name = "mask and causal", .score = {.causal = true, .window = 9}, .mask = Mask::boolean},
      {.name = "planted sink",
       .queries = 300,
       .keys = 300,
       .dim = 64,
       .score = {.causal = true},
       .input = Input::planted_sink},
      {.name = "large logits",
       .queries = 200,
       .keys = 200,
       .dim = 32,
       .score = {.causal = true},
       .input = Input::large},
      {.name = "outliers", .queries = 300, .keys = 300, .dim = 64, .score = {.causal = true}, .input = Input::outliers},
      {.name = "tokens before heads in memory",
       .batch = 2,
       .heads = 4,
       .kv_heads = 2,
       .score = {.causal = true},
       .layout = Layout::tokens_first},
      {.name = "last dim not contiguous", .score = {.causal = true}, .layout = Layout::strided_dim},
      {.name = "no sequences", .batch = 0},
      {.name = "no queries", .queries = 0},
      {.name = "no keys", .keys = 0},
  };
  return cases;
}

/// The same call with tensors of another dtype.
inline AttentionCall converted(AttentionCall call, at::ScalarType dtype) {
  call.query = call.query.to(dtype);
  call.key = call.key.to(dtype);
  return call;
}

/// The call of a case, with seeded random tensors rounded to `dtype` and the reference's log-sum-exp rounded to
/// float32.
inline AttentionCall make_call(const ScoreCase& c, at::ScalarType dtype) {
  at::manual_seed(7);
  at::Tensor query = at::randn({c.batch, c.heads, c.queries, c.dim}),
             key = at::randn({c.batch, c.kv_heads, c.keys, c.dim});
  if (c.keys > 0) detail::harden(query, key, c.input);
  AttentionCall call{.query = detail::laid_out(query.to(dtype), c.layout),
                     .key = detail::laid_out(key.to(dtype), c.layout),
                     .score = c.score};
  call.score.scale = 1 / std::sqrt(static_cast<double>(c.dim));
  if (c.sink) call.sink_logit = at::randn({c.heads});
  if (c.padding) {
    at::Tensor visible = at::ones({c.batch, c.keys}, at::kBool);
    for (std::int64_t b = 1; b < c.batch; b += 2) visible[b].narrow(0, c.keys - c.keys / 3, c.keys / 3).fill_(false);
    visible.select(1, c.keys / 2).fill_(false);
    if (c.first_hidden) visible[0][0].fill_(false);
    call.key_padding = visible;
  }
  const at::Tensor shown = at::rand({c.batch, 1, c.queries, c.keys}) < 0.7;
  if (c.mask == ScoreCase::Mask::boolean) call.mask = shown;
  if (c.mask == ScoreCase::Mask::additive)
    call.mask = at::where(shown, at::randn({c.heads, c.queries, c.keys}), -detail::kInfinity);
  call.lse = reference(converted(call, at::kDouble)).lse.to(dtype == at::kDouble ? at::kDouble : at::kFloat);
  return call;
}

/// Largest errors of the four statistics against the truth.
struct Errors {
  double column_sum = 0;                         ///< relative, over columns above 1e-6
  double entropy = 0, row_max = 0, row_sum = 0;  ///< absolute; row_max over rows that see a key
};

inline Errors errors(const FullPass& pass, const FullPass& truth) {
  const auto largest = [](const at::Tensor& x) { return x.numel() == 0 ? 0.0 : x.abs().max().item<double>(); };
  const auto wide = [](const at::Tensor& x) { return x.to(at::kCPU).to(at::kDouble); };
  const at::Tensor big = truth.column_sum > 1e-6, seen = truth.row_max != -detail::kInfinity;
  return {.column_sum = largest(
              at::where(big, wide(pass.column_sum) / truth.column_sum - 1, wide(pass.column_sum) - truth.column_sum)),
          .entropy = largest(wide(pass.entropy) - truth.entropy),
          .row_max = largest(at::where(seen, wide(pass.row_max) - truth.row_max, 0.0)),
          .row_sum = largest(wide(pass.row_sum) - truth.row_sum)};
}

/// What a result is judged by.
struct Yardstick {
  explicit Yardstick(const AttentionCall& call) : truth(reference(converted(call, at::kDouble))) {
    const bool wide = call.query.scalar_type() == at::kDouble;
    eager_errors = errors(eager(converted(call, wide ? at::kDouble : at::kFloat)).pass, truth.pass);
    // One rounding of the log-sum-exp moves all of a row, by more where it is large.
    const at::Tensor finite = truth.lse.masked_fill(truth.lse.isinf(), 0);
    rounding = (wide ? 1e-14 : 1e-7) * (10 + (finite.numel() == 0 ? 0 : finite.abs().max().item<double>()));
  }
  Reference truth;
  Errors eager_errors;
  double rounding;
};

/// CHECKs that `pass` errs at most twice as much as eager attention in float32 on the same inputs, plus a few
/// roundings, that a fully masked row has no statistics, and that the column sums of a head add up to its queries minus
/// the mass of the sink.
inline void check_against(const Yardstick& yardstick, const AttentionCall& call, const FullPass& pass) {
  const Reference& truth = yardstick.truth;
  const Errors &eager_errors = yardstick.eager_errors, found = errors(pass, truth.pass);
  const double rounding = yardstick.rounding;
  // Eager attention normalises by the sum of its own exponentials, so an error of a logit cancels there; here the
  // log-sum-exp comes from elsewhere and it does not. row_max shows how large that error is.
  const double logit = eager_errors.row_max;
  CAPTURE(rounding, eager_errors.column_sum, eager_errors.entropy, eager_errors.row_max, eager_errors.row_sum);
  CHECK(found.column_sum <= 2 * (eager_errors.column_sum + logit) + rounding);
  CHECK(found.entropy <= 2 * (eager_errors.entropy + logit) + 4 * rounding);
  CHECK(found.row_max <= 2 * eager_errors.row_max + rounding);
  CHECK(found.row_sum <= 2 * (eager_errors.row_sum + logit) + rounding);
  const at::Tensor masked = truth.pass.row_max == -detail::kInfinity;
  CHECK((pass.row_max.cpu() == -detail::kInfinity).equal(masked));
  CHECK((pass.row_sum.cpu() == 0).logical_and(masked).equal(masked));
  CHECK((pass.entropy.cpu() == 0).logical_and(masked).equal(masked));
  // sum_j column_sum_j = Q - sum of sink mass, per head.
  at::Tensor expected = masked.logical_not().sum(-1).to(at::kDouble);
  if (call.sink_logit) {
    const at::Tensor mass = (call.sink_logit->to(at::kDouble).view({1, -1, 1}) - truth.lse).exp();
    expected = static_cast<double>(call.query.size(2)) - mass.sum(-1);
  }
  const at::Tensor total = pass.column_sum.cpu().sum(-1, false, at::kDouble);
  const at::Tensor gap = (total - expected).abs();
  CHECK((gap.numel() == 0 ? 0.0 : gap.max().item<double>()) <=
        (2 * (eager_errors.row_sum + logit) + rounding) * static_cast<double>(call.query.size(2)));
}

}  // namespace sinkscope::testing

// sinkscope::fused_attention against float64 on the written-out matrix: every combination of its arguments.
#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/csrc/autograd/autograd.h>

#include "base/error.h"
#include "catch.h"
#include "kernels/reference.h"
#include "models.h"
#include "observe/fused_attention.h"

namespace sinkscope {
namespace {

constexpr std::int64_t kHeads = 4, kDim = 16;

FusedAttentionArguments arguments_of(std::int64_t length, std::int64_t kv_heads, at::ScalarType dtype,
                                     const ScoreFunction& score, bool sinks) {
  FusedAttentionArguments a;
  a.query = models::numbers({2, kHeads, length, kDim}, 1, 4).to(dtype);
  a.key = models::numbers({2, kv_heads, length, kDim}, 2, 4).to(dtype);
  a.value = models::numbers({2, kv_heads, length, kDim}, 3).to(dtype);
  a.score = score;
  if (sinks) a.sinks = models::numbers({kHeads}, 4, 3).to(dtype);
  return a;
}

AttentionCall call_of(const FusedAttentionArguments& a) {
  AttentionCall call;
  call.query = a.query, call.key = a.key, call.score = a.score, call.sink_logit = a.sinks;
  return call;
}

at::Tensor mixed(const at::Tensor& probabilities, const FusedAttentionArguments& a) {
  const at::Tensor value = a.value.repeat_interleave(kHeads / a.value.size(1), 1);
  return at::matmul(probabilities, value.to(probabilities.scalar_type())).to(at::kDouble);
}

double largest(const at::Tensor& x) { return x.numel() == 0 ? 0 : x.abs().max().item<double>(); }

TEST_CASE("fused attention is what its definition says, for every combination of its arguments", "[observe]") {
  const at::NoGradGuard no_grad;
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kDouble})
    for (const std::int64_t kv_heads : {4, 2, 1})
      for (const std::int64_t length : {1, 2, 7, 37})
        for (const std::int64_t window : {0, 1, 2, 5, 12, 36, 64})
          for (const std::int64_t chunk : {0, 1, 8, 64})
            for (const double softcap : {0.0, 3.0})
              for (const bool sinks : {false, true}) {
                const FusedAttentionArguments a = arguments_of(
                    length, kv_heads, dtype, fused_attention_score(0.3, window, chunk, softcap, kDim), sinks);
                const AttentionCall call = call_of(a);
                const Reference truth = reference(call);
                const at::Tensor expected = mixed(truth.probabilities, a);
                const FusedAttentionResult got = fused_attention(a);
                // What eager attention in the same dtype makes of it, twice; the joined parts are rounded once.
                const double eager_error = largest(mixed(eager(call).probabilities, a) - expected);
                const double rounding = dtype == at::kBFloat16 ? 8e-3 : dtype == at::kFloat ? 2e-6 : 1e-14;
                const double error = largest(got.output.to(at::kDouble) - expected);
                double lse_error = largest(got.lse.to(at::kDouble) - truth.lse);
                if (sinks) {
                  AttentionCall keys_alone = call;
                  keys_alone.sink_logit.reset();
                  lse_error = std::max(lse_error, largest(got.key_lse.to(at::kDouble) - reference(keys_alone).lse));
                }
                if (error <= 2 * eager_error + rounding &&
                    lse_error <= (dtype == at::kDouble  ? 1e-12
                                  : dtype == at::kFloat ? 2e-5
                                                        : 2e-4) &&
                    got.output.scalar_type() == dtype)
                  continue;
                CAPTURE(dtype, kv_heads, length, window, chunk, softcap, sinks, error, eager_error, lse_error);
                FAIL("fused attention differs from the reference");
              }
}

TEST_CASE("without window, chunks, cap and sinks fused attention has the bits of plain causal attention", "[observe]") {
  const at::NoGradGuard no_grad;
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const FusedAttentionArguments a = arguments_of(21, 2, dtype, fused_attention_score({}, 0, 21, 0, kDim), false);
    CHECK(at::equal(fused_attention(a).output, at::scaled_dot_product_attention(a.query, a.key, a.value, {}, 0, true,
                                                                                std::nullopt, /*enable_gqa=*/true)));
  }
}

TEST_CASE("a sink logit of 0 is softmax off by one, one of minus infinity is no sink", "[observe]") {
  const at::NoGradGuard no_grad;
  FusedAttentionArguments a = arguments_of(9, 4, at::kFloat, fused_attention_score(0.3, 0, 0, 0, kDim), false);
  const FusedAttentionResult plain = fused_attention(a);
  a.sinks = at::full({kHeads}, -INFINITY);
  CHECK(at::allclose(fused_attention(a).output, plain.output));
  a.sinks = at::zeros({kHeads});
  const at::Tensor off_by_one = plain.lse.exp() / (1 + plain.lse.exp());
  CHECK(at::allclose(fused_attention(a).output, plain.output * off_by_one.unsqueeze(-1), 1e-5, 1e-6));
}

TEST_CASE("values may have another width than keys, and tensors any strides", "[observe]") {
  const at::NoGradGuard no_grad;
  FusedAttentionArguments a = arguments_of(23, 2, at::kFloat, fused_attention_score(0.3, 5, 0, 0, kDim), true);
  const at::Tensor expected = mixed(reference(call_of(a)).probabilities, a);
  for (at::Tensor* x : {&a.query, &a.key, &a.value}) *x = x->transpose(1, 2).contiguous().transpose(1, 2);
  CHECK(largest(fused_attention(a).output - expected) < 1e-5);
  for (at::Tensor* x : {&a.query, &a.key, &a.value}) *x = x->transpose(2, 3).contiguous().transpose(2, 3);
  CHECK(largest(fused_attention(a).output - expected) < 1e-5);
  a.value = at::cat({a.value, a.value}, 3);
  CHECK(largest(fused_attention(a).output - at::cat({expected, expected}, 3)) < 1e-5);
}

TEST_CASE("gradients of fused attention are those of the written-out softmax", "[observe]") {
  for (const double softcap : {0.0, 2.0}) {
    FusedAttentionArguments a = arguments_of(11, 2, at::kDouble, fused_attention_score(0.3, 4, 6, softcap, kDim), true);
    const std::vector<at::Tensor> leaves{a.query.requires_grad_(), a.key.requires_grad_(), a.value.requires_grad_(),
                                         a.sinks->requires_grad_()};
    const at::Tensor output = fused_attention(a).output;
    const at::Tensor cotangent = models::numbers(output.sizes(), 9).to(at::kDouble);
    const auto got = torch::autograd::grad({output}, leaves, {cotangent});

    at::Tensor hidden = at::ones({11, 11}, at::kBool);
    for (std::int64_t i = 0; i < 11; ++i)
      for (std::int64_t j = 0; j <= i; ++j) hidden[i][j] = i - j >= 4 || i / 6 != j / 6;
    at::Tensor logits = at::matmul(a.query, a.key.repeat_interleave(2, 1).transpose(2, 3)) * 0.3;
    if (softcap > 0) logits = softcap * (logits / softcap).tanh();
    const at::Tensor column = a.sinks->view({1, kHeads, 1, 1}).expand({2, kHeads, 11, 1});
    const at::Tensor p = at::softmax(at::cat({logits.masked_fill(hidden, -INFINITY), column}, -1), -1).narrow(3, 0, 11);
    const auto expected = torch::autograd::grad({at::matmul(p, a.value.repeat_interleave(2, 1))}, leaves, {cotangent});
    for (std::size_t i = 0; i < leaves.size(); ++i) CHECK(largest(got[i] - expected[i]) < 1e-12);
    // d loss / d s = - sum of p_sink (dO . O)
    const at::Tensor sink_mass = 1 - p.sum(-1);
    CHECK(largest(got[3] + (sink_mass * (cotangent * output).sum(-1)).sum(at::IntArrayRef({0, 2}))) < 1e-12);
  }
}

TEST_CASE("no sequences and no tokens give nothing", "[observe]") {
  FusedAttentionArguments a = arguments_of(0, 2, at::kFloat, fused_attention_score(0.3, 4, 0, 0, kDim), true);
  CHECK(fused_attention(a).output.sizes() == at::IntArrayRef({2, kHeads, 0, kDim}));
  a = arguments_of(5, 2, at::kFloat, fused_attention_score(0.3, 4, 0, 0, kDim), true);
  for (at::Tensor* x : {&a.query, &a.key, &a.value}) *x = x->narrow(0, 0, 0);
  CHECK(fused_attention(a).output.sizes() == at::IntArrayRef({0, kHeads, 5, kDim}));
}

TEST_CASE("arguments that make no sense are refused", "[observe]") {
  CHECK_THROWS_AS(fused_attention_score(0.3, -1, 0, 0, kDim), InputError);
  CHECK_THROWS_AS(fused_attention_score(0.3, 0, -1, 0, kDim), InputError);
  CHECK_THROWS_AS(fused_attention_score(0.3, 0, 0, -1, kDim), InputError);
  CHECK_THROWS_AS(fused_attention_score(0.3, 0, 0, NAN, kDim), InputError);
  CHECK(fused_attention_score({}, 0, 0, 0, 16).scale == 0.25);
  const FusedAttentionArguments good = arguments_of(5, 2, at::kFloat, fused_attention_score({}, 0, 0, 0, kDim), true);
  const auto refused = [&](const auto& change) {
    FusedAttentionArguments a = good;
    change(a);
    CHECK_THROWS_AS(fused_attention(a), InputError);
  };
  refused([](auto& a) { a.query = a.query[0]; });
  refused([](auto& a) { a.key = a.key.to(at::kDouble); });
  refused([](auto& a) { a.key = a.key.narrow(2, 0, 4); });
  refused([](auto& a) { a.value = a.value.narrow(1, 0, 1); });
  refused([](auto& a) { a.key = a.value = at::ones({2, 3, 5, kDim}); });
  refused([](auto& a) { a.sinks = at::ones({2}); });
}

TEST_CASE("the operators of model files have their frozen schemas", "[observe]") {
  const auto schema = [](const char* name) {
    return toString(c10::Dispatcher::singleton().findSchemaOrThrow(name, "").schema());
  };
  CHECK(schema("sinkscope::fused_attention") ==
        "sinkscope::fused_attention(Tensor query, Tensor key, Tensor value, float? scale=None, int window=0, int "
        "chunk=0, float softcap=0., Tensor? sinks=None) -> Tensor");
  CHECK(schema("sinkscope::attention") ==
        "sinkscope::attention(Tensor(a) weights, str name, bool probability=True) -> Tensor(a)");
}

}  // namespace
}  // namespace sinkscope

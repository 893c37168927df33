// The operators that observe, and what a run makes of errors.
#include <ATen/record_function.h>
#include <torch/csrc/jit/runtime/interpreter.h>
#include <torch/torch.h>

#include "base/error.h"
#include "catch.h"
#include "graph/inline_with_paths.h"
#include "graph/walk.h"
#include "kernels/reference.h"
#include "models.h"
#include "observe/jacobian.h"
#include "observe/observe.h"
#include "observe/sdpa_forward.h"
#include "observe/tap_ops.h"

namespace sinkscope {
namespace {

at::Tensor rows_of(at::ScalarType dtype, std::int64_t heads, std::int64_t length, std::uint64_t seed) {
  return models::numbers({2, heads, length, 16}, seed, 2).to(dtype);
}

TEST_CASE("attention with its log-sum-exp has the bits of the composite operator", "[observe]") {
  const at::NoGradGuard no_grad;
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kHalf, at::kDouble}) {
    for (const std::int64_t kv_heads : {4, 2, 1}) {
      for (const std::int64_t length : {1, 7, 130}) {
        SdpaArguments a{rows_of(dtype, 4, length, 1), rows_of(dtype, kv_heads, length, 2),
                        rows_of(dtype, kv_heads, length, 3)};
        a.enable_gqa = kv_heads != 4;
        for (const int mask : {0, 1, 2, 3}) {
          CAPTURE(dtype, kv_heads, length, mask);
          a.is_causal = mask == 1;
          a.mask.reset();
          if (mask == 2) a.mask = at::ones({1, 1, length, length}, at::kBool).tril();
          if (mask == 3) a.mask = models::numbers({1, 1, length, length}, 9).to(dtype);
          const at::Tensor composite = at::scaled_dot_product_attention(a.query, a.key, a.value, a.mask, 0, a.is_causal,
                                                                        std::nullopt, a.enable_gqa);
          const SdpaResult got = sdpa_forward(a);
          CHECK(at::equal(got.output, composite));
          if (!got.lse.defined()) continue;
          AttentionCall call;
          call.query = a.query, call.key = a.key, call.mask = a.mask;
          call.score = {.scale = 0.25, .causal = a.is_causal};
          const at::Tensor expected = reference(call).lse;
          const double tolerance = dtype == at::kDouble ? 1e-12 : dtype == at::kFloat ? 1e-5 : 5e-3;
          CHECK((got.lse.to(at::kDouble) - expected).abs().max().item<double>() <= tolerance);
        }
      }
    }
  }
}

/// Heads of the keys that scaled_dot_product_attention was given, one entry a call.
std::vector<std::int64_t> sdpa_key_heads;

std::unique_ptr<at::ObserverContext> note_key_heads(const at::RecordFunction& function) {
  if (std::string_view(function.name()) == "aten::scaled_dot_product_attention")
    sdpa_key_heads.push_back(function.inputs()[1].toTensor().size(1));
  return nullptr;
}

TEST_CASE("a site runs its attention again on the heads that the model gave it, not on those it shows", "[observe]") {
  const at::NoGradGuard no_grad;
  const at::Tensor key = rows_of(at::kFloat, 2, 9, 2), value = rows_of(at::kFloat, 2, 9, 3);
  Taps taps;
  std::int64_t shown = 0;
  taps.site = [&](SiteId, const AttentionView& view) {
    shown = view.key.size(1);
    const auto noted = at::addThreadLocalCallback(at::RecordFunctionCallback(note_key_heads).needsInputs(true));
    view.forward();
    at::removeCallback(noted);
  };
  RunState state{&taps, {}, nullptr};
  const RunScope scope(state);
  torch::jit::Stack stack{rows_of(at::kFloat, 4, 9, 1),
                          key.repeat_interleave(2, 1),
                          value.repeat_interleave(2, 1),
                          c10::IValue(),
                          0.0,
                          true,
                          c10::IValue(),
                          false,
                          key,
                          value,
                          0};
  sdpa_key_heads.clear();
  c10::Dispatcher::singleton().findSchemaOrThrow("sinkscope::observe_sdpa", "").callBoxed(stack);
  CHECK_FALSE(state.problem);
  CHECK(shown == 2);
  CHECK(sdpa_key_heads == std::vector<std::int64_t>{4});
}

/// TorchScript source cannot name a custom operator, so the n-th torch.alias(x) becomes sinkscope::tap_stream(x, n).
torch::jit::Code code_of(const torch::jit::Module& module) {
  const auto graph = inline_with_paths(module).graph;
  std::int64_t taps = 0;
  for_each_node(graph->block(), [&](torch::jit::Node* node, int) {
    if (!is_op(node, {"alias"})) return;
    const torch::jit::WithInsertPoint before(node);
    torch::jit::Node* tap = graph->create(c10::Symbol::fromQualString("sinkscope::tap_stream"),
                                          {node->input(0), graph->insertConstant(taps++)}, 1);
    graph->insertNode(tap);
    node->output()->replaceAllUsesWith(tap->output());
    node->destroy();
  });
  return torch::jit::Code(graph, "forward");
}

torch::jit::Module observed(const char* body) {
  torch::jit::Module m("Observed");
  m.define(std::string("def forward(self, x):\n") + body);
  return m;
}

TEST_CASE("an error thrown inside a tap keeps its class, and the model runs on", "[observe]") {
  const auto m = observed("    return torch.alias(x) + 1\n");
  int calls = 0;
  Taps taps;
  taps.stream = [&](StreamId id, const at::Tensor& x) -> at::Tensor {
    ++calls;
    CHECK(index(id) == 0);
    (void)x;
    throw UsageError("from the tap");
  };
  CHECK_THROWS_AS(run_graph(code_of(m), {m._ivalue(), at::ones({2})}, taps), UsageError);
  CHECK(calls == 1);
}

TEST_CASE("a failure of the model is an input error that ends with its cause", "[observe]") {
  const auto m = observed("    return torch.embedding(x, torch.tensor([5]))\n");
  try {
    run_graph(code_of(m), {m._ivalue(), at::ones({2, 2})}, {});
    FAIL("it ran");
  } catch (const InputError& error) {
    CHECK_THAT(error.what(), contains("index out of range"));
    CHECK(std::string(error.what()).find("Traceback") == std::string::npos);
  }
}

TEST_CASE("without callbacks a tap is the identity", "[observe]") {
  const auto m = observed("    return torch.alias(x)\n");
  const at::Tensor x = at::ones({3});
  CHECK(at::equal(run_graph(code_of(m), {m._ivalue(), x}, {}).toTensor(), x));
}

TEST_CASE("the first tensor of a tuple or a dictionary is the output", "[observe]") {
  const auto tuple = observed("    return (x + 1, x)\n");
  CHECK(at::equal(first_tensor(run_graph(code_of(tuple), {tuple._ivalue(), at::zeros({2})}, {})), at::ones({2})));
  const auto dictionary = observed("    return {'logits': x + 2}\n");
  CHECK(first_tensor(run_graph(code_of(dictionary), {dictionary._ivalue(), at::zeros({2})}, {})).sum().item<double>() ==
        4);
  const auto nothing = observed("    return 3\n");
  CHECK_THROWS_AS(first_tensor(run_graph(code_of(nothing), {nothing._ivalue(), at::zeros({2})}, {})), InputError);
}

// One block with fixed attention A: h1_j = h0_j + sum_i A[j, i] h0_i, so J[j, i] = (delta_ji + A[j, i]) I.
constexpr const char* kFixedMixing = R"(
    h = torch.alias(x)
    A = torch.tensor([[1.0, 0.0, 0.0], [0.6, 0.4, 0.0], [0.5, 0.3, 0.2]])
    h = h + torch.matmul(A, h)
    return torch.alias(h)
)";

JacobianResult jacobian_of(const torch::jit::Module& m, const at::Tensor& x, const JacobianNeeds& needs) {
  return mixing_jacobian(code_of(m), {m._ivalue(), x}, StreamId{0}, StreamId{1}, needs, SequenceId{0});
}

TEST_CASE("the Jacobian of fixed attention is what can be computed by hand, also with a single probe", "[observe]") {
  const auto m = observed(kFixedMixing);
  const at::Tensor x = models::numbers({1, 3, 4}, 5);
  for (const std::int64_t probes : {0, 1}) {  // J J^T is a multiple of I, so one Rademacher probe is exact
    const JacobianResult result = jacobian_of(m, x, {{-1}, probes, 0});
    REQUIRE(result.targets == std::vector<std::int64_t>{2});
    const at::Tensor norm = result.squared_norm.sqrt();
    CHECK(norm[0][0].item<double>() == near(1.0, 1e-6));
    CHECK(norm[0][1].item<double>() == near(0.6, 1e-6));
    CHECK(norm[0][2].item<double>() == near(2.4, 1e-6));
  }
}

TEST_CASE("the exact Jacobian equals full differentiation, and probes agree within their spread", "[observe]") {
  torch::jit::Module m("Attending");
  m.register_module("block", models::block(31));
  m.define(
      "def forward(self, x):\n    h = torch.alias(x)\n    h = self.block.forward(h)\n"
      "    return torch.alias(h)\n");
  for (const auto& p : m.named_parameters()) p.value.requires_grad_(false);
  constexpr std::int64_t kLength = 6, kTarget = 4;
  const at::Tensor x = models::numbers({1, kLength, models::kWidth}, 8);
  const JacobianResult exact = jacobian_of(m, x, {{kTarget}, 0, 0});

  const at::Tensor leaf = x.clone().requires_grad_(true);
  const at::Tensor y = run_graph(code_of(m), {m._ivalue(), leaf}, Taps{{}, {}, false}).toTensor();
  at::Tensor full = at::zeros({kLength}, at::kDouble);
  for (std::int64_t a = 0; a < models::kWidth; ++a) {
    const at::Tensor g = torch::autograd::grad({y.select(0, 0).select(0, kTarget).select(0, a)}, {leaf}, {}, true)[0];
    full += g.select(0, 0).to(at::kDouble).pow(2).sum(-1);
  }
  CHECK((exact.squared_norm[0].sqrt() - full.sqrt()).abs().max().item<double>() <=
        1e-4 * full.sqrt().max().item<double>());
  CHECK(exact.squared_norm[0][5].item<double>() == 0);  // a later source has no influence

  const JacobianResult probed = jacobian_of(m, x, {{kTarget}, 4000, 1});
  CHECK((probed.squared_norm[0] / exact.squared_norm[0] - 1).narrow(0, 0, kTarget + 1).abs().max().item<double>() <
        0.1);
  const JacobianResult again = jacobian_of(m, x, {{kTarget}, 4, 1}), other = jacobian_of(m, x, {{kTarget}, 4, 2});
  CHECK(at::equal(again.squared_norm, jacobian_of(m, x, {{kTarget}, 4, 1}).squared_norm));
  CHECK_FALSE(at::equal(again.squared_norm, other.squared_norm));
}

TEST_CASE("a target outside the sequence and a path without gradient are refused", "[observe]") {
  const auto m = observed(kFixedMixing);
  CHECK_THROWS_AS(jacobian_of(m, models::numbers({1, 3, 4}, 5), {{3}, 1, 0}), UsageError);
  const auto cut = observed("    h = torch.alias(x)\n    return torch.alias(h.detach())\n");
  CHECK_THROWS_AS(jacobian_of(cut, models::numbers({1, 3, 4}, 5), {{-1}, 1, 0}), InputError);
}

}  // namespace
}  // namespace sinkscope

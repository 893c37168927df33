// What --verify compares on sequences too long for the whole matrix.
#include "measure/verify_statistics.h"

#include <ATen/ATen.h>

#include <map>

#include "catch.h"
#include "kernels/reference.h"
#include "models.h"

namespace sinkscope {
namespace {

constexpr std::int64_t kLength = kVerifiedLength + 30;

Needs all_needs() {
  Needs needs;
  needs.first_keys = 3, needs.after_first_k = 2, needs.tail_window = 4;
  needs.column_sums = needs.entropy = needs.learned_sink = true;
  return needs;
}

/// An attention call over a long sequence with a padding mask, and the log-sum-exp of its forward.
AttentionView long_view() {
  AttentionCall call;
  call.query = models::numbers({1, 2, kLength, 8}, 1), call.key = models::numbers({1, 1, kLength, 8}, 2);
  at::Tensor mask = at::ones({1, 1, kLength, kLength}, at::kBool).tril();
  mask.narrow(3, 0, 5).fill_(false);
  call.mask = mask;
  AttentionView view;
  view.query = call.query, view.key = view.value = call.key, view.output = call.query, view.mask = mask;
  view.lse = reference(call).lse.to(at::kFloat);
  return view;
}

std::map<std::string, double> errors_of(const AttentionView& view,
                                        const std::optional<at::Tensor>& non_trigger = std::nullopt) {
  ErrorTable table;
  compare_site(view, all_needs(), non_trigger, table);
  std::map<std::string, double> errors;
  for (const auto& [name, error] : table.entries()) errors[name] = error.value();
  return errors;
}

}  // namespace

TEST_CASE("sampled rows and columns of a long padded sequence agree with float64", "[measure]") {
  const auto errors = errors_of(long_view());
  for (const char* name :
       {"log_sum_exp", "row_entropy", "row_sum", "first_keys", "tail", "after_first_k", "column_mean"})
    CHECK(errors.contains(name));
  for (const auto& [name, error] : errors) {
    CAPTURE(name);
    CHECK(error < 1e-5);
  }
}

TEST_CASE("masks of short and long sequences are taken as they are, alone and beside causality", "[measure]") {
  for (const std::int64_t length : {std::int64_t{20}, kLength}) {
    const at::Tensor padding = (at::arange(length) >= 5).view({1, 1, 1, length});
    const at::Tensor finite = at::zeros({1, 1, 1, length}).masked_fill(padding.logical_not(), -1e9);
    for (const at::Tensor& mask : {padding, finite}) {
      AttentionCall call;
      call.query = models::numbers({1, 2, length, 8}, 1), call.key = models::numbers({1, 1, length, 8}, 2);
      call.mask = mask, call.score.causal = true;
      AttentionView view;
      view.query = call.query, view.key = view.value = call.key, view.output = call.query;
      view.mask = mask, view.score = call.score, view.lse = reference(call).lse.to(at::kFloat);
      const auto errors = errors_of(view);
      CHECK(errors.contains(length == 20 ? "normalised_entropy" : "row_entropy"));
      CHECK(errors.at("visible_keys") == 0);
      for (const auto& [name, error] : errors) {
        CAPTURE(name, length, mask.scalar_type());
        CHECK(error < 1e-5);
      }
    }
  }
}

TEST_CASE("a wrong log-sum-exp of a long sequence is found", "[measure]") {
  AttentionView view = long_view();
  view.lse += 0.03;
  CHECK(errors_of(view).at("log_sum_exp") > 0.005);
}

TEST_CASE("queries that are no triggers and learned sinks of long sequences are compared", "[measure]") {
  AttentionView view = long_view();
  view.mask.reset(), view.score.causal = true;
  AttentionCall call;
  call.query = view.query, call.key = view.key, call.score = view.score, call.sink_logit = at::tensor({0.5F, 3.F});
  view.sink_logit = call.sink_logit, view.lse = reference(call).lse.to(at::kFloat);
  const at::Tensor non_trigger = at::ones({1, kLength}, at::kBool);
  const auto errors = errors_of(view, non_trigger);
  for (const char* name : {"non_trigger", "learned_sink_mass"}) CHECK(errors.at(name) < 1e-5);
  view.lse += 0.01;
  CHECK(errors_of(view, non_trigger).at("learned_sink_mass") < 1e-5);  // its own log-sum-exp is what is wrong
  CHECK(errors_of(view, non_trigger).at("log_sum_exp") > 1e-4);
}

TEST_CASE("the proxy of weights of any sum is compared, and what was renormalised", "[measure]") {
  AttentionView view;
  view.weights = models::numbers({2, 2, 6, 6}, 1).abs(), view.probability = false;
  const auto errors = errors_of(view);
  for (const char* name : {"proxy", "renormalised", "first_token_mass"}) {
    CAPTURE(name);
    CHECK(errors.at(name) < 1e-6);
  }
}

}  // namespace sinkscope

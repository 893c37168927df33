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
  needs.column_sums = needs.entropy = true;
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

std::map<std::string, double> errors_of(const AttentionView& view) {
  ErrorTable table;
  compare_site(view, all_needs(), table);
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

TEST_CASE("a wrong log-sum-exp of a long sequence is found", "[measure]") {
  AttentionView view = long_view();
  view.lse += 0.01;
  CHECK(errors_of(view).at("log_sum_exp") > 0.005);
}

}  // namespace sinkscope

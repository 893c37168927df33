// The statistics of a site agree with float64 on the materialised matrix.
#include <ATen/ATen.h>

#include <cmath>
#include <limits>

#include "base/error.h"
#include "catch.h"
#include "kernels/reference.h"
#include "measure/made_masks.h"
#include "measure/site_statistics.h"
#include "models.h"

namespace sinkscope {
namespace {

using made_masks::additive;
using made_masks::band;

Needs all_needs() {
  Needs needs;
  needs.first_keys = 3, needs.after_first_k = 2, needs.tail_window = 4;
  needs.column_sums = needs.entropy = needs.key_norms = needs.value_norms = needs.head_output_norms = true;
  return needs;
}

/// Everything of a SiteBatch against probabilities P [B, H, Q, K] float64.
void check_against(const SiteBatch& site, const at::Tensor& p, double tolerance) {
  const auto close = [&](const at::Tensor& got, const at::Tensor& expected) {
    CHECK((got.to(at::kDouble) - expected).abs().max().item<double>() <= tolerance * static_cast<double>(p.size(2)));
  };
  const std::int64_t rows = p.size(2);
  close(site.first_keys.key_sum, p.narrow(3, 0, 3).sum(2));
  close(site.first_keys.first_query, p.select(3, 0).select(2, 0));
  close(site.first_keys.last_query, p.select(3, 0).select(2, rows - 1));
  close(site.first_keys.tail_sum, p.select(3, 0).narrow(2, rows - 4, 4).sum(-1));
  close(site.first_keys.after_first_k_sum, p.narrow(2, 2, rows - 2).narrow(3, 0, 2).sum({2, 3}));
  close(site.column_sum, p.sum(2));
  const at::Tensor entropy = at::xlogy(p, p).sum(-1).neg();
  close(site.entropy_sum, entropy.sum(-1));
  const at::Tensor visible = (p > 0).sum(-1).to(at::kDouble);
  close(site.normalised_entropy_sum,
        at::where(visible > 1, entropy / visible.log(), at::zeros({}, at::kDouble)).sum(-1));
  CHECK(site.row_sum_error.max().item<double>() <= tolerance * 10);
}

TEST_CASE("fused, blockwise and materialised statistics agree with float64", "[measure]") {
  constexpr std::int64_t kLength = 37;
  const at::Tensor q = models::numbers({2, 4, kLength, 16}, 1, 3), k = models::numbers({2, 2, kLength, 16}, 2, 3);
  const at::Tensor v = models::numbers({2, 2, kLength, 16}, 3);
  const at::Tensor bias = models::numbers({1, 4, kLength, kLength}, 4, 2);
  const struct {
    const char* name;
    bool causal;
    at::Tensor mask;
    const char* measured_by;
  } cases[] = {{"causal", true, {}, "fused"},
               {"bidirectional", false, {}, "fused"},
               {"window as a mask", false, band(kLength, 9).view({1, 1, kLength, kLength}), "fused"},
               {"causal without the last keys of one sequence", false,
                at::ones({kLength, kLength}, at::kBool)
                    .tril()
                    .logical_and(at::arange(kLength) < at::tensor({30, 37}).view({2, 1, 1, 1})),
                "fused"},
               {"causal beside a mask that hides nothing", true, at::ones({kLength, kLength}, at::kBool), "fused"},
               {"causal beside a padding of one row", true,
                (at::arange(kLength) < at::tensor({30, 37}).view({2, 1, 1, 1})), "fused"},
               {"causal beside a symmetric band", true,
                band(kLength, 9).logical_or(band(kLength, 9).t()).view({1, 1, kLength, kLength}), "fused"},
               {"causal beside a bias", true, bias, "blocks"},
               {"a bias", false, additive(at::ones({kLength, kLength}, at::kBool).tril(), -INFINITY) + bias, "blocks"}};
  for (const auto& c : cases) {
    CAPTURE(c.name);
    AttentionView view;
    view.query = q, view.key = k, view.value = v, view.score = {.scale = 0.25, .causal = c.causal};
    if (c.mask.defined()) view.mask = c.mask;
    AttentionCall call;
    call.query = q, call.key = k, call.score = {.scale = 0.25, .causal = c.causal}, call.mask = view.mask;
    const Reference truth = reference(call);
    view.output = at::matmul(truth.probabilities, v.to(at::kDouble).repeat_interleave(2, 1)).to(at::kFloat);
    MaskCache masks;
    const SiteBatch site = site_statistics(view, all_needs(), std::nullopt, masks);
    CHECK(site.measured_by == c.measured_by);
    CHECK(site.kv_heads == 2);
    const at::Tensor seen = (truth.probabilities > 0).sum(-1);
    for (std::size_t b = 0; b < 2; ++b)
      for (std::int64_t i = 0; i < kLength; ++i)
        CHECK(site.visibility.at(site.visibility.size() == 1 ? 0 : b).at(0)->visible(i) ==
              seen[static_cast<std::int64_t>(b)][0][i].item<std::int64_t>());
    CHECK(site.causal == (c.name != std::string("bidirectional")));
    check_against(site, truth.probabilities, 1e-6);
    CHECK(site.value_norm.first[1][0].item<double>() == near(v[1][0][0].norm().item<double>(), 1e-6));

    AttentionView matrix;
    matrix.key = k, matrix.value = v, matrix.output = view.output;
    matrix.weights = truth.probabilities.to(at::kFloat), matrix.scores = truth.scores.to(at::kFloat);
    const SiteBatch materialised = site_statistics(matrix, all_needs(), std::nullopt, masks);
    CHECK(materialised.measured_by == "materialised");
    CHECK(materialised.mask == site.mask);
    check_against(materialised, truth.probabilities, 1e-6);
  }
}

TEST_CASE("windows, chunks, soft caps and learned sinks of a score function agree with float64", "[measure]") {
  constexpr std::int64_t kLength = 37;
  const at::Tensor q = models::numbers({2, 4, kLength, 16}, 1, 3), k = models::numbers({2, 2, kLength, 16}, 2, 3);
  const at::Tensor sink = models::numbers({4}, 4, 2);
  Needs needs = all_needs();
  needs.learned_sink = true;
  const struct {
    ScoreFunction score;
    bool sinks;
    MaskKind mask;
    std::int64_t width;
  } cases[] = {{{.scale = 0.25, .causal = true, .window = 9}, false, MaskKind::window, 9},
               {{.scale = 0.25, .causal = true, .window = 64}, false, MaskKind::window, 64},
               {{.scale = 0.25, .causal = true, .chunk = 8}, false, MaskKind::chunk, 8},
               {{.scale = 0.25, .causal = true, .window = 5, .chunk = 8}, false, MaskKind::other, 0},
               {{.scale = 0.25, .causal = true, .softcap = 2}, false, MaskKind::causal, 0},
               {{.scale = 0.25, .causal = true, .window = 9, .softcap = 2}, true, MaskKind::window, 9}};
  for (const auto& c : cases) {
    CAPTURE(c.score.window, c.score.chunk, c.score.softcap, c.sinks);
    AttentionView view;
    view.query = q, view.key = view.value = k, view.output = q, view.score = c.score;
    if (c.sinks) view.sink_logit = sink;
    AttentionCall call;
    call.query = q, call.key = k, call.score = c.score, call.sink_logit = view.sink_logit;
    const Reference truth = reference(call);
    for (const bool with_lse : {true, false}) {
      view.lse = with_lse ? truth.lse.to(at::kFloat) : at::Tensor();
      MaskCache masks;
      const SiteBatch site = site_statistics(view, needs, std::nullopt, masks);
      CHECK(site.measured_by == "fused");
      CHECK(site.mask == c.mask);
      CHECK(site.mask_width == c.width);
      CHECK(site.softcap == c.score.softcap);
      CHECK(site.row_sum == (c.sinks ? "with_sink" : "one"));
      check_against(site, truth.probabilities, 1e-6);
      const at::Tensor& p = truth.probabilities;
      for (std::int64_t i = 0; i < kLength; ++i)
        CHECK(site.visibility[0].at(0)->visible(i) == (p[0][0][i] > 0).sum().item<std::int64_t>());
      CHECK(site.first_keys.learned_sink_sum.defined() == c.sinks);
      if (!c.sinks) continue;
      const at::Tensor rest = p.sum(-1);
      CHECK(at::allclose(site.first_keys.learned_sink_sum, (1 - rest).sum(-1), 1e-5, 1e-5));
      CHECK(at::allclose(site.first_keys.renormalised_sum, (p.select(3, 0) / rest).sum(-1), 1e-5, 1e-5));
    }
  }
}

TEST_CASE("a row that a finite fill value leaves no key is no query and adds nothing", "[measure]") {
  constexpr std::int64_t kLength = 10;
  const double lowest = std::numeric_limits<float>::lowest();
  at::Tensor visible = at::ones({2, 1, kLength, kLength}, at::kBool).tril();
  visible[0].narrow(2, 0, 4).fill_(false);  // four padding tokens before the first sequence, none before the second
  const at::Tensor is_query = visible.any(-1);
  AttentionCall call;
  call.query = models::numbers({2, 2, kLength, 16}, 1), call.key = models::numbers({2, 2, kLength, 16}, 2);
  AttentionView view;
  view.value = call.key, view.output = call.query, view.key = call.key, view.score = call.score;
  for (const bool biased : {false, true}) {
    at::Tensor mask = additive(visible, lowest);
    if (biased) mask = mask + models::numbers({2, 2, kLength, kLength}, 3);  // more than visibility: measured in blocks
    call.mask = mask;
    const Reference truth = reference(call);
    const at::Tensor uniform = truth.probabilities[0][0][0];
    CHECK(uniform.max().item<double>() > 0.05);  // what the operator makes of the hidden row
    const at::Tensor p = truth.probabilities * is_query.unsqueeze(-1);
    MaskCache masks;
    view.query = call.query, view.mask = mask, view.lse = truth.lse.to(at::kFloat);
    view.weights = view.scores = at::Tensor();
    const SiteBatch sdpa = site_statistics(view, all_needs(), std::nullopt, masks);
    CHECK(sdpa.measured_by == (biased ? "blocks" : "fused"));
    view.weights = truth.probabilities.to(at::kFloat), view.scores = truth.scores.to(at::kFloat);
    view.query = at::Tensor(), view.mask.reset();
    const SiteBatch materialised = site_statistics(view, all_needs(), std::nullopt, masks);
    for (const SiteBatch& site : {sdpa, materialised}) {
      check_against(site, p, 1e-6);
      CHECK(site.visibility.at(0).at(0)->queries() == 6);
      CHECK(site.visibility.at(0).at(0)->queries_in(0, 5) == 1);
      const at::Tensor norm = view.output.to(at::kDouble).norm(2, {-1}, false);
      CHECK(at::allclose(site.head_output_norm.mean[0], norm[0].narrow(1, 4, 6).mean(-1), 1e-5));
      CHECK(at::allclose(site.head_output_norm.mean[1], norm[1].mean(-1), 1e-5));
    }
  }
}

TEST_CASE("what a materialised softmax gives to a learned sink is known and taken off the row sums", "[measure]") {
  AttentionCall call;
  call.query = models::numbers({1, 2, 9, 16}, 1), call.key = models::numbers({1, 2, 9, 16}, 2);
  call.score.causal = true, call.sink_logit = models::numbers({2}, 3);
  const Reference truth = reference(call);
  AttentionView view;
  view.key = view.value = call.key, view.output = call.query;
  view.weights = truth.probabilities.to(at::kFloat), view.scores = truth.scores.to(at::kFloat);
  Needs needs = all_needs();
  needs.learned_sink = true;
  MaskCache masks;
  SiteBatch site = site_statistics(view, needs, std::nullopt, masks);
  CHECK(site.row_sum_error.min().item<double>() > site.row_sum_tolerance);  // rows that do not sum to one
  view.sink_mass = (1 - truth.probabilities.sum(-1)).to(at::kFloat);
  site = site_statistics(view, needs, std::nullopt, masks);
  CHECK(site.row_sum == "with_sink");
  check_against(site, truth.probabilities, 1e-6);
  CHECK(at::allclose(site.first_keys.learned_sink_sum, view.sink_mass.to(at::kDouble).sum(-1)));
}

TEST_CASE("what a learned sink leaves is renormalised also where it leaves next to nothing", "[measure]") {
  AttentionCall call;
  call.query = models::numbers({1, 2, 9, 16}, 1), call.key = models::numbers({1, 2, 9, 16}, 2);
  call.score.causal = true, call.sink_logit = at::full({2}, 25.F);
  const Reference truth = reference(call);
  const at::Tensor mass = truth.probabilities.sum(-1);
  AttentionView view;
  view.key = view.value = call.key, view.output = call.query;
  view.weights = truth.probabilities.to(at::kFloat), view.scores = truth.scores.to(at::kFloat);
  view.sink_mass = (1 - mass).to(at::kFloat);
  MaskCache masks;
  const SiteBatch site = site_statistics(view, all_needs(), std::nullopt, masks);
  CHECK(at::allclose(site.first_keys.renormalised_sum, (truth.probabilities.select(3, 0) / mass).sum(-1), 1e-5));
}

TEST_CASE("weights that an author declared are measured as they are, with a proxy where rows have any sum",
          "[measure]") {
  constexpr std::int64_t kLength = 12;
  const at::Tensor visible = band(kLength, 5);
  const at::Tensor sigmoid = at::sigmoid(models::numbers({2, 3, kLength, kLength}, 1, 3)).masked_fill(~visible, 0);
  AttentionView view;
  view.weights = sigmoid;
  view.probability = false;
  MaskCache masks;
  SiteBatch site = site_statistics(view, all_needs(), std::nullopt, masks);
  CHECK(site.measured_by == "marked");
  CHECK(site.row_sum == "free");
  CHECK(site.kv_heads == 0);
  CHECK(site.mask == MaskKind::window);
  CHECK(site.mask_width == 5);
  CHECK_FALSE(site.key_norm.first.defined());
  CHECK_FALSE(site.head_output_norm.mean.defined());
  const at::Tensor w = sigmoid.to(at::kDouble), proxy = w / (w.sum(-1, true) + 1e-8);
  check_against(site, w, 1e-6);
  CHECK(at::allclose(site.proxy_key_sum, proxy.narrow(3, 0, 3).sum(2)));
  CHECK(at::allclose(site.first_keys.renormalised_sum, proxy.select(3, 0).sum(2)));

  view.probability = true;  // now the rows should sum to one, and do not
  CHECK(site_statistics(view, all_needs(), std::nullopt, masks).row_sum_error.min().item<double>() > 0.1);
  view.weights = proxy.to(at::kFloat);
  site = site_statistics(view, all_needs(), std::nullopt, masks);
  CHECK(site.row_sum == "one");
  CHECK(site.row_sum_error.max().item<double>() < 1e-5);
  CHECK_FALSE(site.proxy_key_sum.defined());

  view.weights = -sigmoid;  // weights of any sign: no entropy, the rest stands
  view.probability = false;
  site = site_statistics(view, all_needs(), std::nullopt, masks);
  CHECK(site.entropy_sum.isnan().all().item<bool>());
  CHECK(at::allclose(site.proxy_key_sum, proxy.narrow(3, 0, 3).sum(2)));
  CHECK(site.row_sum_error.max().item<double>() < 1e-5);
}

TEST_CASE("rows that do not sum to one are seen", "[measure]") {
  const at::Tensor q = models::numbers({1, 2, 9, 16}, 1), k = models::numbers({1, 2, 9, 16}, 2);
  AttentionView view;
  view.query = q, view.key = k, view.value = k, view.output = q, view.score.causal = true;
  AttentionCall call;
  call.query = q, call.key = k, call.score.causal = true;
  view.lse = reference(call).lse.to(at::kFloat);
  view.lse.select(1, 1) += 0.01;  // one head's normaliser is wrong by one per cent
  MaskCache masks;
  const SiteBatch site = site_statistics(view, all_needs(), std::nullopt, masks);
  CHECK(site.row_sum_error[0][0].item<double>() < site.row_sum_tolerance);
  CHECK(site.row_sum_error[0][1].item<double>() > site.row_sum_tolerance);
}

TEST_CASE("rows of a matrix are summed also where only the first keys are asked for", "[measure]") {
  Needs needs;
  needs.first_keys = 1;
  AttentionView view;
  view.weights = at::full({1, 2, 4, 4}, 0.125), view.probability = true;  // sums of a half
  MaskCache masks;
  CHECK(site_statistics(view, needs, std::nullopt, masks).row_sum_error.min().item<double>() == 0.5);
  view.weights = at::full({1, 2, 4, 4}, 0.25);
  CHECK(site_statistics(view, needs, std::nullopt, masks).row_sum_error.max().item<double>() == 0);
}

TEST_CASE("probabilities that do not fit their keys are refused", "[measure]") {
  AttentionView view;
  view.weights = view.scores = at::ones({1, 2, 4, 4});
  view.key = at::ones({1, 2, 5, 3}), view.value = at::ones({1, 2, 4, 3}), view.output = at::ones({1, 2, 4, 3});
  MaskCache masks;
  CHECK_THROWS_AS(site_statistics(view, all_needs(), std::nullopt, masks), InputError);
}

}  // namespace
}  // namespace sinkscope

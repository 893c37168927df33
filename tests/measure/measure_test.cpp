// From a saved module to metric results.
#include <ATen/ATen.h>

#include "base/error.h"
#include "catch.h"
#include "measure/batch_recorder.h"
#include "measure/instrument.h"
#include "measure/measure.h"
#include "measure/verify.h"
#include "models.h"

namespace sinkscope {
namespace {

MeasureConfig config_of(const std::string& path, const std::vector<std::string>& metrics) {
  MeasureConfig config;
  config.model = path;
  config.device = Device::cpu;
  for (const std::string& name : metrics)
    config.metrics.push_back({&find_metric(name), Parameters(find_metric(name).parameters)});
  return config;
}

Input input_of(const std::vector<std::int64_t>& lengths) {
  Input input;
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    const at::Tensor ids = models::ids(1, lengths[i], 100 + i);
    const auto* data = ids.const_data_ptr<std::int64_t>();
    input.sequences.push_back({SequenceId{static_cast<std::int64_t>(i)}, {data, data + lengths[i]}, lengths[i]});
    input.info.max_length = std::max(input.info.max_length, lengths[i]);
  }
  input.info.source = "tokens";
  return input;
}

const Measurement& of(const MeasureResult& result, const std::string& name) {
  for (const MetricResult& m : result.metrics)
    if (m.spec->name == name) return m.measurement;
  throw std::logic_error(name);
}

TEST_CASE("fused and hand-written attention of one model give one result", "[measure]") {
  const std::vector<std::string> metrics{"first_token_mass", "attention_entropy", "dominant_key",
                                         "head_output_norm", "value_norm",        "loss"};
  const models::SavedModel fused(models::language_model(models::kFused)),
      by_hand(models::language_model(models::kByHand));
  const Input input = input_of({9, 12, 12, 5});
  const MeasureConfig a = config_of(fused.path(), metrics), b = config_of(by_hand.path(), metrics);
  const InstrumentedModel first = instrument(a), second = instrument(b);
  const MeasureResult x = measure(first, a, input, {}), y = measure(second, b, input, {});
  CHECK(x.layout.sites[0].measured_by == "fused");
  CHECK(y.layout.sites[0].measured_by == "materialised");
  CHECK(y.layout.sites[0].mask == "causal");
  for (const std::string& name : metrics) {
    CAPTURE(name);
    REQUIRE(of(x, name).value.has_value());
    CHECK(*of(x, name).value == near(*of(y, name).value, 1e-5));
  }
  CHECK(of(x, "first_token_mass").count == 4 * 2 * 2);
}

TEST_CASE("how sequences are batched does not change a number beyond rounding", "[measure]") {
  const models::SavedModel saved(models::language_model());
  MeasureConfig config = config_of(saved.path(), {"first_token_mass", "loss", "hidden_norm"});
  const InstrumentedModel model = instrument(config);
  const Input input = input_of({8, 8, 8, 8, 8});
  const MeasureResult together = measure(model, config, input, {});
  config.input.batch = 1;
  const MeasureResult alone = measure(model, config, input, {});
  for (const char* name : {"first_token_mass", "loss", "hidden_norm"})
    CHECK(*of(together, name).value == near(*of(alone, name).value, 1e-5));
  CHECK(of(together, "loss").per_sequence.size() == 5);
}

TEST_CASE("the loss is the mean negative log-likelihood of the next token", "[measure]") {
  at::Tensor logits = at::zeros({1, 3, 4});
  logits[0][0][2] = 1.0;  // predicts id 2; then uniform
  const at::Tensor ids = at::tensor({0, 2, 1}, at::kLong).view({1, 3});
  const double expected = (std::log(std::exp(1.0) + 3) - 1) + std::log(4.0);
  CHECK(next_token_nll(logits, ids)[0].item<double>() == near(expected, 1e-6));
  CHECK(next_token_nll(logits.narrow(1, 0, 1), ids.narrow(1, 0, 1))[0].item<double>() == 0);
}

TEST_CASE("an interrupted run reports what it has", "[measure]") {
  const models::SavedModel saved(models::language_model());
  MeasureConfig config = config_of(saved.path(), {"first_token_mass"});
  config.input.batch = 1;
  int asked = 0;
  MeasureHooks hooks;
  hooks.interrupted = [&] { return ++asked > 2; };
  const InstrumentedModel model = instrument(config);
  const MeasureResult result = measure(model, config, input_of({6, 6, 6, 6}), hooks);
  CHECK_FALSE(result.complete);
  CHECK(of(result, "first_token_mass").count == 2 * 2 * 2);
}

TEST_CASE("NaN parameters are found, counted and never become a value", "[measure]") {
  torch::jit::Module broken = models::language_model();
  at::Tensor out =
      broken.attr("blocks").toModule().attr("0").toModule().attr("attention").toModule().attr("qkv").toTensor();
  out[0][0] = NAN;
  const models::SavedModel saved(broken);
  const MeasureConfig config = config_of(saved.path(), {"first_token_mass", "massive_activation"});
  const InstrumentedModel model = instrument(config);
  const MeasureResult result = measure(model, config, input_of({6, 6}), {});
  CHECK(result.numerical_failure);
  CHECK(of(result, "first_token_mass").rejected > 0);
}

TEST_CASE("verification of a sound model finds only rounding", "[measure]") {
  for (const char* source : {models::kFused, models::kByHand}) {
    const models::SavedModel saved(models::language_model(source));
    const MeasureConfig config = config_of(
        saved.path(), {"first_token_mass", "attention_entropy", "dominant_key", "massive_activation", "key_norm"});
    const VerifyInfo info = verify(instrument(config), config, input_of({20, 20}));
    CHECK(info.logits_bit_identical);
    CHECK(info.prefix_consistent);
    CHECK(info.max_error.size() >= 5);
    for (const auto& [name, error] : info.max_error) {
      CAPTURE(name);
      CHECK(*error <= 1e-5);
    }
  }
}

TEST_CASE("a model with a length baked in does not pass verification", "[measure]") {
  torch::jit::Module m = models::language_model();
  torch::jit::Module outer("Outer");
  outer.register_module("model", m);
  outer.define("def forward(self, ids):\n    return self.model.forward(ids) + torch.ones([1, 20, 1])\n");
  const models::SavedModel saved(outer);
  const MeasureConfig config = config_of(saved.path(), {"first_token_mass"});
  CHECK_THROWS_AS(verify(instrument(config), config, input_of({20})), InputError);
}

TEST_CASE("layers, globs and the expected number of sites are obeyed", "[measure]") {
  const models::SavedModel saved(models::language_model());
  MeasureConfig config = config_of(saved.path(), {"first_token_mass"});
  config.layers = "1";
  CHECK(instrument(config).layout.sites.at(0).path == "blocks.1.attention");
  config.layers.reset();
  config.sites = "*.0.*";
  CHECK(instrument(config).layout.sites.size() == 1);
  config.sites = "nothing";
  CHECK_THROWS_AS(instrument(config), UsageError);
  config.sites.reset();
  config.expect_sites = 3;
  CHECK_THROWS_AS(instrument(config), InputError);
}

TEST_CASE("a site in a branch that is not taken is listed, warned of and has no value", "[measure]") {
  torch::jit::Module m("Branching");
  m.register_parameter("embedding", models::numbers({models::kVocabulary, models::kWidth}, 1), false);
  m.register_module("always", models::block(3));
  m.register_module("sometimes", models::block(4));
  m.define(R"(
def forward(self, ids):
    x = self.always.forward(torch.embedding(self.embedding, ids))
    if ids.size(1) > 100:
        x = self.sometimes.forward(x)
    return x
)");
  const models::SavedModel saved(m);
  const MeasureConfig config = config_of(saved.path(), {"first_token_mass"});
  const MeasureResult result = measure(instrument(config), config, input_of({6}), {});
  REQUIRE(result.layout.sites.size() == 2);
  CHECK(result.layout.sites[1].calls == 0);
  CHECK(of(result, "first_token_mass").count == 2);
  const bool warned = std::any_of(result.warnings.begin(), result.warnings.end(),
                                  [](const Warning& w) { return w.code == "site_not_reached"; });
  CHECK(warned);
}

TEST_CASE("models that cannot be measured are refused with a reason", "[measure]") {
  torch::jit::Module no_attention("Plain");
  no_attention.define("def forward(self, ids):\n    return ids + 1\n");
  const models::SavedModel plain(no_attention);
  CHECK_THROWS_WITH(instrument(config_of(plain.path(), {"first_token_mass"})), contains("found no attention"));

  torch::jit::Module two("Two");
  two.define("def forward(self, ids, weights):\n    return torch.softmax(ids + weights, -1)\n");
  const models::SavedModel wants_more(two);
  CHECK_THROWS_WITH(instrument(config_of(wants_more.path(), {"first_token_mass"})), contains("weights"));
}

TEST_CASE("a graph with its own dtype in a cast is not moved to another", "[measure]") {
  torch::jit::Module m = models::language_model();
  const models::SavedModel clean(m);
  MeasureConfig config = config_of(clean.path(), {"first_token_mass"});
  config.dtype = DType::bfloat16;
  CHECK(instrument(config).loaded.dtype == "bfloat16");

  torch::jit::Module outer("Outer");
  outer.register_module("model", m);
  outer.define("def forward(self, ids):\n    return self.model.forward(ids).to(dtype=6)\n");
  const models::SavedModel casting(outer);
  config.model = casting.path();
  CHECK_THROWS_WITH(instrument(config), contains("--dtype bfloat16"));
}

}  // namespace
}  // namespace sinkscope

// Parameters read ahead of their use.
#include "model/weight_stream.h"

#include <ATen/ATen.h>
#include <unistd.h>

#include <map>

#include "base/error.h"
#include "catch.h"
#include "files/temporary.h"

namespace sinkscope {
namespace {

constexpr int kTensors = 6;

/// t0 [0 0 0], t1 [1 1 1], ...
MatchedWeights weights_in(const TemporaryFolder& folder, float add = 0) {
  std::vector<std::vector<float>> values;
  for (int i = 0; i < kTensors; ++i) values.emplace_back(3, static_cast<float>(i) + add);
  std::vector<NamedArray> arrays;
  for (std::size_t i = 0; i < kTensors; ++i) arrays.push_back({"t" + std::to_string(i), {3}, std::span(values[i])});
  AtomicFile out = AtomicFile::open(folder / "w.safetensors");
  write_safetensors(out, std::move(arrays));
  MatchedWeights matched;
  matched.checkpoint = std::make_shared<const Checkpoint>(folder / "w.safetensors");
  for (const TensorView* view : matched.checkpoint->tensors()) {
    Recipe recipe;
    recipe.name = view->name;
    matched.matches.push_back({"p." + view->name, placeholder({3}, at::kFloat), recipe, true});
  }
  return matched;
}

float first(const at::Tensor& tensor) { return tensor.select(0, 0).item<float>(); }

TEST_CASE("a stream gives each step its parameter, run after run, also when steps are left out", "[model]") {
  const TemporaryFolder folder;
  WeightStream stream(at::kCPU);
  stream.open(weights_in(folder));
  CHECK(stream.parameters().size() == kTensors);
  const std::int64_t plan = stream.new_plan();
  stream.set_plan(plan, {"p.t0", "p.t3", "p.t1", "p.t1", "p.t5", "p.t2"});
  const std::vector<float> values = {0, 3, 1, 1, 5, 2};
  for (const auto& run : std::vector<std::vector<std::int64_t>>{
           {0, 1, 2, 3, 4, 5}, {0, 1, 2, 3, 4, 5}, {0, 5}, {3, 4, 5}, {1, 1, 0, 5, 2}, {0}, {0, 2, 4}}) {
    for (const std::int64_t step : run)
      CHECK(first(stream.fetch(plan, step)) == values[static_cast<std::size_t>(step)]);
  }
}

TEST_CASE("another checkpoint can be put under a plan", "[model]") {
  const TemporaryFolder folder, other;
  WeightStream stream(at::kCPU);
  stream.open(weights_in(folder));
  const std::int64_t plan = stream.new_plan();
  stream.set_plan(plan, {"p.t0", "p.t1", "p.t2"});
  CHECK(first(stream.fetch(plan, 0)) == 0);
  stream.open(weights_in(other, 10));
  for (std::int64_t step = 0; step < 3; ++step) CHECK(first(stream.fetch(plan, step)) == 10 + static_cast<float>(step));
}

TEST_CASE("two graphs take turns with a stream, each by its own plan", "[model]") {
  const TemporaryFolder folder;
  WeightStream stream(at::kCPU);
  stream.open(weights_in(folder));
  const std::int64_t plain = stream.new_plan(), tapped = stream.new_plan();
  stream.set_plan(plain, {"p.t0", "p.t3"});
  stream.set_plan(tapped, {"p.t0", "p.t1", "p.t3", "p.t4"});
  for (int turn = 0; turn < 2; ++turn) {
    for (const auto& [step, value] : std::map<std::int64_t, float>{{0, 0}, {1, 3}})
      CHECK(first(stream.fetch(plain, step)) == value);
    for (const auto& [step, value] : std::map<std::int64_t, float>{{0, 0}, {1, 1}, {2, 3}, {3, 4}})
      CHECK(first(stream.fetch(tapped, step)) == value);
  }
}

TEST_CASE("a stream is found by the number of a plan while it lives", "[model]") {
  std::int64_t plan = 0;
  {
    WeightStream stream(at::kCPU), another(at::kCPU);
    plan = stream.new_plan();
    CHECK(&WeightStream::find(plan) == &stream);
    CHECK(another.new_plan() != plan);
    CHECK(stream.new_plan() != plan);
  }
  CHECK_THROWS_AS(WeightStream::find(plan), std::logic_error);
}

TEST_CASE("a parameter that no checkpoint fills cannot be planned", "[model]") {
  const TemporaryFolder folder;
  WeightStream stream(at::kCPU);
  stream.open(weights_in(folder));
  CHECK_THROWS_AS(stream.set_plan(stream.new_plan(), {"p.t9"}), InputError);
}

TEST_CASE("what goes wrong while reading ahead is thrown at the step that needs it", "[model]") {
  const TemporaryFolder folder;
  WeightStream stream(at::kCPU);
  stream.open(weights_in(folder));
  const std::int64_t plan = stream.new_plan();
  stream.set_plan(plan, {"p.t0"});
  REQUIRE(truncate((folder / "w.safetensors").c_str(), 30) == 0);
  CHECK_THROWS_WITH(stream.fetch(plan, 0), contains("shorter"));
}

}  // namespace
}  // namespace sinkscope

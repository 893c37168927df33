#pragma once
// Parameters that are read when the run reaches them and dropped after their last use, so that a model need not fit the
// memory.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "model/match_weights.h"

namespace sinkscope {

/// Reads parameters ahead of their use, in a thread of its own. Each graph has a plan, and a run of it fetches steps
/// 0, 1, 2, ... of that; steps may be left out (a branch not taken) and the plan may begin again. What is read and not
/// yet fetched holds at most kReadAhead bytes or, where a single parameter is larger, that one.
class WeightStream {
 public:
  static constexpr std::int64_t kReadAhead = std::int64_t{1} << 28;

  explicit WeightStream(at::Device device);
  ~WeightStream();
  WeightStream(const WeightStream&) = delete;
  WeightStream& operator=(const WeightStream&) = delete;

  /// Takes over what the parameters are made of; may be called again between two runs.
  void open(MatchedWeights weights);
  /// Names of the parameters that open() was given.
  std::set<std::string> parameters() const;

  /// Adds an empty plan. Its number finds this object while it lives: an operator of a graph has no other way to it.
  std::int64_t new_plan();
  /// The parameter of each step. Call open() first. Throws InputError for a name that it was not given.
  void set_plan(std::int64_t plan, std::vector<std::string> steps);

  /// The parameter of a step, on the device. Waits until it has been read. Throws what reading it threw.
  at::Tensor fetch(std::int64_t plan, std::int64_t step);

  /// The stream of a plan. Throws std::logic_error if there is none of that number.
  static WeightStream& find(std::int64_t plan);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace sinkscope

#pragma once
// What of a checkpoint does not fit a model.

#include <map>
#include <string>
#include <vector>

namespace sinkscope {

/// Problems by kind; thrown as one message.
class WeightProblems {
 public:
  void add(const std::string& kind, std::string what) { lists_[kind].push_back(std::move(what)); }
  /// Throws InputError that lists the first few of each kind.
  void throw_if_any(const std::string& weights, const std::string& model) const;

 private:
  std::map<std::string, std::vector<std::string>> lists_;
};

}  // namespace sinkscope

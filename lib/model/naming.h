#pragma once
// The names of a model's parameters and those of a checkpoint's tensors may differ by one common prefix.

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "files/checkpoint.h"

namespace sinkscope {

/// What is put before a name, or taken away from it, to have the name in the checkpoint.
struct Naming {
  std::string add, strip;
  std::string in_file(const std::string& name) const;
  std::string prefix() const { return add + strip; }
};

/// The namings under which most of `names` are in the checkpoint; of those alike, the ones under which fewest tensors
/// are unwanted; of those, only the one without a prefix if it is there. Never empty.
std::vector<Naming> find_namings(const std::set<std::string>& names, const Checkpoint& checkpoint,
                                 const std::function<bool(const std::string& tensor)>& unwanted);

}  // namespace sinkscope

#pragma once
// The names of a model's parameters and those of a checkpoint's tensors may differ by one common prefix.

#include <set>
#include <string>

#include "files/checkpoint.h"

namespace sinkscope {

/// What is put before a name, or taken away from it, to have the name in the checkpoint.
struct Naming {
  std::string add, strip;
  std::string in_file(const std::string& name) const;
};

/// The naming under which most of `names` are in the checkpoint; no prefix where that does as well.
Naming find_naming(const std::set<std::string>& names, const Checkpoint& checkpoint);

}  // namespace sinkscope

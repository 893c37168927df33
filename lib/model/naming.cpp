#include "model/naming.h"

#include <algorithm>
#include <utility>

namespace sinkscope {

std::string Naming::in_file(const std::string& name) const {
  if (!strip.empty()) return name.starts_with(strip) ? name.substr(strip.size()) : name;
  return add + name;
}

Naming find_naming(const std::set<std::string>& names, const Checkpoint& checkpoint) {
  std::set<std::pair<std::string, std::string>> candidates;
  for (const std::string& name : names)
    for (auto dot = name.find('.'); dot != std::string::npos; dot = name.find('.', dot + 1))
      if (checkpoint.find(name.substr(dot + 1)) != nullptr) candidates.emplace("", name.substr(0, dot + 1));
  for (const TensorView* tensor : checkpoint.tensors())
    for (auto dot = tensor->name.find('.'); dot != std::string::npos; dot = tensor->name.find('.', dot + 1))
      if (names.contains(tensor->name.substr(dot + 1))) candidates.emplace(tensor->name.substr(0, dot + 1), "");

  const auto found = [&](const Naming& naming) {
    return std::count_if(names.begin(), names.end(),
                         [&](const std::string& name) { return checkpoint.find(naming.in_file(name)) != nullptr; });
  };
  Naming best;
  auto most = found(best);
  for (const auto& [add, strip] : candidates) {
    if (most == std::ssize(names)) break;
    const Naming naming{add, strip};
    if (const auto count = found(naming); count > most) best = naming, most = count;
  }
  return best;
}

}  // namespace sinkscope

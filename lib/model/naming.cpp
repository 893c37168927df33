#include "model/naming.h"

#include <cstdint>
#include <utility>

namespace sinkscope {

std::string Naming::in_file(const std::string& name) const {
  if (!strip.empty()) return name.starts_with(strip) ? name.substr(strip.size()) : name;
  return add + name;
}

std::vector<Naming> find_namings(const std::set<std::string>& names, const Checkpoint& checkpoint,
                                 const std::function<bool(const std::string& tensor)>& unwanted) {
  std::set<std::pair<std::string, std::string>> candidates{{"", ""}};  // which comes first
  for (const std::string& name : names)
    for (auto dot = name.find('.'); dot != std::string::npos; dot = name.find('.', dot + 1))
      if (checkpoint.find(name.substr(dot + 1)) != nullptr) candidates.emplace("", name.substr(0, dot + 1));
  for (const TensorView* tensor : checkpoint.tensors())
    for (auto dot = tensor->name.find('.'); dot != std::string::npos; dot = tensor->name.find('.', dot + 1))
      if (names.contains(tensor->name.substr(dot + 1))) candidates.emplace(tensor->name.substr(0, dot + 1), "");

  using Fit = std::pair<std::int64_t, std::int64_t>;  // names that are there, and those of them that are wanted
  const auto fit_of = [&](const Naming& naming) {
    Fit fit;
    for (const std::string& name : names)
      if (const std::string tensor = naming.in_file(name); checkpoint.find(tensor) != nullptr)
        ++fit.first, fit.second += unwanted(tensor) ? 0 : 1;
    return fit;
  };
  std::vector<Naming> best;
  Fit most;
  for (const auto& [add, strip] : candidates) {
    const Naming naming{add, strip};
    const Fit fit = fit_of(naming);
    if (best.empty() || fit > most)
      best = {naming}, most = fit;
    else if (fit == most && !best.front().prefix().empty())
      best.push_back(naming);
  }
  return best;
}

}  // namespace sinkscope

#include "graph/module_path.h"

#include <algorithm>

namespace sinkscope {

std::string parent_of(const std::string& path) {
  const auto dot = path.find_last_of('.');
  return dot == std::string::npos ? std::string() : path.substr(0, dot);
}

std::string last_of(const std::string& path) { return path.substr(path.find_last_of('.') + 1); }

bool is_list_element(const std::string& path) {
  const std::string name = last_of(path);
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) { return c >= '0' && c <= '9'; });
}

bool contains(const std::string& module, const std::string& path) {
  return module.empty() || path == module ||
         (path.size() > module.size() && path.compare(0, module.size(), module) == 0 && path[module.size()] == '.');
}

std::string join_path(const std::string& module, std::string_view name) {
  std::string path = module;
  if (!path.empty() && !name.empty()) path += '.';
  return path.append(name);
}

}  // namespace sinkscope

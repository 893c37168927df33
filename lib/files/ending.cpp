#include "files/ending.h"

#include <cctype>
#include <filesystem>

namespace sinkscope {

std::string ending_of(const std::string& path) {
  std::string ending = std::filesystem::path(path).extension().string();
  for (char& c : ending) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return ending;
}

}  // namespace sinkscope

# Run at build time: writes OUTPUT, a source file with every file named in LIST (one path a line, below ROOT) as a string literal.

file(STRINGS ${LIST} paths)
list(LENGTH paths count)
set(names)
set(contents)
foreach(path IN LISTS paths)
  file(RELATIVE_PATH name ${ROOT} ${path})
  file(READ ${path} content)
  string(APPEND names "    \"${name}\",\n")
  string(APPEND contents "    R\"sinkscope_file(${content})sinkscope_file\",\n")
endforeach()

file(WRITE ${OUTPUT} "// Written by cmake/write_embedded.cmake.
#include \"base/embedded.h\"

#include <algorithm>
#include <array>
#include <cstddef>
#include <stdexcept>
#include <string>

namespace sinkscope::embedded {
namespace {

constexpr std::array<std::string_view, ${count}> kNames{
${names}};
constexpr std::array<std::string_view, ${count}> kContents{
${contents}};

}  // namespace

std::span<const std::string_view> names() { return kNames; }

std::string_view file(std::string_view name) {
  const auto found = static_cast<std::size_t>(std::find(kNames.begin(), kNames.end(), name) - kNames.begin());
  if (found == kNames.size()) throw std::out_of_range(\"no embedded file named \" + std::string(name));
  return kContents.at(found);
}

}  // namespace sinkscope::embedded
")

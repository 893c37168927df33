#include "torch_commands.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <array>
#include <filesystem>
#include <optional>

namespace sinkscope {
namespace {

namespace fs = std::filesystem;
constexpr const char* kModule = "sinkscope_torch.so";

/// Beside the program in the build folder, in lib when installed. The program's real place counts, not that of a link
/// to it.
std::array<fs::path, 2> places() {
  std::error_code error;
  const fs::path folder = fs::read_symlink("/proc/self/exe", error).parent_path();
  return {folder / kModule, (folder / ".." / "lib" / "sinkscope" / kModule).lexically_normal()};
}

std::optional<fs::path> find_module() {
  std::error_code error;
  for (const fs::path& place : places())
    if (fs::exists(place, error)) return place;
  return std::nullopt;
}

}  // namespace

bool torch_module_present() { return find_module().has_value(); }

Exit run_in_torch_module(int argc, char** argv) {
  const auto path = find_module();
  if (!path)
    throw Error(
        Exit::internal,
        fmt::format(
            "{}: this command runs a model and needs {}, which is neither at {} nor at {}. This sinkscope was built "
            "with -DSINKSCOPE_TORCH=OFF, or is installed incompletely: build it with -DSINKSCOPE_TORCH=ON.",
            argv[1], kModule, places()[0].string(), places()[1].string()));
  void* module = dlopen(path->c_str(), RTLD_NOW | RTLD_LOCAL);
  if (module == nullptr) {
    const char* reason = dlerror();
    throw Error(Exit::internal,
                fmt::format("{}: cannot be loaded: {}. Is libtorch where it was when sinkscope was built?",
                            path->string(), reason != nullptr ? reason : "unknown reason"));
  }
  const auto entry = reinterpret_cast<int (*)(int, char**)>(dlsym(module, "sinkscope_torch_main"));
  if (entry == nullptr)
    throw Error(
        Exit::internal,
        fmt::format("{}: has no sinkscope_torch_main; it belongs to another version of sinkscope.", path->string()));
  return static_cast<Exit>(entry(argc, argv));  // never closed: libtorch does not survive being unloaded
}

}  // namespace sinkscope

#include "report/outputs.h"

#include <exception>
#include <functional>

#include "report/render.h"
#include "report/report.h"

namespace sinkscope {

Outputs::Outputs(const MeasureConfig& config) {
  const auto open = [](std::optional<AtomicFile>& file, const std::optional<std::string>& path) {
    if (path) file.emplace(AtomicFile::open(*path));
  };
  open(report_, config.output);
  open(stdout_, config.json ? std::optional<std::string>("-") : std::nullopt);
  open(csv_, config.csv);
  open(markdown_, config.markdown);
  open(arrays_, config.arrays);
}

void Outputs::write(const nlohmann::ordered_json& report) {
  std::exception_ptr failure;
  const auto write = [&](std::optional<AtomicFile>& file, const std::function<std::string()>& text) {
    if (!file) return;
    try {
      file->commit(text());
    } catch (...) {
      if (!failure) failure = std::current_exception();
    }
  };
  write(report_, [&] { return dump(report); });
  write(csv_, [&] { return render_csv({{.path = "", .name = "", .json = report}}); });
  write(markdown_, [&] { return render_markdown(report); });
  write(stdout_, [&] { return dump(report); });
  if (failure) std::rethrow_exception(failure);
}

}  // namespace sinkscope

#include "report/outputs.h"

#include <cstdio>
#include <exception>
#include <functional>

#include "report/benchmark_json.h"
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
  open(benchmark_json_, config.benchmark_json);
  open(arrays_, config.arrays);
  quiet_ = config.quiet;
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
  write(benchmark_json_, [&] {
    Benchmarks benchmarks;
    add_benchmarks(benchmarks, report);
    if (const std::string left_out = left_out_words(benchmarks); !quiet_ && !left_out.empty())
      std::fprintf(stderr, "sinkscope: warning: %s\n", left_out.c_str());
    return dump(benchmarks.entries);
  });
  write(stdout_, [&] { return dump(report); });
  if (failure) std::rethrow_exception(failure);
}

}  // namespace sinkscope

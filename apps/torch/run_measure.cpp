// sinkscope measure, the part that runs the model.
#include "run_measure.h"

#include <fmt/format.h>

#include <cstdio>
#include <exception>

#include "base/interrupt.h"
#include "base/keep_going.h"
#include "base/print.h"
#include "base/progress.h"
#include "base/terminal.h"
#include "config/preflight.h"
#include "dry_run.h"
#include "measure/instrument.h"
#include "measure/measure.h"
#include "measure/provenance.h"
#include "measure/verify.h"
#include "report/outputs.h"
#include "report/render.h"

namespace sinkscope {
namespace {

void print_table(const MeasureConfig& config, const nlohmann::ordered_json& json) {
  TableOptions options;
  options.width = static_cast<std::size_t>(terminal_width(Output::out));
  options.color = use_color(Output::out, config.color);
  print(render_table(json, options));
}

/// A file that cannot be written costs neither the other files nor the table.
void write(const MeasureConfig& config, Outputs& outputs, const Report& report, const Arrays& arrays,
           const std::vector<std::size_t>& ran) {
  const nlohmann::ordered_json json = to_json(report);
  KeepGoing results;
  results.run([&] { outputs.write_files(json); });
  if (outputs.arrays() != nullptr) results.run([&] { arrays.write(*outputs.arrays(), report.layout, ran); });
  end_quietly_on_closed_pipe();
  results.run([&] { outputs.print(json); });
  if (prints_table(config)) results.run([&] { print_table(config, json); });
  results.rethrow();
}

}  // namespace

Exit run_measure(const MeasureConfig& config, std::vector<std::string> argv) {
  install_interrupt_handlers();
  survive_closed_pipe();
  Outputs outputs(config);
  set_threads(config);
  InstrumentedModel model = instrument(config);
  Input input = build_input(config.input, facts_of(model));
  if (config.dry_run) {
    end_quietly_on_closed_pipe();
    print(dry_run(model, config, input));
    return Exit::ok;
  }
  Report report = report_head(model, config, input, std::move(argv));
  if (config.verify) report.verify = verify(model, config, input);

  Arrays arrays(static_cast<std::int64_t>(input.sequences.size()), common_length(input.sequences));
  Progress progress("measuring", static_cast<std::int64_t>(input.sequences.size()), "sequences", "tokens",
                    use_progress(config.progress && !config.quiet));
  MeasureHooks hooks;
  hooks.interrupted = [] { return interrupted(); };
  hooks.progress = [&](std::int64_t sequences, std::int64_t tokens) { progress.update(sequences, tokens); };
  if (config.arrays) hooks.arrays = &arrays;
  MeasureResult result = measure(model, config, input, hooks);
  progress.clear();

  const std::exception_ptr problem = result.problem;
  const std::vector<std::size_t> ran = result.ran;
  complete_report(report, std::move(result), input);
  write(config, outputs, report, arrays, ran);
  if (problem) std::rethrow_exception(problem);
  if (!report.complete) return interrupt_exit();
  if (report.numerical_failure) {
    std::fprintf(
        stderr,
        "sinkscope: error: a NaN, an Inf or rows that do not have the sum they should were found; the values they "
        "touch are null and counted under `rejected`. The report is written.\n");
    return Exit::numerical;
  }
  return Exit::ok;
}

}  // namespace sinkscope

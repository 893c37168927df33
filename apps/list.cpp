// sinkscope list: the table of metrics.
#include <fmt/core.h>

#include <CLI/CLI.hpp>

#include "base/print.h"
#include "base/terminal.h"
#include "commands.h"
#include "config/command_line.h"
#include "metric/metric.h"
#include "report/metric_list.h"

namespace sinkscope {
namespace {

constexpr const char* kExamples = R"(Examples:
  sinkscope list
  sinkscope list --format markdown
  sinkscope list --json
)";

}  // namespace

Exit list_command(int argc, char** argv) {
  CLI::App app("Lists the metrics: name, unit, definition, parameters with defaults, cost, default tolerance.");
  SettingSource given;
  std::string format = "text";
  bool json = false;
  app.add_option("--format", format, "text, markdown or json")->type_name("FORMAT");
  app.add_flag("--json", json, "the same as --format json");
  add_common_options(app, given);
  app.footer(kExamples);
  parse(app, argc, argv);
  if (json) format = "json";

  std::string text;
  if (format == "text") {
    text = list_as_text(all_metrics(), static_cast<std::size_t>(terminal_width(Output::out)),
                        use_color(Output::out, common_options(given).color));
  } else if (format == "markdown") {
    text = list_as_markdown(all_metrics());
  } else if (format == "json") {
    text = list_as_json(all_metrics());
  } else {
    throw UsageError(fmt::format("list: --format {}: text, markdown or json is needed", format));
  }
  print(text);
  return Exit::ok;
}

}  // namespace sinkscope

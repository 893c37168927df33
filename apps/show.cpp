// sinkscope show: saved reports as tables, CSV, Markdown, a methods paragraph.
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <optional>

#include "base/terminal.h"
#include "commands.h"
#include "config/command_line.h"
#include "config/setting_values.h"
#include "files/atomic_file.h"
#include "files/output_paths.h"
#include "report/read_report.h"
#include "report/render.h"
#include "report/report.h"

namespace sinkscope {
namespace {

constexpr std::size_t kHeads = 20;  ///< of --heads without a number

constexpr const char* kExamples = R"(Examples:
  sinkscope show report.json
  sinkscope show report.json --heads 50 --sort dormant_head
  sinkscope show report.json --metric massive_activation
  sinkscope show reports/ --metric sink_rate --metric loss --sort sink_rate
  sinkscope show reports/ --csv -o heads.csv
  sinkscope show report.json --methods
)";

struct ShowConfig {
  std::vector<std::string> reports;
  std::string output = "-";
  bool csv = false, markdown = false, methods = false, json = false;
  bool heads_wanted = false;
  TableOptions table;
};

bool is_number(const std::string& text) {
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return end == text.data() + text.size() && end != text.data();
}

/// Empty: no number, but a report, since the number of --heads is optional.
std::optional<std::size_t> count_of_heads(const std::string& text) {
  if (!is_number(text)) return std::nullopt;
  return static_cast<std::size_t>(values::integer({{text}, "--heads"}, 0));
}

ShowConfig parse_show(int argc, char** argv) {
  CLI::App app("Renders saved reports. Of several reports, one line each.");
  ShowConfig config;
  SettingSource given;
  std::vector<std::string> heads;
  app.add_option("REPORT", config.reports, "report files, - for stdin, folders of reports")->type_name(" ");
  CLI::Option* heads_option =
      app.add_option("--heads", heads, fmt::format("list the N strongest heads (5; {} without N; 0: none)", kHeads))
          ->expected(0, 1)
          ->type_name("[N]");
  app.add_option("--metric", config.table.metrics, "only this metric, with its series; repeatable")
      ->allow_extra_args(false)
      ->type_name("NAME");
  app.add_option("--sort", config.table.sort,
                 "rank the heads by this metric or series [site, head]; of several reports, the reports by this metric")
      ->type_name("NAME[.SERIES]");
  app.add_flag("--csv", config.csv, "every number, long form, one a line");
  app.add_flag("--markdown", config.markdown, "the table as Markdown");
  app.add_flag("--methods", config.methods,
               "a paragraph for a paper: definitions, parameters, input, hashes, versions");
  app.add_flag("--json", config.json, "the reports as JSON (several: a list)");
  app.add_option("-o,--output", config.output, "write to a file instead of stdout")->type_name("FILE");
  add_common_options(app, given);
  app.footer(kExamples);
  parse(app, argc, argv);

  config.heads_wanted = heads_option->count() > 0;
  if (config.heads_wanted) config.table.heads = kHeads;
  for (const std::string& text : heads) {
    if (text.empty() || text == "{}") continue;
    if (const auto count = count_of_heads(text)) {
      config.table.heads = *count;
    } else {  // `--heads report.json`
      config.reports.insert(config.reports.begin(), text);
    }
  }
  if (config.reports.empty())
    throw UsageError("show: no REPORT given. Usage: sinkscope show REPORT... [options], see --help.");
  if (config.csv + config.markdown + config.methods + config.json > 1)
    throw UsageError("show: --csv, --markdown, --methods and --json exclude each other");
  config.table.width = static_cast<std::size_t>(std::max(terminal_width(Output::out), 1));
  config.table.color = config.output == "-" && use_color(Output::out, common_options(given).color);
  return config;
}

std::string render_several(const std::vector<SavedReport>& reports, const ShowConfig& config) {
  if (config.markdown) return render_markdown_overview(reports, config.table);
  std::string text;
  if (config.methods) {
    for (const SavedReport& report : reports)
      text += (text.empty() ? "" : "\n") + render_methods(report.json, config.table);
    return text;
  }
  TableOptions overview = config.table;
  if (config.heads_wanted) overview.sort.clear();  // it ranks the heads
  text = render_overview(reports, overview);
  for (const SavedReport& report : reports)
    if (config.heads_wanted && config.table.heads > 0)
      text += fmt::format("\n{}: ", report.name) + render_heads(report.json, config.table);
  return text;
}

std::string render(const std::vector<SavedReport>& reports, const ShowConfig& config) {
  if (config.csv) return render_csv(reports, config.table.metrics);
  if (config.json) {
    if (reports.size() == 1) return dump(reports[0].json);
    nlohmann::ordered_json all = nlohmann::ordered_json::array();
    for (const SavedReport& report : reports) all.push_back(report.json);
    return dump(all);
  }
  if (reports.size() > 1) return render_several(reports, config);
  if (config.markdown) return render_markdown(reports[0].json, config.table);
  if (config.methods) return render_methods(reports[0].json, config.table);
  return render_table(reports[0].json, config.table);
}

}  // namespace

Exit show_command(int argc, char** argv) {
  const ShowConfig config = parse_show(argc, argv);
  check_output_paths({{"--output", config.output}}, config.reports);
  AtomicFile output = AtomicFile::open(config.output);
  output.commit(render(read_reports(config.reports), config));
  return Exit::ok;
}

}  // namespace sinkscope

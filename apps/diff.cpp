// sinkscope diff: what differs between two reports.
#include "check/diff.h"

#include <CLI/CLI.hpp>
#include <limits>

#include "base/print.h"
#include "base/terminal.h"
#include "commands.h"
#include "config/command_line.h"
#include "config/setting_values.h"
#include "report/report.h"

namespace sinkscope {
namespace {

constexpr const char* kExamples = R"(Examples:
  sinkscope diff a.json b.json
  sinkscope diff float32.json bfloat16.json --rows 0
  sinkscope diff sweep-a/ sweep-b/ --json
  sinkscope diff a.json b.json --exit-code > /dev/null || echo different
)";

}  // namespace

Exit diff_command(int argc, char** argv) {
  CLI::App app(
      "Says what differs between two reports, per metric, site and head, largest change in units of tolerance first; "
      "also across dtypes and inputs.");
  SettingSource given;
  std::string a, b;
  std::string rows = "10";
  bool exit_code = false, json = false;
  app.add_option("A", a, "a report, - for stdin, or the folder of a sweep")->type_name(" ");
  app.add_option("B", b, "the other one")->type_name(" ");
  app.add_option("--rows", rows, "rows of each table (10; 0: all)")->type_name("N");
  app.add_flag("--exit-code", exit_code, "exit 1 if anything differs, 0 if not");
  app.add_flag("--json", json, "print every difference as JSON");
  add_common_options(app, given);
  app.footer(kExamples);
  parse(app, argc, argv);
  const std::int64_t most = values::integer({{rows}, "--rows"}, 0);
  if (b.empty()) throw UsageError("diff: two reports are needed. Usage: sinkscope diff A B [options], see --help.");

  const Diff found = diff(a, b);
  const std::size_t shown = most == 0 ? std::numeric_limits<std::size_t>::max() : static_cast<std::size_t>(most);
  print(json ? dump(diff_as_json(found))
             : diff_as_text(found, shown, use_color(Output::out, common_options(given).color)));
  return exit_code && found.differs() ? Exit::regression : Exit::ok;
}

}  // namespace sinkscope

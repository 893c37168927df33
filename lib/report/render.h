#pragma once
// Reports as text. Everything is made from the report's JSON, so that a saved report renders as well as a fresh one;
// the reports come from to_json() or read_report.h, which checks them. UsageError names a metric that a report does not
// hold.

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "report/read_report.h"

namespace sinkscope {

struct TableOptions {
  std::size_t width = 80;  ///< columns of the terminal
  bool color = false;
  std::size_t heads = 5;             ///< strongest heads listed; 0: none
  std::vector<std::string> metrics;  ///< only these, with their series; empty: all headlines
  std::string sort;  ///< METRIC or METRIC.SERIES that ranks the heads (of several reports: METRIC ranks the reports);
                     ///< empty: see default_head_quantity()
};

/// The table for people: per metric its definition, value, interval and uniform value; T, N and the id at position 0;
/// the strongest heads; warnings last.
std::string render_table(const nlohmann::ordered_json& report, const TableOptions& options = {});

/// Only the strongest heads, `options.heads` of them.
std::string render_heads(const nlohmann::ordered_json& report, const TableOptions& options);

/// One line a report, one column a metric.
std::string render_overview(const std::vector<SavedReport>& reports, const TableOptions& options = {});

/// The same content as render_table() as GitHub Markdown.
std::string render_markdown(const nlohmann::ordered_json& report, const TableOptions& options = {});
std::string render_markdown_overview(const std::vector<SavedReport>& reports, const TableOptions& options = {});

/// A paragraph for a paper: definitions, comparators, T, N, first token, dtype, hashes and versions.
std::string render_methods(const nlohmann::ordered_json& report, const TableOptions& options = {});

/// Long form, one number a line, cells quoted as in RFC 4180, lines ended by \n, with a header line; null is an empty
/// cell. `checkpoint`, `step` and `training_tokens` come from the labels of those names; of several reports
/// `checkpoint` is else the name of the file.
std::string render_csv(const std::vector<SavedReport>& reports, const std::vector<std::string>& metrics = {});

/// Names of the metrics to show: `wanted`, each checked, or all.
std::vector<std::string> metric_names(const nlohmann::ordered_json& report, const std::vector<std::string>& wanted);

}  // namespace sinkscope

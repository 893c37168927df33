#include <fmt/format.h>
#include <toml++/toml.h>

#include <cmath>

#include "base/error.h"
#include "base/nearest_name.h"
#include "check/rules.h"

namespace sinkscope {
namespace {

const std::vector<std::string> kKeys = {"metric",   "scope",          "fail_on", "tolerance",
                                        "severity", "allow_fraction", "noise"};

class RuleReader {
 public:
  RuleReader(const toml::table& table, const std::string& file) : table_(table), file_(file) {
    rule_.where = place(table);
  }

  Rule read() {
    for (const auto& [key, node] : table_) read_key(std::string(key.str()), node);
    if (rule_.metric.empty()) refuse(table_, "metric", "is missing: a rule needs metric = \"NAME[.SERIES]\"");
    if (rule_.allow_fraction > 0 && rule_.scope == Scope::model)
      refuse(table_, "allow_fraction", "is a share of heads or sites: add scope = \"head\" or \"site\"");
    if (rule_.noise_of_sequences && (rule_.scope != Scope::model || rule_.metric.find('.') != std::string::npos))
      refuse(table_, "noise", "needs the values of each sequence, which only headlines at scope \"model\" have");
    return rule_;
  }

 private:
  std::string place(const toml::node& node) const { return fmt::format("{}:{}", file_, node.source().begin.line); }

  [[noreturn]] void refuse(const toml::node& node, const std::string& key, const std::string& what) const {
    throw UsageError(fmt::format("{}: {} {}", place(node), key, what));
  }

  std::string text(const std::string& key, const toml::node& node) const {
    if (const auto* text = node.as_string()) return text->get();
    refuse(node, key, "expects text in quotes");
  }

  double number(const std::string& key, const toml::node& node, double most) const {
    const auto value = node.value<double>();
    if (!node.is_number() || !value || !std::isfinite(*value) || *value < 0 || *value > most)
      refuse(node, key, most == 1 ? "expects a number from 0 to 1" : "expects a number of at least 0");
    return *value;
  }

  /// The position of the text in `names`.
  int choice(const std::string& key, const toml::node& node, const std::vector<std::string>& names) const {
    const std::string given = text(key, node);
    for (std::size_t i = 0; i < names.size(); ++i)
      if (names[i] == given) return static_cast<int>(i);
    std::string list;
    for (const std::string& name : names) list += fmt::format("{}\"{}\"", list.empty() ? "" : ", ", name);
    refuse(node, key, fmt::format("expects one of {}{}", list, did_you_mean(given, names)));
  }

  [[noreturn]] void unknown(const std::string& key, const toml::node& node,
                            const std::vector<std::string>& valid) const {
    throw UsageError(fmt::format("{}: unknown key '{}'{}", place(node), key, did_you_mean(key, valid)));
  }

  Allowance tolerance(const toml::node& node) const {
    if (node.is_number()) return {.absolute = number("tolerance", node, HUGE_VAL), .relative = {}};
    if (node.is_string()) return parse_allowance(text("tolerance", node), place(node) + ": tolerance");
    const toml::table* both = node.as_table();
    if (both == nullptr) refuse(node, "tolerance", "expects 0.02, \"5%\" or { abs = 0.02, rel = 0.05 }");
    Allowance allowance;
    for (const auto& [key, value] : *both) {
      if (key.str() == "abs") {
        allowance.absolute = number("tolerance.abs", value, HUGE_VAL);
      } else if (key.str() == "rel") {
        allowance.relative = number("tolerance.rel", value, HUGE_VAL);
      } else {
        unknown("tolerance." + std::string(key.str()), value, {"tolerance.abs", "tolerance.rel"});
      }
    }
    if (both->empty()) refuse(node, "tolerance", "expects abs or rel, or both");
    return allowance;
  }

  void read_key(const std::string& key, const toml::node& node) {
    if (key == "metric") {
      rule_.metric = text(key, node);
      if (rule_.metric.empty()) refuse(node, key, "expects NAME[.SERIES]");
    } else if (key == "scope") {
      rule_.scope = static_cast<Scope>(choice(key, node, {"model", "site", "head"}));
    } else if (key == "fail_on") {
      rule_.fail_on = static_cast<Direction>(choice(key, node, {"change", "increase", "decrease"}));
    } else if (key == "tolerance") {
      rule_.tolerance = tolerance(node);
    } else if (key == "severity") {
      rule_.severity = static_cast<Severity>(choice(key, node, {"fail", "warn"}));
    } else if (key == "allow_fraction") {
      rule_.allow_fraction = number(key, node, 1);
    } else if (key == "noise") {
      rule_.noise_of_sequences = choice(key, node, {"none", "sequences"}) == 1;
    } else {
      unknown(key, node, kKeys);
    }
  }

  const toml::table& table_;
  const std::string& file_;
  Rule rule_;
};

}  // namespace

std::vector<Rule> read_rules(std::string_view text, const std::string& name) {
  std::vector<Rule> rules;
  try {
    const toml::table document = toml::parse(text, name);
    for (const auto& [key, node] : document) {
      if (key.str() != "rule")
        throw UsageError(fmt::format("{}:{}: unknown key '{}'; rules stand under [[rule]]", name,
                                     node.source().begin.line, key.str()));
      const toml::array* list = node.as_array();
      if (list == nullptr || !list->is_array_of_tables())
        throw UsageError(
            fmt::format("{}:{}: expects rules as [[rule]], with two brackets", name, node.source().begin.line));
      for (const toml::node& table : *list) rules.push_back(RuleReader(*table.as_table(), name).read());
    }
  } catch (const toml::parse_error& error) {
    throw UsageError(fmt::format("{}:{}: {}", name, error.source().begin.line, error.description()));
  }
  if (rules.empty()) throw UsageError(fmt::format("{}: holds no [[rule]]", name));
  return rules;
}

}  // namespace sinkscope

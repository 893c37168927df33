#include "check/diff.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "base/error.h"
#include "check/tolerance.h"
#include "check/values.h"
#include "report/read_report.h"
#include "report/read_sweep.h"

namespace sinkscope {
namespace {

using Json = nlohmann::ordered_json;

const Json kNull;

const Json& member(const Json& object, const std::string& key) {
  const auto at = object.is_object() ? object.find(key) : object.end();
  return at != object.end() ? *at : kNull;
}

/// Members that say who ran it when, or that the numbers below repeat.
const std::set<std::string> kLeftOut = {"created", "argv",    "run",       "verify",         "metrics",
                                        "sites",   "streams", "unmatched", "schema_version", "kind"};
/// Facts that are shown but do not count as a difference: the machine and the names of things.
const std::set<std::string> kOfTheMachine = {
    "tool.version",  "tool.commit",           "settings.device", "settings.threads",   "settings.torch",
    "settings.cuda", "settings.batch_tokens", "model.path",      "model.weights.path", "input.path",
    "labels",        "input.file_sha256",     "warnings"};

bool is_of_the_machine(const std::string& name) {
  return std::any_of(kOfTheMachine.begin(), kOfTheMachine.end(),
                     [&](const std::string& fact) { return name == fact || name.starts_with(fact + "."); });
}

class Differ {
 public:
  explicit Differ(Diff& result) : result_(result) {}

  void compare(const std::string& checkpoint, const Json& a, const Json& b) {
    checkpoint_ = checkpoint;
    compare_facts("", a, b);
    compare_layout(a, b);
    std::vector<Quantity> quantities = quantities_of(a);
    for (Quantity& quantity : quantities_of(b))
      if (std::find(quantities.begin(), quantities.end(), quantity) == quantities.end())
        quantities.push_back(std::move(quantity));
    for (const Quantity& quantity : quantities) {
      if (quantity.series.empty()) {
        compare_definition(a, b, quantity.metric);
        for (const Scope scope : {Scope::model, Scope::site, Scope::head})
          compare_numbers(a, b, quantity, scope, elements_of(a, quantity, scope), elements_of(b, quantity, scope));
      } else {
        // Each number of a series, not means over heads.
        compare_numbers(a, b, quantity, Scope::head, as_elements(leaves_of(a, quantity)),
                        as_elements(leaves_of(b, quantity)));
      }
    }
  }

  /// A checkpoint that only one sweep has.
  void only(const std::string& checkpoint, bool in_a) {
    result_.facts.push_back(
        {checkpoint, "report", in_a ? Json("present") : Json(), in_a ? Json() : Json("present"), true});
  }

 private:
  static std::vector<ComparedElement> as_elements(const std::vector<Leaf>& leaves) {
    std::vector<ComparedElement> elements;
    for (const Leaf& leaf : leaves)
      elements.push_back({leaf.site, leaf.head, leaf.kv_head, leaf.coordinate, leaf.value, {leaf.value.has_value()}});
    return elements;
  }

  void fact(const std::string& name, const Json& a, const Json& b) {
    if (a != b) result_.facts.push_back({checkpoint_, name, a, b, !is_of_the_machine(name)});
  }

  void compare_facts(const std::string& path, const Json& a, const Json& b) {
    if (!a.is_object() || !b.is_object()) return fact(path, a, b);
    std::vector<std::string> keys;
    for (const Json* side : {&a, &b})
      for (const auto& [key, value] : side->items())
        if (std::find(keys.begin(), keys.end(), key) == keys.end()) keys.push_back(key);
    for (const std::string& key : keys) {
      if (path.empty() && kLeftOut.contains(key)) continue;
      compare_facts(path.empty() ? key : path + "." + key, member(a, key), member(b, key));
    }
  }

  void compare_layout(const Json& a, const Json& b) {
    for (const char* list : {"sites", "streams"}) {
      const Json &from = member(a, list), &to = member(b, list);
      fact(fmt::format("number of {}", list), from.size(), to.size());
      for (std::size_t i = 0; i < std::min(from.size(), to.size()); ++i)
        for (const auto& [key, value] : from[i].items())
          if (value != member(to[i], key))
            result_.facts.push_back({checkpoint_, fmt::format("{}[{}].{}", list, i, key), value, member(to[i], key),
                                     key != "path" && key != "measured_by" && key != "reason"});
    }
  }

  void compare_definition(const Json& a, const Json& b, const std::string& metric) {
    const Json &from = member(member(a, "metrics"), metric), &to = member(member(b, "metrics"), metric);
    const std::string path = "metrics." + metric;
    if (from.is_null() || to.is_null()) {
      fact(path, from.is_null() ? Json() : Json("present"), to.is_null() ? Json() : Json("present"));
      return;
    }
    for (const char* key : {"definition_version", "unit", "parameters", "rejected"})
      compare_facts(path + "." + key, member(from, key), member(to, key));
  }

  void compare_numbers(const Json& a, const Json& b, const Quantity& quantity, Scope scope,
                       const std::vector<ComparedElement>& from, const std::vector<ComparedElement>& to) {
    if (from.empty() || to.empty()) return;  // named among the facts
    std::map<std::string, const ComparedElement*> others;
    for (const ComparedElement& element : to) others[element.key()] = &element;
    for (const ComparedElement& element : from) {
      const auto other = others.find(element.key());
      add(a, quantity, scope, element, element.value, other != others.end() ? other->second->value : std::nullopt);
      if (other != others.end()) others.erase(other);
    }
    for (const ComparedElement& element : to)
      if (others.contains(element.key())) add(b, quantity, scope, element, std::nullopt, element.value);
  }

  void add(const Json& report, const Quantity& quantity, Scope scope, const ComparedElement& element,
           std::optional<double> from, std::optional<double> to) {
    ++result_.compared;
    if (from == to) return;
    Change change;
    Comparison& c = change.numbers;
    c.checkpoint = checkpoint_;
    c.metric = quantity.text();
    c.scope = scope;
    c.site = element.site;
    c.head = element.head;
    c.kv_head = element.kv_head;
    c.coordinate = element.coordinate;
    if (c.site && *c.site < report["sites"].size()) c.site_path = report["sites"][*c.site]["path"].get<std::string>();
    c.old_value = from;
    c.new_value = to;
    if (from) c.tolerance = default_allowance(quantity).at(*from);
    if (from && to) c.change = *to - *from;
    change.units = c.change ? units_of_tolerance(c) : std::numeric_limits<double>::infinity();
    result_.changes.push_back(std::move(change));
  }

  Diff& result_;
  std::string checkpoint_;
};

Json read_one(const std::string& path) { return std::move(read_reports({path}).front().json); }

}  // namespace

bool Diff::differs() const {
  return !changes.empty() || std::any_of(facts.begin(), facts.end(), [](const auto& fact) { return fact.counts; });
}

Diff diff(const std::string& a, const std::string& b) {
  if (a == "-" && b == "-") throw UsageError("diff: only one operand can be - (stdin)");
  if (is_directory(a) != is_directory(b))
    throw UsageError(fmt::format("{} and {}: a report and the folder of a sweep cannot be compared", a, b));
  Diff result{.a = a, .b = b, .facts = {}, .changes = {}};
  Differ differ(result);
  if (!is_directory(a)) {
    const Json from = read_one(a);
    differ.compare("", from, read_one(b));
  } else {
    const auto from = read_sweep(a), to = read_sweep(b);
    const auto report_in = [](const std::vector<SweepEntry>& sweep, const std::string& name) -> std::string {
      for (const SweepEntry& entry : sweep)
        if (entry.name == name) return entry.report;
      return "";
    };
    for (const SweepEntry& entry : from) {
      const std::string other = report_in(to, entry.name);
      if (entry.report.empty() && other.empty()) continue;
      if (entry.report.empty() || other.empty()) {
        differ.only(entry.name, other.empty());
      } else {
        const Json left = read_one(entry.report);
        differ.compare(entry.name, left, read_one(other));
      }
    }
    for (const SweepEntry& entry : to)
      if (!entry.report.empty() &&
          std::none_of(from.begin(), from.end(), [&](const auto& e) { return e.name == entry.name; }))
        differ.only(entry.name, false);
  }
  std::stable_sort(result.changes.begin(), result.changes.end(), [](const Change& x, const Change& y) {
    if (x.units != y.units) return x.units > y.units;
    return std::abs(x.numbers.change.value_or(0)) > std::abs(y.numbers.change.value_or(0));
  });
  return result;
}

}  // namespace sinkscope

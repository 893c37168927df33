#include "check/expectation.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/nearest_name.h"
#include "check/tolerance.h"

namespace sinkscope {
namespace {

using Json = nlohmann::ordered_json;
using Over = Expectation::Over;
using Operator = Expectation::Operator;

bool holds(double value, Operator op, double number) {
  switch (op) {
    case Operator::less:
      return value < number;
    case Operator::less_equal:
      return value <= number;
    case Operator::greater:
      return value > number;
    case Operator::greater_equal:
      return value >= number;
    case Operator::equal:
      return value == number;
    case Operator::not_equal:
      return value != number;
  }
  return false;
}

/// How bad a value is; the largest is shown.
double badness(double value, Operator op, double number) {
  switch (op) {
    case Operator::less:
    case Operator::less_equal:
      return value;
    case Operator::greater:
    case Operator::greater_equal:
      return -value;
    case Operator::equal:
      return std::abs(value - number);
    case Operator::not_equal:
      return -std::abs(value - number);
  }
  return 0;
}

std::vector<Leaf> chosen(const Expectation& expectation, const Json& report) {
  const Quantity& quantity = expectation.quantity;
  const auto fail = [&](const std::string& what) {
    throw UsageError(fmt::format("--expect '{}': {}", expectation.text, what));
  };
  const Json& metrics = report["metrics"];
  if (!metrics.contains(quantity.metric)) {
    std::vector<std::string> names;
    for (const auto& [name, metric] : metrics.items()) names.push_back(name);
    fail(names.empty()
             ? fmt::format("the report holds no metric '{}', nor any other", quantity.metric)
             : fmt::format("the report holds no metric '{}'{}", quantity.metric, did_you_mean(quantity.metric, names)));
  }
  std::vector<Leaf> leaves = leaves_of(report, quantity);
  if (leaves.empty()) {
    std::vector<std::string> names;
    for (const Quantity& other : quantities_of(report))
      if (other.metric == quantity.metric && !other.series.empty()) names.push_back(other.series);
    for (const char* list : {"per_sequence", "per_site", "per_head"})
      if (metrics[quantity.metric].contains(list)) names.emplace_back(list);
    fail(names.empty() ? fmt::format("{} has no series", quantity.metric)
                       : fmt::format("{} has no series '{}'{} It has {}.", quantity.metric, quantity.series,
                                     did_you_mean(quantity.series, names), fmt::join(names, ", ")));
  }
  for (std::size_t dim = 0; dim < expectation.indices.size(); ++dim) {
    std::size_t size = 0;
    for (const Leaf& leaf : leaves)
      if (leaf.position.size() > dim) size = std::max(size, leaf.position[dim] + 1);
    const std::int64_t index = expectation.indices[dim];
    const std::int64_t wanted = index < 0 ? index + static_cast<std::int64_t>(size) : index;
    if (size == 0) fail(fmt::format("{} has {} dimensions", quantity.text(), dim));
    if (wanted < 0 || wanted >= static_cast<std::int64_t>(size))
      fail(fmt::format("[{}] is out of range: {} has {} elements there", index, quantity.text(), size));
    std::erase_if(leaves, [&](const Leaf& leaf) {
      return leaf.position.size() <= dim || leaf.position[dim] != static_cast<std::size_t>(wanted);
    });
  }
  return leaves;
}

void place(Comparison& c, const Leaf& leaf, const Json& report) {
  c.site = leaf.site;
  c.head = leaf.head;
  c.kv_head = leaf.kv_head;
  c.coordinate = leaf.coordinate;
  c.scope = leaf.head ? Scope::head : leaf.site ? Scope::site : Scope::model;
  if (leaf.site && *leaf.site < report["sites"].size())
    c.site_path = report["sites"][*leaf.site]["path"].get<std::string>();
}

/// The one value that a function of the series gives.
Leaf reduced(const std::vector<Leaf>& leaves, Over over) {
  if (over == Over::mean) {
    double sum = 0;
    for (const Leaf& leaf : leaves) sum += *leaf.value;
    return Leaf{.coordinate = "mean", .value = sum / static_cast<double>(leaves.size())};
  }
  const auto by_value = [](const Leaf& a, const Leaf& b) { return *a.value < *b.value; };
  return over == Over::max ? *std::max_element(leaves.begin(), leaves.end(), by_value)
                           : *std::min_element(leaves.begin(), leaves.end(), by_value);
}

/// "0.0500001" where "0.05" would read as the limit itself.
std::string shown(double value, double number) { return told_apart(value, number).first; }

}  // namespace

Comparison judge(const Expectation& expectation, const Json& report, bool ignore_incomplete) {
  Comparison c;
  c.metric = expectation.quantity.text();
  c.expression = expectation.text;
  std::vector<Leaf> leaves = chosen(expectation, report);
  const auto decide = [&](Status status, Reason reason, const std::string& words) {
    c.status = status;
    c.reason = reason;
    c.message = fmt::format("expected {}: {}", expectation.text, words);
    return c;
  };

  if (!ignore_incomplete && report["complete"] == false)
    return decide(Status::incomparable, Reason::complete, "NEW is of an interrupted run");
  const auto null = std::find_if(leaves.begin(), leaves.end(), [](const Leaf& leaf) { return !leaf.value; });
  if (null != leaves.end()) {
    place(c, *null, report);
    return decide(Status::fail, Reason::null_in_new,
                  fmt::format("{} has no value ({} of {} are null)", place_of(c),
                              std::count_if(leaves.begin(), leaves.end(), [](const Leaf& l) { return !l.value; }),
                              leaves.size()));
  }
  if (expectation.over != Over::each) leaves = {reduced(leaves, expectation.over)};
  const auto worst = std::max_element(leaves.begin(), leaves.end(), [&](const Leaf& a, const Leaf& b) {
    return badness(*a.value, expectation.op, expectation.number) <
           badness(*b.value, expectation.op, expectation.number);
  });
  place(c, *worst, report);
  c.new_value = worst->value;
  const auto failing = std::count_if(leaves.begin(), leaves.end(), [&](const Leaf& leaf) {
    return !holds(*leaf.value, expectation.op, expectation.number);
  });
  std::string words = fmt::format("{} is {}", place_of(c), shown(*worst->value, expectation.number));
  if (leaves.size() > 1)
    words += fmt::format(", the worst of {}{}", leaves.size(), failing > 0 ? fmt::format("; {} fail", failing) : "");
  if (failing > 0) return decide(Status::fail, Reason::expectation_failed, words);
  if (const std::int64_t rejected = report["metrics"][expectation.quantity.metric]["rejected"].get<std::int64_t>();
      rejected > 0)
    return decide(Status::fail, Reason::rejected,
                  fmt::format("{}, but {} samples were rejected for a NaN or a wrong row sum", words, rejected));
  return decide(Status::pass, Reason::expectation_met, words);
}

}  // namespace sinkscope

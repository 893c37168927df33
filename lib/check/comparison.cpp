#include "check/comparison.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>

namespace sinkscope {

const char* name_of(Status status) {
  static constexpr const char* names[] = {"PASS", "WARN", "FAIL", "NEW", "MISSING", "INCOMPARABLE", "AMBIGUOUS"};
  return names[static_cast<std::size_t>(status)];
}

const char* name_of(Severity severity) { return severity == Severity::fail ? "fail" : "warn"; }

const char* name_of(Scope scope) {
  static constexpr const char* names[] = {"model", "site", "head"};
  return names[static_cast<std::size_t>(scope)];
}

const char* name_of(Reason reason) {
  switch (reason) {
    case Reason::within_tolerance:
      return "within_tolerance";
    case Reason::other_direction:
      return "other_direction";
    case Reason::allowed_fraction:
      return "allowed_fraction";
    case Reason::expectation_met:
      return "expectation_met";
    case Reason::exceeds_tolerance:
      return "exceeds_tolerance";
    case Reason::expectation_failed:
      return "expectation_failed";
    case Reason::null_in_new:
      return "null_in_new";
    case Reason::null_in_old:
      return "null_in_old";
    case Reason::rejected:
      return "rejected";
    case Reason::null_in_both:
      return "null_in_both";
    case Reason::within_noise:
      return "within_noise";
    case Reason::only_in_new:
      return "only_in_new";
    case Reason::only_in_old:
      return "only_in_old";
    case Reason::definition:
      return "definition";
    case Reason::parameters:
      return "parameters";
    case Reason::input:
      return "input";
    case Reason::tokenizer:
      return "tokenizer";
    case Reason::dtype:
      return "dtype";
    case Reason::sites:
      return "sites";
    case Reason::heads:
      return "heads";
    case Reason::complete:
      return "complete";
  }
  return "";
}

const std::vector<Status>& all_statuses() {
  static const std::vector<Status> all = {Status::pass,    Status::warn,         Status::fail,     Status::only_new,
                                          Status::missing, Status::incomparable, Status::ambiguous};
  return all;
}

const std::vector<Reason>& all_differences() {
  static const std::vector<Reason> all = {Reason::complete, Reason::input, Reason::tokenizer,  Reason::dtype,
                                          Reason::sites,    Reason::heads, Reason::definition, Reason::parameters};
  return all;
}

bool is_finding(const Comparison& comparison) {
  if (comparison.severity == Severity::warn) return false;
  return comparison.status == Status::fail || comparison.status == Status::missing ||
         comparison.status == Status::incomparable || comparison.status == Status::ambiguous;
}

std::string place_of(const Comparison& comparison) {
  std::string text = comparison.metric;
  if (comparison.site) {
    text += fmt::format(", site {}", *comparison.site);
    if (!comparison.site_path.empty()) text += fmt::format(" ({})", comparison.site_path);
  }
  if (comparison.head) text += fmt::format(", {} {}", comparison.kv_head ? "KV head" : "head", *comparison.head);
  if (!comparison.coordinate.empty()) text += ", " + comparison.coordinate;
  return text;
}

double units_of_tolerance(const Comparison& comparison) {
  if (!comparison.change || *comparison.change == 0) return 0;
  if (!comparison.tolerance || *comparison.tolerance == 0) return std::numeric_limits<double>::infinity();
  return std::abs(*comparison.change) / *comparison.tolerance;
}

}  // namespace sinkscope

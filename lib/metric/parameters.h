#pragma once
// The parameters of a metric: `--set metric.parameter=value`, `[metric]` tables of a configuration file, `parameters`
// of the report.

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace sinkscope {

using ParameterValue = std::variant<bool, std::int64_t, double, std::string, std::vector<std::int64_t>,
                                    std::vector<double>, std::vector<std::string>>;

/// A declared parameter: its default fixes its type.
struct Parameter {
  std::string name;
  ParameterValue value;                   ///< default
  std::string help;                       ///< what it does, one line; for numbers also what a larger value does
  std::vector<std::string> choices = {};  ///< allowed values of a string or string list; empty: any
};

/// Values in declaration order; every declared parameter is present.
class Parameters {
 public:
  Parameters() = default;
  explicit Parameters(const std::vector<Parameter>& declared) {
    for (const Parameter& p : declared) values_.emplace_back(p.name, p.value);
  }

  template <class T>
  const T& get(const std::string& name) const {
    return std::get<T>(at(name));
  }
  const ParameterValue& at(const std::string& name) const;
  /// Throws UsageError if `name` is not declared or the type differs. Whole numbers serve where decimal ones are
  /// declared, and an empty list as any list. Choices are not known here: see check_choices.
  void set(const std::string& name, ParameterValue value);
  const std::vector<std::pair<std::string, ParameterValue>>& entries() const { return values_; }

 private:
  std::vector<std::pair<std::string, ParameterValue>> values_;
};

/// Parses the text of `--set metric.parameter=GIVEN` to the type of `declared`: numbers, true/false, lists as `1,2,3`.
/// Throws UsageError naming the parameter and the form expected.
ParameterValue parse_parameter(const std::string& metric, const Parameter& declared, const std::string& given);

/// Throws UsageError naming the nearest choice if a string of `value` is not among the choices of `declared`.
void check_choices(const std::string& metric, const Parameter& declared, const ParameterValue& value);

/// Throws UsageError "metric.parameter: must be REQUIREMENT" unless `ok`.
void require_parameter(bool ok, const std::string& metric, const std::string& parameter,
                       const std::string& requirement);

}  // namespace sinkscope

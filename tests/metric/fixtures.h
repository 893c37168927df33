#pragma once
// Matrices of docs/metrics.md section 4 and shorthands for the tests of metrics.

#include <string>
#include <vector>

#include "catch.h"
#include "metric/metric.h"
#include "metric/synthetic.h"

namespace sinkscope::synthetic {

/// Fixture 4.1.
inline const Matrix kThree = {{1, 0, 0}, {0.6, 0.4, 0}, {0.5, 0.3, 0.2}};
/// Fixture 4.5: the largest alpha and the largest column mean are different keys.
inline const Matrix kTwo = {{1, 0}, {0.1, 0.9}};

inline std::vector<Input> one_head(const Matrix& attention) { return {one_site(causal_site({attention}))}; }
inline std::vector<Input> uniform_causal(std::int64_t length) {
  return one_head(uniform_attention(Visibility::causal(length, length)));
}

/// The default parameters of a metric, some of them set.
inline Parameters with(const std::string& metric, const std::vector<std::pair<std::string, ParameterValue>>& settings) {
  Parameters parameters(find_metric(metric).parameters);
  for (const auto& [name, value] : settings) parameters.set(name, value);
  return parameters;
}
inline Measurement measure(const std::string& metric, const std::vector<Input>& inputs) {
  return measure(find_metric(metric), inputs);
}
inline Measurement measure(const std::string& metric, const std::vector<Input>& inputs, const Parameters& parameters) {
  return measure(find_metric(metric), inputs, parameters);
}
/// The first (or n-th) element of a series; throws if it is undefined.
inline double element(const Measurement& m, const std::string& name, std::size_t i = 0) {
  return series(m, name).data.at(i).value();
}
inline double uniform_element(const Measurement& m, const std::string& name, std::size_t i = 0) {
  return series(m, name).uniform.at(i).value();
}

/// H_n = 1 + 1/2 + ... + 1/n.
inline double harmonic(std::int64_t n) {
  double sum = 0;
  for (std::int64_t i = n; i >= 1; --i) sum += 1.0 / static_cast<double>(i);
  return sum;
}

}  // namespace sinkscope::synthetic

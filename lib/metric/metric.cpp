#include "metric/metric.h"

#include "base/error.h"
#include "base/nearest_name.h"

namespace sinkscope {

const MetricSpec& find_metric(const std::string& name) {
  std::vector<std::string> names;
  for (const MetricSpec& spec : all_metrics()) {
    if (spec.name == name) return spec;
    names.push_back(spec.name);
  }
  throw UsageError("no metric '" + name + "'" + did_you_mean(name, names) + " `sinkscope list` shows all metrics.");
}

}  // namespace sinkscope

#include "measure/verify_alone.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <string>

#include "base/error.h"

namespace sinkscope {
namespace {

// Far above what another batch size changes in 16 bit, far below what another axis does.
constexpr double kTolerance = 0.05;

/// Values of one sequence by where they were taken; later calls of a site are appended.
using Values = std::map<std::string, std::vector<double>>;

Values values_of(BatchRecorder& recorder, const Sequence* sequence) {
  Values found;
  const auto append = [&](const std::string& place, const auto& values) {
    found[place].insert(found[place].end(), values.begin(), values.end());
  };
  ObservationSink sink;
  sink.site = [&](const SiteObservation& o) {
    if (o.sequence != sequence) return;
    const std::string site = fmt::format("attention site {}", index(o.site));
    append(site + ", first keys", o.first_key_sum);
    append(site + ", column sums", o.column_sum);
    append(site + ", key norms", o.key_norm_others);
    append(site + ", head outputs", o.head_output_norm_mean);
  };
  sink.stream = [&](const StreamObservation& o) {
    if (o.sequence == sequence) append(fmt::format("residual stream {}", index(o.stream)), o.position_norm);
  };
  sink.loss = [](const LossObservation&) {};
  recorder.emit(sink);
  return found;
}

bool same(const std::vector<double>& a, const std::vector<double>& b) {
  if (a.size() != b.size()) return false;
  double most = 0;
  for (const double x : a)
    if (std::isfinite(x)) most = std::max(most, std::abs(x));
  for (std::size_t i = 0; i < a.size(); ++i)
    if (std::isfinite(a[i]) && std::isfinite(b[i]) && std::abs(a[i] - b[i]) > kTolerance * most) return false;
  return true;
}

}  // namespace

void verify_alone(const InstrumentedModel& model, const Needs& needs, const std::vector<const Sequence*>& members,
                  const Layout& layout, BatchRecorder& recorder) {
  if (members.size() < 2) return;
  const Values together = values_of(recorder, members.front());
  Layout own_layout = layout;
  BatchRecorder own(needs, {members.front()}, own_layout);
  Taps taps = own.taps();
  taps.head_orders = model.head_orders.get();
  run_graph(*model.tapped, model.inputs(ids_tensor({members.front()})), taps);
  const Values alone = values_of(own, members.front());
  for (const auto& [place, values] : together) {
    const auto at = alone.find(place);
    if (at != alone.end() && same(values, at->second)) continue;
    throw InputError(fmt::format(
        "{}: --verify: {} of the first sequence differ when it runs alone and in a batch of {}. The model mixes its "
        "sequences, or it puts heads or tokens before the batch; --batch 1 measures it sequence by sequence.",
        model.loaded.path, place, members.size()));
  }
}

}  // namespace sinkscope

#include "sweep/steps.h"

#include <fmt/format.h>

#include <charconv>
#include <map>
#include <set>

#include "base/error.h"
#include "sweep/name.h"

namespace sinkscope {
namespace {

constexpr std::size_t kMostSteps = 1'000'000;

[[noreturn]] void refuse(const std::string& text, const std::string& part) {
  throw UsageError(fmt::format(
      "--expect-steps {}: '{}' is neither a step nor a range FIRST:LAST:STEP; write 0,1,2,4,1000:143000:1000", text,
      part));
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts(1);
  for (const char c : text)
    if (c == separator)
      parts.emplace_back();
    else
      parts.back() += c;
  return parts;
}

/// The holes of a regular series.
std::vector<std::int64_t> holes(const std::set<std::int64_t>& steps, std::int64_t& distance) {
  std::map<std::int64_t, std::size_t> distances;
  for (auto step = steps.begin(); step != steps.end() && std::next(step) != steps.end(); ++step)
    ++distances[*std::next(step) - *step];
  std::size_t most = 0;
  for (const auto& [size, count] : distances)
    if (count > most) distance = size, most = count;
  std::vector<std::int64_t> found;
  if (most < 3 || 2 * most < steps.size() - 1) return found;
  for (auto step = steps.begin(); std::next(step) != steps.end(); ++step) {
    const std::int64_t gap = *std::next(step) - *step;
    if (gap == distance || gap % distance != 0) continue;
    // More holes than checkpoints: a selection, not a loss.
    if (static_cast<std::size_t>(gap / distance) > steps.size()) continue;
    for (std::int64_t at = *step + distance; at < *std::next(step); at += distance) found.push_back(at);
  }
  return found;
}

std::string name_of(const StepPlace& place, std::int64_t step) {
  if (place.before.empty() && place.after.empty()) return fmt::format("step{}", step);
  return encode_name(fmt::format("{}{:0{}}{}", place.before, step, place.width, place.after));
}

}  // namespace

std::vector<std::int64_t> parse_steps(const std::string& text) {
  std::set<std::int64_t> steps;
  for (const std::string& part : split(text, ',')) {
    std::vector<std::int64_t> numbers;
    for (const std::string& digits : split(part, ':')) {
      std::int64_t value = 0;
      const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
      if (error != std::errc() || end != digits.data() + digits.size() || digits.empty() || value < 0)
        refuse(text, part);
      numbers.push_back(value);
    }
    if (numbers.size() == 1) numbers = {numbers[0], numbers[0], 1};
    if (numbers.size() != 3 || numbers[2] == 0 || numbers[1] < numbers[0]) refuse(text, part);
    if (static_cast<std::size_t>((numbers[1] - numbers[0]) / numbers[2]) + steps.size() >= kMostSteps)
      throw UsageError(fmt::format("--expect-steps {}: more than {} steps", text, kMostSteps));
    for (std::int64_t step = numbers[0];; step += numbers[2]) {
      steps.insert(step);
      if (numbers[1] - step < numbers[2]) break;
    }
  }
  return {steps.begin(), steps.end()};
}

std::vector<MissingStep> missing_steps(const std::vector<SweepCheckpoint>& checkpoints,
                                       const std::vector<std::int64_t>& expected) {
  std::map<StepPlace, std::set<std::int64_t>> series;
  for (const SweepCheckpoint& checkpoint : checkpoints) {
    StepPlace key = checkpoint.place;
    key.width = 0;
    if (checkpoint.step) series[key].insert(*checkpoint.step);
  }
  if (series.empty() && !expected.empty()) series[{}];
  std::map<StepPlace, std::size_t> widths;
  for (const SweepCheckpoint& checkpoint : checkpoints) {
    StepPlace key = checkpoint.place;
    key.width = 0;
    widths[key] = std::max(widths[key], checkpoint.place.width);
  }
  std::vector<MissingStep> missing;
  for (const auto& [key, steps] : series) {
    StepPlace place = key;
    place.width = widths[key];
    std::int64_t distance = 0;
    if (expected.empty()) {
      for (const std::int64_t step : holes(steps, distance))
        missing.push_back({name_of(place, step), step,
                           fmt::format("no checkpoint of step {}; the others are {} steps apart", step, distance)});
      continue;
    }
    for (const std::int64_t step : expected)
      if (!steps.contains(step))
        missing.push_back({name_of(place, step), step, fmt::format("no checkpoint of step {}: --expect-steps", step)});
  }
  return missing;
}

}  // namespace sinkscope

#include "metric/sequence_cells.h"

#include <algorithm>
#include <cstdint>
#include <optional>

namespace sinkscope {

std::size_t SequenceCells::slot(std::size_t row, std::size_t cell) {
  if (slots_.size() <= row) slots_.resize(row + 1);
  while (slots_[row].size() <= cell) slots_[row].push_back(slot_count_++);
  return slots_[row][cell];
}

void SequenceCells::add(SequenceId sequence, std::size_t row, std::size_t cell, std::size_t column, double value) {
  const std::size_t place = slot(row, cell) * columns_ + column;
  if (sequences_.size() <= index(sequence)) sequences_.resize(index(sequence) + 1);
  std::vector<Mean>& values = sequences_[index(sequence)];
  if (values.size() <= place) values.resize(slot_count_ * columns_);
  values[place].add(value);
}

void SequenceCells::merge(const SequenceCells& other) {
  if (sequences_.size() < other.sequences_.size()) sequences_.resize(other.sequences_.size());
  for (std::size_t row = 0; row < other.slots_.size(); ++row) {
    for (std::size_t cell = 0; cell < other.slots_[row].size(); ++cell) {
      const std::size_t from = other.slots_[row][cell] * columns_, to = slot(row, cell) * columns_;
      for (std::size_t s = 0; s < other.sequences_.size(); ++s) {
        const std::vector<Mean>& theirs = other.sequences_[s];
        if (theirs.size() < from + columns_) continue;
        std::vector<Mean>& ours = sequences_[s];
        if (ours.size() < to + columns_) ours.resize(slot_count_ * columns_);
        for (std::size_t column = 0; column < columns_; ++column) ours[to + column].merge(theirs[from + column]);
      }
    }
  }
}

Number SequenceCells::Means::at(std::size_t row, std::size_t cell, std::size_t column) const {
  if (row >= rows() || cell >= width(row)) return std::nullopt;
  return means_[cells_->slots_[row][cell] * cells_->columns_ + column].value();
}

SequenceCells::Means SequenceCells::means() const {
  Means total;
  total.cells_ = this;
  total.means_.resize(slot_count_ * columns_);
  for (const std::vector<Mean>& values : sequences_)
    for (std::size_t i = 0; i < values.size(); ++i) total.means_[i].merge(values[i]);
  return total;
}

Interval SequenceCells::interval(const Statistic& statistic) const {
  // Sums and counts one after the other, [sequence][place], for a loop that runs resamples x sequences times.
  const std::size_t places = slot_count_ * columns_;
  std::vector<double> sums, counts;
  for (const std::vector<Mean>& values : sequences_) {
    if (std::none_of(values.begin(), values.end(), [](const Mean& mean) { return mean.count > 0; })) continue;
    const std::size_t begin = sums.size();
    sums.resize(begin + places);
    counts.resize(begin + places);
    for (std::size_t i = 0; i < values.size(); ++i) {
      sums[begin + i] = values[i].sum;
      counts[begin + i] = static_cast<double>(values[i].count);
    }
  }
  const std::size_t present = places > 0 ? sums.size() / places : 0;
  Means total;
  total.cells_ = this;
  total.means_.resize(places);
  std::vector<double> sum(places), count(places);
  return bootstrap(present, [&](const Draws& draws) {
    std::fill(sum.begin(), sum.end(), 0.0);
    std::fill(count.begin(), count.end(), 0.0);
    for (std::size_t s = 0; s < present; ++s) {
      if (draws[s] == 0) continue;
      const auto times = static_cast<double>(draws[s]);
      const double *from_sums = sums.data() + s * places, *from_counts = counts.data() + s * places;
      double *to_sum = sum.data(), *to_count = count.data();
      for (std::size_t i = 0; i < places; ++i) {
        to_sum[i] += times * from_sums[i];
        to_count[i] += times * from_counts[i];
      }
    }
    for (std::size_t i = 0; i < places; ++i) total.means_[i] = {sum[i], static_cast<std::int64_t>(count[i])};
    return statistic(total);
  });
}

}  // namespace sinkscope

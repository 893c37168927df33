#pragma once
// Values per (sequence, cell), kept apart by sequence: for headlines that are no means over samples (a largest value, a
// mean of ratios of means), whose interval needs every sequence again. A cell is (stream, 0) or (site, KV head).
// Memory: sequences x cells x columns.

#include <cstddef>
#include <functional>
#include <vector>

#include "accumulate/bootstrap.h"
#include "accumulate/mean.h"
#include "base/ids.h"
#include "metric/measurement.h"

namespace sinkscope {

class SequenceCells {
 public:
  explicit SequenceCells(std::size_t columns) : columns_(columns) {}

  void add(SequenceId sequence, std::size_t row, std::size_t cell, std::size_t column, double value);
  void merge(const SequenceCells& other);

  /// Means over the sequences, or over one resample of them.
  class Means {
   public:
    /// Empty where nothing was added.
    Number at(std::size_t row, std::size_t cell, std::size_t column) const;
    std::size_t rows() const { return cells_->slots_.size(); }
    std::size_t width(std::size_t row) const { return cells_->slots_[row].size(); }

   private:
    friend class SequenceCells;
    const SequenceCells* cells_ = nullptr;
    std::vector<Mean> means_;
  };
  Means means() const;
  using Statistic = std::function<Number(const Means&)>;
  /// The bootstrap interval of `statistic` over the sequences that have values.
  Interval interval(const Statistic& statistic) const;

 private:
  std::size_t slot(std::size_t row, std::size_t cell);

  std::size_t columns_;
  std::size_t slot_count_ = 0;
  std::vector<std::vector<std::size_t>> slots_;  ///< [row][cell]: place of the cell in a sequence's values
  std::vector<std::vector<Mean>> sequences_;     ///< [sequence][slot * columns + column]; shorter: no value
};

}  // namespace sinkscope

#include "metric/sequence_cells.h"

#include "catch.h"

using namespace sinkscope;

TEST_CASE("means of cells are over the sequences that have them", "[sequence_cells]") {
  SequenceCells cells(2);
  cells.add(SequenceId{0}, 0, 0, 0, 4);
  cells.add(SequenceId{3}, 0, 0, 0, 8);
  cells.add(SequenceId{3}, 2, 1, 1, 5);
  const SequenceCells::Means means = cells.means();
  CHECK(means.at(0, 0, 0).value() == 6);
  CHECK_FALSE(means.at(0, 0, 1).has_value());
  CHECK_FALSE(means.at(1, 0, 0).has_value());
  CHECK(means.at(2, 1, 1).value() == 5);
  CHECK_FALSE(means.at(2, 0, 1).has_value());
  CHECK_FALSE(means.at(9, 0, 0).has_value());
}

TEST_CASE("states that saw other cells, other sequences or the same ones merge to the whole", "[sequence_cells]") {
  SequenceCells whole(1), left(1), right(1);
  const auto add = [&](SequenceCells& part, std::int64_t sequence, std::size_t row, double value) {
    whole.add(SequenceId{sequence}, row, 0, 0, value);
    part.add(SequenceId{sequence}, row, 0, 0, value);
  };
  add(left, 0, 1, 1);
  add(left, 2, 0, 2);
  add(right, 2, 0, 8);  // a site that is called twice in a sequence
  add(right, 1, 1, 4);
  add(right, 1, 3, 16);
  left.merge(right);
  const SequenceCells::Means merged = left.means(), expected = whole.means();
  for (std::size_t row = 0; row < 4; ++row) CHECK(merged.at(row, 0, 0) == expected.at(row, 0, 0));
  CHECK(merged.at(0, 0, 0).value() == 5);
  const auto first_row = [](const SequenceCells::Means& means) { return means.at(1, 0, 0); };
  CHECK(left.interval(first_row) == whole.interval(first_row));
}

TEST_CASE("the interval resamples sequences as wholes and leaves out those without values", "[sequence_cells]") {
  SequenceCells cells(1);
  cells.add(SequenceId{5}, 0, 0, 0, 1);
  CHECK_FALSE(cells.interval([](const SequenceCells::Means& m) { return m.at(0, 0, 0); }).has_value());
  cells.add(SequenceId{7}, 0, 0, 0, 3);
  cells.add(SequenceId{5}, 1, 0, 0, 3);
  cells.add(SequenceId{7}, 1, 0, 0, 1);
  // The two rows add up to 4 in every sequence, so in every resample.
  const Interval sum =
      cells.interval([](const SequenceCells::Means& m) { return Number(*m.at(0, 0, 0) + *m.at(1, 0, 0)); });
  CHECK((*sum)[0] == near(4, 1e-12));
  CHECK((*sum)[1] == near(4, 1e-12));
}

#include "input/source.h"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <unordered_set>
#include <utility>

#include "base/error.h"
#include "base/random.h"

namespace sinkscope {
namespace {

void check_vocabulary(const std::vector<TokenRow>& rows, const ModelFacts& facts) {
  const std::int64_t bound = facts.vocabulary.value_or(INT64_MAX);
  for (const TokenRow& row : rows)
    for (std::size_t i = 0; i < row.ids.size(); ++i)
      if (row.ids[i] < 0 || row.ids[i] >= bound)
        throw InputError(
            fmt::format("{}: id {} at position {} is outside the vocabulary of {} ({} ids). "
                        "Were these ids made with another tokenizer?",
                        row.where, row.ids[i], i, facts.path, bound));
}

/// The vocabulary to draw from. The embedding may be larger than the tokenizer (padded); ids beyond the tokenizer never
/// occur in text.
std::int64_t drawn_vocabulary(const InputConfig& config, const ModelFacts& facts) {
  if (config.vocabulary) {
    if (*config.vocabulary < 1)
      throw UsageError(fmt::format("--vocabulary {}: at least 1 is needed", *config.vocabulary));
    if (facts.vocabulary && *config.vocabulary > *facts.vocabulary)
      throw UsageError(
          fmt::format("--vocabulary {}: {} has only {} ids", *config.vocabulary, facts.path, *facts.vocabulary));
    return *config.vocabulary;
  }
  if (facts.tokenizer_size && (!facts.vocabulary || *facts.tokenizer_size <= *facts.vocabulary))
    return *facts.tokenizer_size;
  if (facts.vocabulary) return *facts.vocabulary;
  throw UsageError(fmt::format("{} does not say how many ids there are: give --vocabulary N", facts.path));
}

/// Drawn sequences are held in memory: refused before they fill it and the machine with it.
void check_memory(const std::string& flag, std::int64_t count, std::int64_t length) {
  constexpr double kRowBytes = 128;  // of a sequence beside its ids
  const double needed = static_cast<double>(count) * (static_cast<double>(length) * sizeof(std::int64_t) + kRowBytes);
  const double there = static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGE_SIZE));
  if (needed > there / 2)
    throw DeviceError(
        fmt::format("{}: {} sequences of {} tokens take {:.0f} GB, more than half of this machine's {:.0f} "
                    "GB of memory. Give fewer, or --limit.",
                    flag, count, length, needed / 1e9, there / 1e9));
}

Source draw(const InputConfig& config, const ModelFacts& facts, std::int64_t count, bool repeated) {
  const std::string flag = fmt::format("{} {}", repeated ? "--repeated-token" : "--random-tokens", count);
  if (count < 1) throw UsageError(fmt::format("{}: at least 1 is needed", flag));
  count = std::min(count, config.limit.value_or(count));
  const std::int64_t length = config.length.value_or(kDrawnLength);
  check_memory(flag, count, length);
  Source source;
  source.name = repeated ? "repeated" : "random";
  source.vocabulary = drawn_vocabulary(config, facts);
  const auto rows = repeated ? repeated_rows : random_rows;
  source.rows = rows(count, length, *source.vocabulary, config.seed);
  return source;
}

Source stored_samples(const InputConfig& config, const ModelFacts& facts) {
  if (facts.samples.empty())
    throw UsageError(
        fmt::format("no input: {} stores no sample sequences. Give --tokens FILE, --random-tokens N or "
                    "--repeated-token N.",
                    facts.path));
  Source source;
  source.name = "samples";
  for (std::size_t i = 0; i < facts.samples.size() && (!config.limit || std::cmp_less(i, *config.limit)); ++i) {
    TokenRow row{.ids = facts.samples[i], .where = fmt::format("{}: sample {}", facts.path, i)};
    if (row.ids.empty()) throw InputError(fmt::format("{}: an empty sequence", row.where));
    source.rows.push_back(std::move(row));
  }
  return source;
}

}  // namespace

std::vector<TokenRow> random_rows(std::int64_t count, std::int64_t length, std::int64_t vocabulary, std::int64_t seed) {
  SplitMix64 seeds(static_cast<std::uint64_t>(seed));
  std::vector<TokenRow> rows;
  for (std::int64_t n = 0; n < count; ++n) {
    SplitMix64 random(seeds.next());
    TokenRow row{.ids = {}, .where = fmt::format("random sequence {}", n)};
    for (std::int64_t i = 0; i < length; ++i)
      row.ids.push_back(static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(vocabulary))));
    rows.push_back(std::move(row));
  }
  return rows;
}

std::vector<TokenRow> repeated_rows(std::int64_t count, std::int64_t length, std::int64_t vocabulary,
                                    std::int64_t seed) {
  if (count > vocabulary)
    throw UsageError(fmt::format("--repeated-token {}: every sequence repeats another id, but there are only {} ids",
                                 count, vocabulary));
  SplitMix64 random(static_cast<std::uint64_t>(seed));
  std::unordered_set<std::int64_t> used;
  std::vector<TokenRow> rows;
  while (std::ssize(rows) < count) {
    const auto id = static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(vocabulary)));
    if (!used.insert(id).second) continue;
    rows.push_back({.ids = std::vector<std::int64_t>(static_cast<std::size_t>(length), id),
                    .where = fmt::format("repeated sequence {}", rows.size())});
  }
  return rows;
}

Source read_source(const InputConfig& config, const ModelFacts& facts) {
  if (config.limit && *config.limit < 1)
    throw UsageError(fmt::format("--limit {}: at least 1 is needed", *config.limit));
  if (config.length && *config.length < 1)
    throw UsageError(fmt::format("--length {}: at least 1 is needed", *config.length));
  Source source;
  if (config.tokens) {
    source.name = "tokens";
    source.file = read_tokens(*config.tokens, config.limit);
    source.rows = std::move(source.file->rows);
  } else if (config.random_tokens || config.repeated_token) {
    source = draw(config, facts, config.random_tokens ? *config.random_tokens : *config.repeated_token,
                  !config.random_tokens);
  } else {
    source = stored_samples(config, facts);
  }
  check_vocabulary(source.rows, facts);
  return source;
}

}  // namespace sinkscope

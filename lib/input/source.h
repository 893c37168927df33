#pragma once
// Where the ids come from, before --bos and --length.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "files/tokens.h"
#include "input/input.h"

namespace sinkscope {

struct Source {
  std::string name;  ///< tokens | random | repeated | samples
  std::vector<TokenRow> rows;
  std::optional<TokenFile> file;           ///< without its rows
  std::optional<std::int64_t> vocabulary;  ///< that ids were drawn from
  bool drawn() const { return name == "random" || name == "repeated"; }
};

/// The first of --tokens, --random-tokens, --repeated-token and the model's samples that there is, after --limit. Ids
/// are checked against the model's vocabulary. Throws UsageError if there is none, saying which flags to give.
Source read_source(const InputConfig& config, const ModelFacts& facts);

/// `count` sequences of `length` ids, each uniform in [0, vocabulary). Sequence n draws from SplitMix64 seeded with the
/// n-th output (from 0) of SplitMix64(seed): the same on every machine, and a longer or larger input begins with the
/// smaller one.
std::vector<TokenRow> random_rows(std::int64_t count, std::int64_t length, std::int64_t vocabulary, std::int64_t seed);

/// `count` sequences that repeat one id `length` times: ids drawn from SplitMix64(seed), those already used drawn
/// again. Throws UsageError if the vocabulary has fewer ids than that.
std::vector<TokenRow> repeated_rows(std::int64_t count, std::int64_t length, std::int64_t vocabulary,
                                    std::int64_t seed);

}  // namespace sinkscope

#include "input/warnings.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>

namespace sinkscope {
namespace {

struct Runs {
  std::int64_t two = 0, three = 0;  ///< rows whose run is at least that long
};

/// Adds the run at the front of [begin, end) to the counts of its id.
template <class Iterator>
void count_run(Iterator begin, Iterator end, std::map<std::int64_t, Runs>& runs) {
  if (begin == end) return;
  const auto run_end = std::find_if(begin, end, [&](std::int64_t id) { return id != *begin; });
  if (run_end == end) return;
  Runs& counts = runs[*begin];
  counts.two += run_end - begin >= 2;
  counts.three += run_end - begin >= 3;
}

}  // namespace

std::optional<std::int64_t> padding_id(const std::vector<TokenRow>& rows, std::size_t skip) {
  std::map<std::int64_t, Runs> front, back;
  for (const TokenRow& row : rows) {
    const auto begin = row.ids.begin() + static_cast<std::ptrdiff_t>(std::min(skip, row.ids.size()));
    count_run(begin, row.ids.end(), front);
    count_run(row.ids.rbegin(), std::make_reverse_iterator(begin), back);
  }
  const auto tenth = (std::ssize(rows) + 9) / 10;
  for (const auto& side : {back, front})
    for (const auto& [id, runs] : side)
      if (runs.two >= std::max<std::int64_t>(tenth, 2) || runs.three >= std::max<std::int64_t>(tenth, 1)) return id;
  return std::nullopt;
}

std::vector<Warning> input_warnings(const Source& source, const std::vector<TokenRow>& rows, const BosPolicy& bos,
                                    const InputInfo& info, const ModelFacts& facts, std::int64_t without_bos) {
  std::vector<Warning> warnings;
  const auto warn = [&](const char* code, std::string message) { warnings.push_back({code, std::move(message)}); };
  const bool masked = source.file && source.file->masked;
  if (!source.drawn() && !masked) {
    if (const auto id = padding_id(rows, bos.prepend ? 1 : 0))
      warn("looks_padded",
           fmt::format("10 % of the sequences or more begin or end with a run of id {}: padding is measured like text. "
                       "Remove it, or give an attention_mask.",
                       *id));
  }
  if (bos.unknown)
    warn("bos_unknown",
         fmt::format("--bos {}: {} does not say what its tokenizer does about BOS; the ids run as they are", bos.name,
                     facts.path));
  if (without_bos > 0)
    warn("bos_absent", fmt::format("{} of {} sequences do not begin with the BOS ({}) that the model's tokenizer puts "
                                   "there; --bos auto adds it",
                                   without_bos, info.sequences, *bos.known_id));
  if (!source.drawn() && info.bos_inside > 0)
    warn("bos_inside", fmt::format("{} ids after position 0 are the BOS ({}): later tokens may act as sinks, too",
                                   info.bos_inside, *bos.known_id));
  if (info.min_length != info.max_length)
    warn("mixed_lengths",
         fmt::format(
             "sequences of {} to {} ids: values mix lengths, and every sequence counts the same; --length T crops",
             info.min_length, info.max_length));
  if (source.file && source.file->sidecar_is_of_another_file)
    warn("sidecar_ignored",
         fmt::format("{0}.meta.json describes another version of {0} and is ignored", source.file->path));
  if (info.tokenizer_sha256 && facts.tokenizer_sha256 && info.tokenizer_sha256 != facts.tokenizer_sha256)
    warn("other_tokenizer", fmt::format("the ids were made with the tokenizer {}, the model came with {}",
                                        info.tokenizer_name.value_or("?"), facts.tokenizer_name.value_or("?")));
  return warnings;
}

}  // namespace sinkscope

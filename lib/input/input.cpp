#include "input/input.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>

#include "base/error.h"
#include "base/sha256.h"
#include "input/bos.h"
#include "input/source.h"
#include "input/warnings.h"

namespace sinkscope {
namespace {

using nlohmann::ordered_json;

/// The value at object[key] if it has the type T; documents written by others may hold anything.
template <class T>
std::optional<T> maybe(const ordered_json& object, const char* key) {
  if (!object.is_object() || !object.contains(key)) return std::nullopt;
  const ordered_json& value = object[key];
  const bool fits = std::is_same_v<T, bool>          ? value.is_boolean()
                    : std::is_same_v<T, std::string> ? value.is_string()
                                                     : value.is_number_integer();
  return fits ? std::optional(value.get<T>()) : std::nullopt;
}

ordered_json child(const ordered_json& object, const char* key) {
  return object.is_object() && object.contains(key) ? object[key] : ordered_json();
}

/// Crops to `length`; shorter rows are dropped with a warning.
void crop(std::vector<TokenRow>& rows, std::int64_t length, std::vector<Warning>& warnings) {
  const std::size_t before = rows.size();
  std::int64_t longest = 0;
  for (const TokenRow& row : rows) longest = std::max<std::int64_t>(longest, std::ssize(row.ids));
  std::erase_if(rows, [&](const TokenRow& row) { return std::ssize(row.ids) < length; });
  if (rows.empty())
    throw InputError(
        fmt::format("--length {}: the longest sequence has {} ids; give a smaller length", length, longest));
  for (TokenRow& row : rows) row.ids.resize(static_cast<std::size_t>(length));
  if (rows.size() < before)
    warnings.push_back({"dropped_sequences", fmt::format("{} of {} sequences have fewer than {} ids and were dropped",
                                                         before - rows.size(), before, length)});
}

void check_positions(const std::vector<TokenRow>& rows, const ModelFacts& facts) {
  if (!facts.positions) return;
  for (const TokenRow& row : rows)
    if (std::ssize(row.ids) > *facts.positions)
      throw InputError(fmt::format("{}: {} ids, but {} has {} positions. Give --length {}.", row.where, row.ids.size(),
                                   facts.path, *facts.positions, *facts.positions));
}

void describe_tokenizer(InputInfo& info, const Source& source, const ModelFacts& facts) {
  if (source.name == "samples") {
    info.tokenizer_name = facts.tokenizer_name;
    info.tokenizer_sha256 = facts.tokenizer_sha256;
  } else if (source.file && !source.file->sidecar_is_of_another_file) {
    const ordered_json tokenizer = child(source.file->sidecar, "tokenizer"),
                       corpus = child(source.file->sidecar, "corpus");
    info.tokenizer_name = maybe<std::string>(tokenizer, "name");
    info.tokenizer_sha256 = maybe<std::string>(tokenizer, "sha256");
    info.corpus_name = maybe<std::string>(corpus, "name");
    info.corpus_sha256 = maybe<std::string>(corpus, "sha256");
  }
}

InputInfo describe(const Source& source, const std::vector<Sequence>& sequences, const BosPolicy& bos,
                   const InputConfig& config, const ModelFacts& facts) {
  InputInfo info;
  info.source = source.name;
  if (source.file) {
    info.path = source.file->path;
    info.file_sha256 = source.file->file_sha256;
  }
  info.vocabulary = source.vocabulary ? source.vocabulary : facts.vocabulary;
  info.bos_id = bos.known_id;
  info.bos_policy = bos.name;
  if (source.drawn()) info.seed = config.seed;
  count_sequences(info, sequences);
  describe_tokenizer(info, source, facts);
  return info;
}

/// Ids for models that take ids, numbers for those that take numbers; a file without metadata takes what is given.
void check_kind(const InputConfig& config, const ModelFacts& facts) {
  if (config.tensor && facts.input.value_or("tensor") != "tensor")
    throw UsageError(fmt::format("--tensor {}: {} takes token ids; give --tokens FILE", *config.tensor, facts.path));
  if (!config.tensor && facts.input == "tensor")
    throw UsageError(
        fmt::format("{} takes numbers (pixels, embeddings), not token ids: give --tensor FILE, .npy or "
                    ".safetensors [N, ...]",
                    facts.path));
  if (!config.tensor) return;
  if (config.length) throw UsageError("--length: rows of --tensor cannot be cropped");
  if (config.bos != "keep") throw UsageError(fmt::format("--bos {}: rows of --tensor have no ids", config.bos));
  if (config.limit && *config.limit < 1)
    throw UsageError(fmt::format("--limit {}: at least 1 is needed", *config.limit));
}

Input build_tensor_input(const InputConfig& config) {
  Input input;
  input.tensor = read_tensor_rows(*config.tensor);
  const TensorRows& rows = *input.tensor;
  const std::int64_t length = rows.shape.size() == 2 ? rows.shape.front() : 0;
  for (std::int64_t n = 0; n < std::min(rows.count, config.limit.value_or(rows.count)); ++n)
    input.sequences.push_back({.id = SequenceId{n}, .ids = {}, .length = length});
  input.info.source = "tensor";
  input.info.path = rows.path;
  input.info.file_sha256 = rows.file_sha256;
  input.info.bos_policy = config.bos;
  count_sequences(input.info, input.sequences, &rows);
  return input;
}

}  // namespace

void count_sequences(InputInfo& info, const std::vector<Sequence>& sequences, const TensorRows* tensor) {
  info.sha256 = tensor != nullptr ? sha256_of_rows(sequences, *tensor) : sha256_of_ids(sequences);
  info.sequences = std::ssize(sequences);
  info.tokens = info.max_length = info.bos_at_position_0 = info.bos_inside = 0;
  info.min_length = sequences.empty() ? 0 : sequences.front().length;
  info.position_0_ids.clear();
  for (const Sequence& sequence : sequences) {
    info.tokens += sequence.length;
    info.min_length = std::min(info.min_length, sequence.length);
    info.max_length = std::max(info.max_length, sequence.length);
    if (sequence.ids.empty()) continue;  // a row of numbers
    ++info.position_0_ids[sequence.ids.front()];
    if (!info.bos_id) continue;
    info.bos_at_position_0 += sequence.ids.front() == *info.bos_id;
    info.bos_inside += std::count(sequence.ids.begin() + 1, sequence.ids.end(), *info.bos_id);
  }
}

ModelFacts facts_from_metadata(const ordered_json& metadata, const std::string& path) {
  ModelFacts facts;
  facts.path = path;
  const ordered_json bos = child(metadata, "bos"), tokenizer = child(metadata, "tokenizer"),
                     samples = child(metadata, "samples");
  facts.vocabulary = maybe<std::int64_t>(metadata, "vocabulary");
  facts.bos_id = maybe<std::int64_t>(bos, "id");
  facts.bos_added_by_tokenizer = maybe<bool>(bos, "added_by_tokenizer");
  facts.tokenizer_name = maybe<std::string>(tokenizer, "name");
  facts.tokenizer_sha256 = maybe<std::string>(tokenizer, "sha256");
  facts.tokenizer_size = maybe<std::int64_t>(tokenizer, "size");
  facts.input = maybe<std::string>(metadata, "input");
  try {
    if (samples.is_array()) facts.samples = samples.get<std::vector<std::vector<std::int64_t>>>();
  } catch (const nlohmann::json::exception&) {
    throw InputError(
        fmt::format("{}: the samples in sinkscope.json are no lists of ids; export the model again", path));
  }
  return facts;
}

Input build_input(const InputConfig& config, const ModelFacts& facts) {
  check_kind(config, facts);
  if (config.tensor) return build_tensor_input(config);
  Source source = read_source(config, facts);
  const BosPolicy bos = resolve_bos(config.bos, facts, source.drawn());
  std::vector<TokenRow> rows = std::move(source.rows);
  apply(bos, rows);
  Input input;
  const auto length = source.drawn() ? config.length.value_or(kDrawnLength) : config.length;
  if (length) crop(rows, *length, input.warnings);
  check_positions(rows, facts);
  for (const TokenRow& row : rows)
    input.sequences.push_back(
        {.id = SequenceId{std::ssize(input.sequences)}, .ids = row.ids, .length = std::ssize(row.ids)});
  input.info = describe(source, input.sequences, bos, config, facts);
  const bool bos_wanted = bos.known_id && bos.added_by_tokenizer.value_or(false) && bos.name != "none";
  if (!source.drawn() && bos_wanted) input.without_bos = input.info.sequences - input.info.bos_at_position_0;
  std::vector<Warning> found = input_warnings(source, rows, bos, input.info, facts, input.without_bos);
  input.warnings.insert(input.warnings.end(), found.begin(), found.end());
  return input;
}

std::vector<Batch> batches(const std::vector<Sequence>& sequences, std::optional<std::int64_t> batch) {
  std::vector<Batch> made;
  std::map<std::int64_t, std::size_t> open;  // length -> the batch that still takes sequences
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    const std::int64_t length = sequences[i].length;
    const std::int64_t fitting = length > 0 ? kBatchTokens / length : kBatchRows;
    std::int64_t most = std::max<std::int64_t>(1, batch.value_or(fitting));
    if (most == length && most > 1) --most;
    const auto at = open.find(length);
    if (at != open.end() && std::ssize(made[at->second].sequences) < most) {
      made[at->second].sequences.push_back(i);
      continue;
    }
    open[length] = made.size();
    made.push_back({.sequences = {i}, .length = length});
  }
  // Never as many sequences as tokens: a tensor of a model that puts the tokens first would pass for one that does not.
  for (std::size_t i = 0, count = made.size(); i < count; ++i) {
    if (std::ssize(made[i].sequences) != made[i].length || made[i].length < 2) continue;
    made.push_back({.sequences = {made[i].sequences.back()}, .length = made[i].length});
    made[i].sequences.pop_back();
  }
  return made;
}

std::int64_t common_length(const std::vector<Sequence>& sequences) {
  std::map<std::int64_t, std::int64_t> counts;
  for (const Sequence& sequence : sequences) ++counts[sequence.length];
  std::int64_t best = 0, most = 0;
  for (const auto& [length, count] : counts) {
    if (count < most) continue;  // ascending lengths: a tie goes to the longer one
    best = length;
    most = count;
  }
  return best;
}

std::string sha256_of_ids(const std::vector<Sequence>& sequences) {
  Sha256 hash;
  for (const Sequence& sequence : sequences) {
    hash.update_int64(std::ssize(sequence.ids));
    for (const std::int64_t id : sequence.ids) hash.update_int64(id);
  }
  return hash.hex();
}

std::string sha256_of_rows(const std::vector<Sequence>& sequences, const TensorRows& tensor) {
  Sha256 hash;
  hash.update_int64(std::ssize(tensor.dtype)).update(tensor.dtype);
  hash.update_int64(std::ssize(tensor.shape));
  for (const std::int64_t n : tensor.shape) hash.update_int64(n);
  for (const Sequence& sequence : sequences) hash.update(tensor.row(index(sequence.id)));
  return hash.hex();
}

}  // namespace sinkscope

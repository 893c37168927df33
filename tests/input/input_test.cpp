#include "input/input.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/sha256.h"
#include "catch.h"
#include "files/safetensors.h"
#include "files/temporary.h"
#include "input/source.h"
#include "input/warnings.h"

using namespace sinkscope;
using Ids = std::vector<std::int64_t>;

namespace {

ModelFacts model() {
  ModelFacts facts;
  facts.path = "model.pt";
  facts.vocabulary = 100;
  facts.positions = 128;
  facts.bos_id = 1;
  facts.bos_added_by_tokenizer = true;
  return facts;
}

/// The ids that run when the model file stores `samples`.
std::vector<Ids> run(const std::vector<Ids>& samples, InputConfig config, ModelFacts facts = model()) {
  facts.samples = samples;
  std::vector<Ids> ids;
  for (const Sequence& sequence : build_input(config, facts).sequences) ids.push_back(sequence.ids);
  return ids;
}

std::vector<std::string> codes(const std::vector<Ids>& samples, InputConfig config = {}, ModelFacts facts = model()) {
  facts.samples = samples;
  std::vector<std::string> found;
  for (const Warning& warning : build_input(config, facts).warnings) found.push_back(warning.code);
  return found;
}

bool has(const std::vector<std::string>& found, const std::string& code) {
  return std::find(found.begin(), found.end(), code) != found.end();
}

template <class E>
std::string refusal(const InputConfig& config, const ModelFacts& facts) {
  return message_of<E>([&] { build_input(config, facts); });
}

}  // namespace

TEST_CASE("without a source the flags that give one are named", "[input]") {
  const std::string message = refusal<UsageError>({}, model());
  for (const char* flag : {"--tokens", "--random-tokens", "--repeated-token"}) CHECK(contains(message, flag));
}

TEST_CASE("a model that takes numbers gets the rows of --tensor, one that takes ids refuses them", "[input]") {
  const TemporaryFolder folder;
  const std::string path = folder / "rows.safetensors";
  const std::vector<float> values(2 * 3 * 4, 1.5F);
  AtomicFile file = AtomicFile::open(path);
  write_safetensors(file, {{"rows", {2, 3, 4}, std::span<const float>(values)}});
  ModelFacts facts = model();
  facts.input = "tensor";
  InputConfig config;
  config.tensor = path;
  const Input input = build_input(config, facts);
  REQUIRE(input.tensor.has_value());
  REQUIRE(input.sequences.size() == 2);
  CHECK(input.sequences[1].ids.empty());
  CHECK(input.sequences[1].length == 3);  // [T, d]
  CHECK(input.info.source == "tensor");
  CHECK(input.info.tokens == 6);
  CHECK(input.info.position_0_ids.empty());
  CHECK(input.info.sha256.size() == 64);
  config.limit = 1;
  CHECK(build_input(config, facts).sequences.size() == 1);
  CHECK(build_input(config, facts).info.sha256 != input.info.sha256);
  config.length = 2;
  CHECK(contains(refusal<UsageError>(config, facts), "--length"));
  CHECK(contains(refusal<UsageError>({}, facts), "--tensor"));
  facts.input = "tokens";
  config.length.reset();
  CHECK(contains(refusal<UsageError>(config, facts), "takes token ids"));
}

TEST_CASE("limit comes before BOS and BOS before length", "[input]") {
  CHECK(run({{5, 6, 7}, {8, 9, 10}, {11}}, {.length = 3, .limit = 2, .bos = "1"}) ==
        std::vector<Ids>{{1, 5, 6}, {1, 8, 9}});
}

TEST_CASE("each BOS policy does what it says", "[input]") {
  const std::vector<Ids> samples = {{1, 5}, {5, 6}};
  CHECK(run(samples, {.bos = "keep"}) == samples);
  CHECK(run(samples, {.bos = "none"}) == std::vector<Ids>{{5}, {5, 6}});
  CHECK(run(samples, {.bos = "auto"}) == std::vector<Ids>{{1, 5}, {1, 5, 6}});
  CHECK(run(samples, {.bos = "7"}) == std::vector<Ids>{{7, 1, 5}, {7, 5, 6}});
  ModelFacts plain = model();
  plain.bos_added_by_tokenizer = false;
  CHECK(run(samples, {.bos = "auto"}, plain) == std::vector<Ids>{{5}, {5, 6}});
}

TEST_CASE("a BOS that nothing is known about changes no id and is warned of", "[input]") {
  ModelFacts unknown = model();
  unknown.bos_id.reset();
  unknown.bos_added_by_tokenizer.reset();
  for (const char* policy : {"auto", "none"}) {
    CAPTURE(policy);
    CHECK(run({{5, 6}}, {.bos = policy}, unknown) == std::vector<Ids>{{5, 6}});
    CHECK(has(codes({{5, 6}}, {.bos = policy}, unknown), "bos_unknown"));
  }
}

TEST_CASE("a BOS flag that makes no sense is a usage error", "[input]") {
  ModelFacts facts = model();
  facts.samples = {{5}};
  CHECK(contains(refusal<UsageError>({.bos = "maybe"}, facts), "--bos maybe"));
  CHECK(contains(refusal<UsageError>({.bos = "100"}, facts), "outside the vocabulary"));
  facts.samples = {{1}};
  CHECK(contains(refusal<InputError>({.bos = "none"}, facts), "leaves nothing"));
}

TEST_CASE("sequences shorter than the length are dropped and warned of", "[input]") {
  CHECK(run({{1, 2, 3}, {1, 2}}, {.length = 3}) == std::vector<Ids>{{1, 2, 3}});
  CHECK(has(codes({{1, 2, 3}, {1, 2}}, {.length = 3}), "dropped_sequences"));
  ModelFacts facts = model();
  facts.samples = {{1, 2}};
  CHECK(contains(refusal<InputError>({.length = 3}, facts), "the longest sequence has 2 ids"));
}

TEST_CASE("ids outside the vocabulary are refused with line and id", "[input]") {
  const TemporaryFolder folder;
  const std::string path = folder.file("t.jsonl", "[1,2]\n[3,100]\n");
  CHECK(contains(refusal<InputError>({.tokens = path}, model()),
                 "line 2: id 100 at position 1 is outside the vocabulary"));
}

TEST_CASE("a sequence longer than the model's positions is refused with the length to give", "[input]") {
  const std::string message = refusal<InputError>({.random_tokens = 1, .length = 129}, model());
  CHECK(contains(message, "129 ids"));
  CHECK(contains(message, "--length 128"));
}

TEST_CASE("random ids are the documented ones on every machine", "[input]") {
  const auto rows = random_rows(2, 4, 1000, 0);
  CHECK(rows[0].ids == Ids{55, 654, 231, 438});
  CHECK(rows[1].ids == Ids{600, 278, 576, 746});
  CHECK(random_rows(1, 4, 1000, 1)[0].ids != rows[0].ids);
}

TEST_CASE("a larger random input begins with the smaller one", "[input]") {
  const auto small = random_rows(2, 5, 50, 3), large = random_rows(4, 9, 50, 3);
  for (std::size_t i = 0; i < small.size(); ++i)
    CHECK(std::equal(small[i].ids.begin(), small[i].ids.end(), large[i].ids.begin()));
}

TEST_CASE("random ids reach the whole vocabulary and stay inside it", "[input]") {
  std::set<std::int64_t> seen;
  for (const TokenRow& row : random_rows(4, 100, 7, 0)) seen.insert(row.ids.begin(), row.ids.end());
  CHECK(seen == std::set<std::int64_t>{0, 1, 2, 3, 4, 5, 6});
}

TEST_CASE("every repeated sequence repeats an id of its own", "[input]") {
  std::set<std::int64_t> seen;
  for (const TokenRow& row : repeated_rows(10, 3, 10, 0)) {
    CHECK(row.ids == Ids(3, row.ids[0]));
    seen.insert(row.ids[0]);
  }
  CHECK(seen.size() == 10);
  CHECK_THROWS_AS(repeated_rows(11, 3, 10, 0), UsageError);
}

TEST_CASE("more drawn sequences than memory holds are refused before any is drawn", "[input]") {
  CHECK(contains(refusal<DeviceError>({.random_tokens = 9'999'999'999'999}, model()), "GB of memory"));
  CHECK(build_input({.random_tokens = 9'999'999'999'999, .limit = 2}, model()).info.sequences == 2);
}

TEST_CASE("random ids are drawn from the tokenizer's ids, 64 a sequence, with a BOS only on request", "[input]") {
  ModelFacts facts = model();
  facts.tokenizer_size = 3;
  const Input input = build_input({.random_tokens = 5, .bos = "auto"}, facts);
  CHECK(input.info.vocabulary == 3);
  CHECK(input.info.min_length == 64);
  CHECK(input.info.seed == 0);
  CHECK(input.warnings.empty());
  const Input with_bos = build_input({.random_tokens = 5, .bos = "99"}, facts);
  CHECK(with_bos.info.max_length == 64);
  CHECK(with_bos.info.position_0_ids == std::map<std::int64_t, std::int64_t>{{99, 5}});
}

TEST_CASE("a vocabulary that nothing states must be given and must fit the model", "[input]") {
  CHECK(contains(refusal<UsageError>({.random_tokens = 1}, {.path = "m.pt"}), "--vocabulary"));
  CHECK(contains(refusal<UsageError>({.random_tokens = 1, .vocabulary = 101}, model()), "only 100 ids"));
  CHECK(build_input({.random_tokens = 1, .vocabulary = 5}, {.path = "m.pt"}).info.vocabulary == 5);
}

TEST_CASE("the input hash covers lengths and ids in order", "[input]") {
  ModelFacts facts = model();
  facts.samples = {{1, 2}, {3}};
  const Input input = build_input({}, facts);
  Sha256 expected;
  for (const std::int64_t value : {2, 1, 2, 1, 3}) expected.update_int64(value);
  CHECK(input.info.sha256 == expected.hex());
  facts.samples = {{1}, {2, 3}};
  CHECK(build_input({}, facts).info.sha256 != input.info.sha256);
}

TEST_CASE("a jsonl file and the stored samples with the same ids have the same input hash", "[input]") {
  const TemporaryFolder folder;
  ModelFacts facts = model();
  facts.samples = {{1, 2}, {3}};
  const std::string path = folder.file("t.jsonl", "[1,2]\n[3]\n[4]\n");
  CHECK(build_input({.tokens = path, .limit = 2}, facts).info.sha256 == build_input({}, facts).info.sha256);
}

TEST_CASE("what is said about BOS is counted", "[input]") {
  ModelFacts facts = model();
  facts.samples = {{1, 5, 1}, {1, 6, 7}, {8, 9, 10}};
  const InputInfo info = build_input({}, facts).info;
  CHECK(info.bos_id == 1);
  CHECK(info.bos_at_position_0 == 2);
  CHECK(build_input({}, facts).without_bos == 1);
  CHECK(info.bos_inside == 1);
  CHECK(info.position_0_ids == std::map<std::int64_t, std::int64_t>{{1, 2}, {8, 1}});
}

TEST_CASE("warnings about BOS come where text lacks or repeats it", "[input]") {
  CHECK(has(codes({{5, 6}}), "bos_absent"));
  CHECK_FALSE(has(codes({{1, 6}}), "bos_absent"));
  CHECK_FALSE(has(codes({{5, 6}}, {.bos = "none"}), "bos_absent"));
  CHECK(has(codes({{1, 6, 1}}), "bos_inside"));
  CHECK_FALSE(has(codes({{1, 6}}), "bos_inside"));
}

TEST_CASE("mixed lengths are warned of", "[input]") {
  CHECK(has(codes({{1, 5}, {1, 6, 7}}), "mixed_lengths"));
  CHECK_FALSE(has(codes({{1, 5}, {1, 6}}), "mixed_lengths"));
}

TEST_CASE("rows that look padded are warned of, at either end, unless a mask says otherwise", "[input]") {
  std::vector<Ids> rows;
  for (std::int64_t i = 0; i < 20; ++i) rows.push_back({1, 10 + i, 40 + i, 70 + i});
  CHECK_FALSE(has(codes(rows), "looks_padded"));
  rows[3] = {1, 10, 2, 2};
  CHECK_FALSE(has(codes(rows), "looks_padded"));  // one of twenty
  rows[7] = {1, 11, 2, 2};
  CHECK(has(codes(rows), "looks_padded"));
  for (Ids& row : rows) std::reverse(row.begin(), row.end());
  CHECK(has(codes(rows), "looks_padded"));

  const TemporaryFolder folder;
  const std::string padded = folder.file("t.jsonl", "{\"input_ids\":[1,2,0,0,0],\"attention_mask\":[1,1,0,0,0]}\n");
  CHECK_FALSE(has(codes({}, {.tokens = padded}), "looks_padded"));
  const std::string bare = folder.file("u.jsonl", "[1,2,0,0,0]\n");
  CHECK(has(codes({}, {.tokens = bare}), "looks_padded"));
}

TEST_CASE("the tokenizer and corpus of a sidecar are copied", "[input]") {
  const TemporaryFolder folder;
  const std::string path = folder.file("t.jsonl", "[1,2]\n");
  folder.file("t.jsonl.meta.json",
              R"({"tokenizer":{"name":"gpt2","sha256":"ab"},"corpus":{"name":"book.txt","sha256":"cd"}})");
  ModelFacts facts = model();
  facts.tokenizer_sha256 = "other";
  const Input input = build_input({.tokens = path}, facts);
  CHECK(input.info.tokenizer_name == "gpt2");
  CHECK(input.info.corpus_sha256 == "cd");
  REQUIRE_FALSE(input.warnings.empty());
  CHECK(input.warnings.back().code == "other_tokenizer");
}

TEST_CASE("facts are read from the metadata of a model file, and nonsense is taken as absent", "[input]") {
  const auto metadata = nlohmann::ordered_json::parse(
      R"({"vocabulary":65,"bos":{"id":0,"added_by_tokenizer":true},"tokenizer":{"name":"chars","size":"many"},"samples":[[0,1]]})");
  const ModelFacts facts = facts_from_metadata(metadata, "m.pt");
  CHECK(facts.vocabulary == 65);
  CHECK(facts.bos_id == 0);
  CHECK(facts.bos_added_by_tokenizer == true);
  CHECK(facts.tokenizer_name == "chars");
  CHECK_FALSE(facts.tokenizer_size);
  CHECK(facts.samples == std::vector<Ids>{{0, 1}});
  CHECK_FALSE(facts_from_metadata(nullptr, "m.pt").vocabulary);
}

TEST_CASE("batches group equal lengths in input order and never pad", "[input]") {
  std::vector<Sequence> sequences;
  for (const std::int64_t length : {4, 8, 4, 4, 8}) sequences.push_back({.id = {}, .ids = {}, .length = length});
  const auto made = batches(sequences, 2);
  REQUIRE(made.size() == 3);
  CHECK(made[0].sequences == std::vector<std::size_t>{0, 2});
  CHECK(made[1].sequences == std::vector<std::size_t>{1, 4});
  CHECK(made[2].sequences == std::vector<std::size_t>{3});
  CHECK(made[1].length == 8);
}

TEST_CASE("by default a batch holds as many sequences as fit in 8192 ids, at least one", "[input]") {
  const std::vector<Sequence> sequences(5, Sequence{.id = {}, .ids = {}, .length = 4096});
  CHECK(batches(sequences).size() == 3);
  CHECK(batches({Sequence{.id = {}, .ids = {}, .length = 100000}}).size() == 1);
  CHECK(batches({}).empty());
}

TEST_CASE("a batch never holds as many sequences as tokens", "[input]") {
  const auto sizes = [](std::int64_t count, std::int64_t length, std::optional<std::int64_t> batch) {
    std::vector<Sequence> sequences(static_cast<std::size_t>(count));
    for (Sequence& sequence : sequences) sequence.length = length;
    std::vector<std::size_t> found;
    for (const Batch& made : batches(sequences, batch)) found.push_back(made.sequences.size());
    return found;
  };
  CHECK(sizes(64, 64, std::nullopt) == std::vector<std::size_t>{63, 1});
  CHECK(sizes(8, 4, 4) == std::vector<std::size_t>{3, 3, 2});
  CHECK(sizes(65, 64, std::nullopt) == std::vector<std::size_t>{65});
  CHECK(sizes(2, 1, 1) == std::vector<std::size_t>{1, 1});  // one token: nothing to mistake
}

TEST_CASE("the common length is the most frequent, of equally frequent ones the longest", "[input]") {
  std::vector<Sequence> sequences;
  for (const std::int64_t length : {4, 8, 8, 4, 2}) sequences.push_back({.id = {}, .ids = {}, .length = length});
  CHECK(common_length(sequences) == 8);
  CHECK(common_length({}) == 0);
}

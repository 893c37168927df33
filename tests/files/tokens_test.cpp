#include "files/tokens.h"

#include "base/error.h"
#include "base/sha256.h"
#include "catch.h"
#include "files/safetensors.h"
#include "files/temporary.h"

using namespace sinkscope;
using Ids = std::vector<std::int64_t>;

namespace {

std::string refusal(const std::string& name, const std::string& content) {
  const TemporaryFolder folder;
  const std::string path = folder.file(name, content);
  return message_of<Error>([&] { read_tokens(path); });
}

std::vector<Ids> ids_of(const TokenFile& file) {
  std::vector<Ids> ids;
  for (const TokenRow& row : file.rows) ids.push_back(row.ids);
  return ids;
}

std::string npy(const std::string& descr, const std::string& shape, const std::string& data) {
  const std::string header = "{'descr': '" + descr + "', 'fortran_order': False, 'shape': " + shape + ", }";
  return std::string("\x93NUMPY\x01\x00", 8) + static_cast<char>(header.size()) + '\0' + header + data;
}

}  // namespace

TEST_CASE("the three forms of a jsonl line give the same ids", "[files]") {
  const TemporaryFolder folder;
  const TokenFile file = read_tokens(
      folder.file("t.jsonl", "[1,2,3]\n{\"ids\":[1,2,3]}\r\n{\"input_ids\":[1,2,3],\"attention_mask\":[1,1,1]}\n"));
  CHECK(ids_of(file) == std::vector<Ids>(3, Ids{1, 2, 3}));
  CHECK(file.masked);
  CHECK(file.sidecar.is_null());
}

TEST_CASE("a last line without a line end counts, a trailing line end is no line", "[files]") {
  const TemporaryFolder folder;
  CHECK(read_tokens(folder.file("a.jsonl", "[1]\n[2]")).rows.size() == 2);
  CHECK(read_tokens(folder.file("b.jsonl", "[1]\n[2]\n")).rows.size() == 2);
}

TEST_CASE("the ending of a token file may be in any case", "[files]") {
  const TemporaryFolder folder;
  CHECK(ids_of(read_tokens(folder.file("T.JSONL", "[1,2]\n"))) == std::vector<Ids>{{1, 2}});
  CHECK(ids_of(read_tokens(folder.file("t.Npy", npy("<i4", "(1, 2)", std::string("\1\0\0\0\2\0\0\0", 8))))) ==
        std::vector<Ids>{{1, 2}});
  CHECK(contains(refusal("t.txt", "[1,2]\n"), "--tokens takes a .jsonl"));
}

TEST_CASE("padding that a mask marks is removed at both ends", "[files]") {
  CHECK(without_padding({9, 9, 1, 2, 9}, {0, 0, 1, 1, 0}, "x") == Ids{1, 2});
}

TEST_CASE("a mask with a hole, of another size or without an id is refused", "[files]") {
  CHECK(contains(message_of<InputError>([] {
                   without_padding({1, 2, 3}, {1, 0, 1}, "f: line 4");
                 }),
                 "f: line 4: attention_mask has a hole at position 1"));
  CHECK(contains(message_of<InputError>([] { without_padding({1, 2}, {1}, "x"); }), "1 entries for 2 ids"));
  CHECK(contains(message_of<InputError>([] { without_padding({1, 2}, {0, 0}, "x"); }), "leaves no id"));
  CHECK(contains(message_of<InputError>([] {
                   without_padding({1, 2, 3}, {1, 2, 1}, "x");
                 }),
                 "holds 2 at position 1; 0 and 1 are allowed"));
}

TEST_CASE("every bad line of a jsonl file is refused with file, line and id", "[files]") {
  const auto message = [](const std::string& line) { return refusal("t.jsonl", "[1,2]\n" + line + "\n[3]\n"); };
  CHECK(contains(message("[5,-7]"), "t.jsonl: line 2: id -7 at position 1 is negative"));
  CHECK(contains(message("[5,1.5]"), "line 2: id 1.5 at position 1 is not an integer"));
  CHECK(contains(message("[5,\"a\"]"), "is not an integer"));
  CHECK(contains(message("[true]"), "is not an integer"));
  CHECK(contains(message("[9223372036854775808]"), "is too large"));
  CHECK(contains(message("[99999999999999999999999]"), "is too large"));
  CHECK(contains(message("[[1,2]]"), "one sequence a line"));
  CHECK(contains(message("[]"), "line 2: an empty sequence"));
  CHECK(contains(message(""), "line 2: an empty line"));
  CHECK(contains(message("  "), "line 2: an empty line"));
  CHECK(contains(message("once upon a time"), "line 2: not JSON"));
  CHECK(contains(message("[1,2"), "line 2: not JSON"));
  CHECK(contains(message(std::string("[1,2]\0", 6)), "line 2: not JSON"));
  CHECK(contains(message("null"), "line 2: no token ids"));
  CHECK(contains(message("{\"ids\":[1],\"ids\":[2]}"), "line 2: has the key \"ids\" twice"));
  CHECK(contains(message("{\"text\":\"a\"}"), "line 2: no token ids"));
  CHECK(contains(message("{\"ids\":[1],\"input_ids\":[1]}"), "both"));
  CHECK(contains(message("{\"ids\":7}"), "no list of ids"));
  CHECK(contains(message("{\"input_ids\":[1,2],\"attention_mask\":[1,0.5]}"), "0 and 1"));
}

TEST_CASE("lines after the limit are not looked at", "[files]") {
  const TemporaryFolder folder;
  CHECK(read_tokens(folder.file("t.jsonl", "[1]\n[2]\nnonsense\n"), 2).rows.size() == 2);
}

TEST_CASE("an empty token file is refused", "[files]") { CHECK(contains(refusal("t.jsonl", ""), "holds no sequence")); }

TEST_CASE("a file whose ending says nothing is a usage error that lists the endings", "[files]") {
  const TemporaryFolder folder;
  const std::string path = folder.file("text.txt", "once upon a time");
  CHECK(contains(message_of<UsageError>([&] { read_tokens(path); }), ".jsonl, .npy or .safetensors"));
  CHECK(contains(message_of<InputError>([&] { read_tokens(folder / "none.jsonl"); }), "none.jsonl"));
}

TEST_CASE("int32 and int64 npy files give the ids row by row", "[files]") {
  using namespace std::string_literals;
  const TemporaryFolder folder;
  const std::vector<Ids> expected = {{1, 2}, {3, 4}};
  CHECK(ids_of(read_tokens(folder.file("a.npy", npy("<i4", "(2, 2)", "\1\0\0\0\2\0\0\0\3\0\0\0\4\0\0\0"s)))) ==
        expected);
  CHECK(ids_of(read_tokens(folder.file(
            "b.npy", npy("<i8", "(2, 2)", "\1\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0\3\0\0\0\0\0\0\0\4\0\0\0\0\0\0\0"s)))) ==
        expected);
}

TEST_CASE("npy files of another type, rank or sign are refused", "[files]") {
  CHECK(contains(refusal("t.npy", npy("<f4", "(1, 1)", "1234")), "type f4"));
  CHECK(contains(refusal("t.npy", npy("<i4", "(1,)", "1234")), "one sequence: save ids[None, :]"));
  CHECK(contains(refusal("t.npy", npy("<i4", "(1, 1)", "\xff\xff\xff\xff")), "row 0: id -1 at position 0 is negative"));
  CHECK(contains(refusal("t.npy", npy("<i4", "(1, 0)", "")), "empty sequence"));
  CHECK(contains(refusal("t.npy", npy("<i4", "(0, 4)", "")), "holds no sequence"));
}

TEST_CASE("a safetensors file gives input_ids without what attention_mask marks", "[files]") {
  const TemporaryFolder folder;
  const std::vector<std::int64_t> ids = {1, 2, 0, 3, 4, 5}, mask = {1, 1, 0, 1, 1, 1};
  AtomicFile out = AtomicFile::open(folder / "t.safetensors");
  write_safetensors(out, {{"input_ids", {2, 3}, std::span(ids)}, {"attention_mask", {2, 3}, std::span(mask)}});
  CHECK(ids_of(read_tokens(folder / "t.safetensors")) == std::vector<Ids>{{1, 2}, {3, 4, 5}});

  AtomicFile other = AtomicFile::open(folder / "u.safetensors");
  write_safetensors(other, {{"ids", {2, 3}, std::span(ids)}});
  CHECK(contains(message_of<InputError>([&] { read_tokens(folder / "u.safetensors"); }), "no tensor input_ids"));
}

TEST_CASE("a sidecar is read, and not trusted when it describes another file", "[files]") {
  const TemporaryFolder folder;
  const std::string path = folder.file("t.jsonl", "[1]\n");
  folder.file("t.jsonl.meta.json", R"({"file_sha256":")" + sha256_of("[1]\n") + R"(","tokenizer":{"name":"gpt2"}})");
  CHECK(read_tokens(path).sidecar["tokenizer"]["name"] == "gpt2");
  CHECK_FALSE(read_tokens(path).sidecar_is_of_another_file);
  folder.file("t.jsonl", "[2]\n");
  CHECK(read_tokens(path).sidecar_is_of_another_file);
  folder.file("t.jsonl.meta.json", "{");
  CHECK(contains(message_of<InputError>([&] { read_tokens(path); }), "t.jsonl.meta.json"));
}

#include "check/differences.h"

#include <fmt/format.h>

#include <algorithm>

namespace sinkscope {
namespace {

using Json = nlohmann::ordered_json;

const Json kNull;

/// The member at a path; null where there is none: a saved report may be older than what is asked for.
const Json& at(const Json& json, std::initializer_list<const char*> path) {
  const Json* here = &json;
  for (const char* key : path) {
    if (!here->is_object()) return kNull;
    const auto found = here->find(key);
    if (found == here->end()) return kNull;
    here = &*found;
  }
  return *here;
}

std::string words_of(const Json& value) {
  if (value.is_null()) return "unknown";
  const std::string text =
      value.is_string() ? value.get<std::string>() : value.dump(-1, ' ', false, Json::error_handler_t::replace);
  const bool is_hash = text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
  return is_hash ? text.substr(0, 12) : text;
}

std::string moved(const std::string& name, const Json& from, const Json& to) {
  return fmt::format("{} {} -> {}", name, words_of(from), words_of(to));
}

/// Adds "name a -> b" to `words` where the members differ.
void compare(std::string& words, const std::string& name, const Json& from, const Json& to) {
  if (from != to) words += (words.empty() ? "" : ", ") + moved(name, from, to);
}

std::string length_words(const Json& length) {
  const Json &least = at(length, {"min"}), &most = at(length, {"max"});
  return least == most ? words_of(least) : fmt::format("{} to {}", words_of(least), words_of(most));
}

/// Which of the facts that shape the ids differ; the ids themselves where none does.
std::string input_words(const Json& from, const Json& to) {
  std::string words;
  if (at(from, {"length"}) != at(to, {"length"}))
    words = fmt::format("length {} -> {}", length_words(at(from, {"length"})), length_words(at(to, {"length"})));
  compare(words, "sequences", at(from, {"sequences"}), at(to, {"sequences"}));
  compare(words, "source", at(from, {"source"}), at(to, {"source"}));
  compare(words, "seed", at(from, {"seed"}), at(to, {"seed"}));
  compare(words, "BOS", at(from, {"bos", "id"}), at(to, {"bos", "id"}));
  compare(words, "BOS policy", at(from, {"bos", "policy"}), at(to, {"bos", "policy"}));
  return "other ids ran: " + (words.empty() ? moved("SHA-256", at(from, {"sha256"}), at(to, {"sha256"})) : words);
}

bool same_tokenizer(const Json& from, const Json& to) {
  const Json &a = at(from, {"sha256"}), &b = at(to, {"sha256"});
  if (a.is_null() && b.is_null()) return at(from, {"name"}) == at(to, {"name"});
  return a == b;
}

std::string tokenizer_words(const Json& tokenizer) {
  if (tokenizer.is_null()) return "unknown";
  return fmt::format("{} ({})", words_of(at(tokenizer, {"name"})), words_of(at(tokenizer, {"sha256"})));
}

void compare_sites(const Json& from, const Json& to, std::vector<Difference>& found) {
  if (from.size() != to.size()) {
    found.push_back({Reason::sites, fmt::format("{} -> {} attention sites", from.size(), to.size())});
    return;
  }
  std::string kinds, heads;
  for (std::size_t i = 0; i < from.size(); ++i) {
    const std::string site = fmt::format("site {}", i);
    compare(kinds, site, at(from[i], {"kind"}), at(to[i], {"kind"}));
    compare(heads, site + " query heads", at(from[i], {"query_heads"}), at(to[i], {"query_heads"}));
    compare(heads, site + " KV heads", at(from[i], {"kv_heads"}), at(to[i], {"kv_heads"}));
  }
  if (!kinds.empty()) found.push_back({Reason::sites, "kind of attention: " + kinds});
  if (!heads.empty()) found.push_back({Reason::heads, heads});
}

}  // namespace

std::vector<Difference> run_differences(const Json& from, const Json& to) {
  std::vector<Difference> found;
  if (at(from, {"complete"}) != at(to, {"complete"}))
    found.push_back({Reason::complete,
                     at(to, {"complete"}) == true ? "OLD is of an interrupted run" : "NEW is of an interrupted run"});
  if (at(from, {"input", "sha256"}) != at(to, {"input", "sha256"}))
    found.push_back({Reason::input, input_words(at(from, {"input"}), at(to, {"input"}))});
  const Json &tokenizer = at(from, {"input", "tokenizer"}), &other = at(to, {"input", "tokenizer"});
  if (!same_tokenizer(tokenizer, other))
    found.push_back(
        {Reason::tokenizer, fmt::format("tokenizer {} -> {}", tokenizer_words(tokenizer), tokenizer_words(other))});
  if (at(from, {"settings", "dtype"}) != at(to, {"settings", "dtype"}))
    found.push_back({Reason::dtype, moved("dtype", at(from, {"settings", "dtype"}), at(to, {"settings", "dtype"}))});
  compare_sites(at(from, {"sites"}), at(to, {"sites"}), found);
  return found;
}

std::vector<Difference> metric_differences(const Json& from, const Json& to) {
  std::vector<Difference> found;
  std::string definition, parameters;
  compare(definition, "definition version", at(from, {"definition_version"}), at(to, {"definition_version"}));
  compare(definition, "unit", at(from, {"unit"}), at(to, {"unit"}));
  if (!definition.empty()) found.push_back({Reason::definition, definition});
  const Json &old_ones = at(from, {"parameters"}), &new_ones = at(to, {"parameters"});
  for (const auto& [name, value] : old_ones.items()) {
    if (new_ones.contains(name)) {
      compare(parameters, name, value, new_ones[name]);
    } else {
      parameters += (parameters.empty() ? "" : ", ") + fmt::format("{} {} -> absent", name, words_of(value));
    }
  }
  for (const auto& [name, value] : new_ones.items())
    if (!old_ones.contains(name))
      parameters += (parameters.empty() ? "" : ", ") + fmt::format("{} absent -> {}", name, words_of(value));
  if (!parameters.empty()) found.push_back({Reason::parameters, parameters});
  return found;
}

std::vector<std::string> remarks(const Json& from, const Json& to) {
  std::vector<std::string> found;
  const auto fact = [&](const std::string& name, std::initializer_list<const char*> path) {
    if (at(from, path) != at(to, path)) found.push_back(moved(name, at(from, path), at(to, path)));
  };
  fact("sinkscope", {"tool", "version"});
  fact("libtorch", {"settings", "torch"});
  fact("device", {"settings", "device"});
  const Json &old_sites = at(from, {"sites"}), &new_sites = at(to, {"sites"});
  for (std::size_t i = 0; i < std::min(old_sites.size(), new_sites.size()); ++i)
    for (const char* key : {"path", "mask", "window", "head_dim", "measured_by"})
      if (at(old_sites[i], {key}) != at(new_sites[i], {key}))
        found.push_back(moved(fmt::format("site {}: {}", i, key), at(old_sites[i], {key}), at(new_sites[i], {key})));
  return found;
}

}  // namespace sinkscope

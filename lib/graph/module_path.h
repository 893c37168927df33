#pragma once
// Dotted paths of modules, "" for the root.

#include <string>
#include <string_view>

namespace sinkscope {

/// "a.b" of "a.b.c", "" of "a".
std::string parent_of(const std::string& path);
/// "c" of "a.b.c".
std::string last_of(const std::string& path);
/// Whether the last name is a number: the module is an element of a list.
bool is_list_element(const std::string& path);
/// Whether `path` is `module` or lies below it.
bool contains(const std::string& module, const std::string& path);
/// "a.b" of "a" and "b".
std::string join_path(const std::string& module, std::string_view name);

}  // namespace sinkscope

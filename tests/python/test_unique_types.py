"""Two types of one name in one namespace would share their vectors' code (the one definition rule), and no compiler says so."""

import re
from collections import defaultdict

from support import REPOSITORY

DEFINITION = re.compile(r"^(?:struct|class|enum class) (\w+)[^;\n]*[{:]", re.MULTILINE)


def test_every_type_of_the_namespace_is_defined_in_one_header():
    places = defaultdict(set)
    for header in sorted((REPOSITORY / "lib").rglob("*.h")):
        text = header.read_text(encoding="utf-8")
        namespaces = re.findall(r"^namespace ([\w:]+) \{", text, re.MULTILINE)
        for name in DEFINITION.findall(text):
            places[namespaces[0] if namespaces else "", name].add(str(header.relative_to(REPOSITORY)))
    assert len(places) > 100
    assert {name: found for name, found in places.items() if len(found) > 1} == {}

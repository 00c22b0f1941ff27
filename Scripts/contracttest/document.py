"""Writes OpenAPI/postrider.json from OpenAPI/postrider.yaml. Runs in the environment of environment.py.

YAML is read by its 1.2 core schema, so that no date and no `on` turns into something else; a key that comes twice, or
is no string, is an error.
"""

import json
import pathlib
import re
import sys

import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
YAML = ROOT / "OpenAPI" / "postrider.yaml"
JSON = ROOT / "OpenAPI" / "postrider.json"


class Loader(yaml.SafeLoader):
    """YAML 1.2, core schema, as far as this document needs it."""

    yaml_implicit_resolvers = {}

    def construct_mapping(self, node, deep=False):
        mapping = {}
        for key_node, value_node in node.value:
            key = self.construct_object(key_node)
            if not isinstance(key, str):
                raise yaml.YAMLError(f"{key_node.start_mark}: a key is no string")
            if key in mapping:
                raise yaml.YAMLError(f"{key_node.start_mark}: {key} is there twice")
            mapping[key] = self.construct_object(value_node, deep=True)
        return mapping


Loader.add_constructor("tag:yaml.org,2002:map", lambda loader, node: loader.construct_mapping(node))
for tag, pattern, first in [
    ("null", r"^(?:null|~|)$", ["n", "~", ""]),
    ("bool", r"^(?:true|false)$", ["t", "f"]),
    ("int", r"^-?[0-9]+$", list("-0123456789")),
    ("float", r"^-?[0-9]+\.[0-9]+$", list("-0123456789")),
]:
    Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(pattern), first)


def converted(text):
    """text: YAML. Returns JSON on one line."""
    return json.dumps(yaml.load(text, Loader), ensure_ascii=False, separators=(",", ":")) + "\n"


def main(arguments):
    expected = converted(YAML.read_text(encoding="utf-8"))
    if arguments == ["--check"]:
        if not JSON.exists() or JSON.read_text(encoding="utf-8") != expected:
            sys.exit("error: OpenAPI/postrider.json is not what OpenAPI/postrider.yaml says; run Scripts/openapi")
    elif arguments:
        sys.exit(f"error: unknown option {arguments[0]}; only --check is known")
    else:
        JSON.write_text(expected, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])

#!/usr/bin/env python3
"""Fails where files of one crate import each other in a circle.

usage: circles.py FOLDER...      each the `src` folder of a crate

A file depends on the files that its `use` lines and its `crate::`, `self::` and `super::` paths
name. A module and the modules below it count as one in this: a parent may hold what its children
need. Test modules inside a file are left out.
"""

import re
import sys
from pathlib import Path


def modules(root):
    """Path of each file, by the name of its module; the crate root has the empty name."""
    found = {}
    for path in sorted(root.rglob("*.rs")):
        name = "::".join(path.relative_to(root).with_suffix("").parts)
        found["" if name in ("lib", "main") else name] = path
    return found


def split_list(text):
    """The parts of a list between braces, as commas outside of inner braces part it."""
    parts, depth = [""], 0
    for character in text:
        depth += (character == "{") - (character == "}")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part for part in parts if part.strip()]


def expand(use):
    """The paths of one `use` line."""
    before, brace, rest = use.partition("{")
    if not brace:
        return ["".join(use.split(" as ")[0].split())]
    return [before.strip() + path for part in split_list(rest[: rest.rindex("}")]) for path in expand(part)]


def named_paths(path):
    text = re.sub(r"#\[cfg\(test\)\]\s*mod \w+ \{.*", "", path.read_text(), flags=re.S)
    text = re.sub(r"//.*", "", text)
    paths = [path for use in re.findall(r"^\s*(?:pub(?:\([^)]*\))? )?use ([^;]+);", text, flags=re.M) for path in expand(use)]
    paths += re.findall(r"\b(?:crate|self|super)(?:::\w+)+", text)
    return paths, set(re.findall(r"\bmod (\w+);", text))


def dependencies(found):
    result = {name: set() for name in found}
    for name, path in found.items():
        own = name.split("::") if name else []
        paths, children = named_paths(path)
        for parts in (path.split("::") for path in paths):
            if parts[0] == "crate":
                parts = parts[1:]
            elif parts[0] == "super":
                ups = len(parts) - len([part for part in parts if part != "super"])
                parts = own[: max(len(own) - ups, 0)] + parts[ups:]
            elif parts[0] == "self":
                parts = own + parts[1:]
            elif parts[0] in children:
                parts = own + parts
            else:
                continue
            names = ("::".join(parts[:length]) for length in range(len(parts), 0, -1))
            target = next((candidate for candidate in names if candidate in found), "")
            is_family = target == name or f"{target}::".startswith(f"{name}::") or f"{name}::".startswith(f"{target}::")
            if target and not is_family:
                result[name].add(target)
    return result


def reachable(start, edges):
    seen, waiting = set(), list(edges[start])
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += edges[name]
    return seen


def main():
    failed = False
    for folder in sys.argv[1:]:
        found = modules(Path(folder))
        if not found:
            sys.exit(f"{folder}: no Rust files")
        edges = dependencies(found)
        circle = sorted(name for name in found if name in reachable(name, edges))
        if circle:
            failed = True
            print(f"{folder}: these files import each other in a circle: {', '.join(circle)}", file=sys.stderr)
    sys.exit(failed)


main()

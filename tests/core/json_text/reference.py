"""What JsonEdit does, said plainly and slowly: over parsed tokens, without white space, and without looking ahead."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field

from portico.core.json_text import json_value

TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[-+.0-9A-Za-z]+|[\[\]{},:]')


@dataclass(eq=False)
class Node:
    """A value: `opening` is its bracket, or the token that it consists of."""

    opening: str
    entries: list[Entry] = field(default_factory=list)


@dataclass(eq=False)
class Entry:
    """A member, or an element without a key."""

    key: str
    node: Node

    @property
    def name(self) -> str:
        name: str = json.loads(self.key)
        return name


def tokens_of(text: bytes) -> list[str]:
    return TOKEN.findall(text.decode())


def parsed(text: bytes) -> Node:
    tokens = tokens_of(text)[::-1]
    return _value(tokens)


def _value(tokens: list[str]) -> Node:
    node = Node(tokens.pop())
    if node.opening in "[{":
        while tokens[-1] not in "]}":
            if tokens[-1] == ",":
                tokens.pop()
            key = ""
            if node.opening == "{":
                key = tokens.pop()
                tokens.pop()
            node.entries.append(Entry(key, _value(tokens)))
        tokens.pop()
    return node


def written(node: Node) -> list[str]:
    tokens = [node.opening]
    for entry in node.entries:
        tokens += [*([entry.key, ":"] if entry.key else []), *written(entry.node), ","]
    if node.entries:
        tokens.pop()
    return tokens + {"{": ["}"], "[": ["]"]}.get(node.opening, [])


def names_of(pointer: str) -> list[str]:
    return [name.replace("~1", "/").replace("~0", "~") for name in pointer.split("/")[1:]]


def found(node: Node, name: str) -> list[Entry]:
    if node.opening == "[":
        return [entry for index, entry in enumerate(node.entries) if name == str(index)]
    return [entry for entry in node.entries if entry.name == name]


def holders(root: Node, names: Sequence[str]) -> list[Node]:
    """The values that hold what a pointer means."""
    nodes = [root]
    for name in names[:-1]:
        nodes = [entry.node for node in nodes for entry in found(node, name)]
    return nodes


def without(node: Node, gone: Sequence[Entry]) -> None:
    node.entries = [entry for entry in node.entries if entry not in gone]


def picked(node: Node, pointers: list[list[str]]) -> Node | None:
    if [] in pointers:
        return node
    entries = []
    for index, entry in enumerate(node.entries):
        name = entry.name if entry.key else str(index)
        below = picked(entry.node, [rest for first, *rest in pointers if first == name])
        if below:
            entries.append(Entry(entry.key, below))
    return Node(node.opening, entries) if entries else None


def pick(root: Entry, pointers: Sequence[str]) -> None:
    kinds = {"{": Node("{"), "[": Node("[")}
    root.node = picked(root.node, [names_of(pointer) for pointer in pointers]) or kinds.get(
        root.node.opening, Node("null")
    )


def remove(root: Entry, pointers: Sequence[str]) -> None:
    gone = [
        (holder, found(holder, names[-1])) for names in map(names_of, pointers) for holder in holders(root.node, names)
    ]
    for holder, entries in gone:
        without(holder, entries)


def rename(root: Entry, old: str, new: str) -> None:
    names = names_of(old)
    new_names = names_of(new) if new.startswith("/") or not new else [*names[:-1], new]
    left = []
    for holder in holders(root.node, names):
        entries = found(holder, names[-1])
        if new_names and names[:-1] == new_names[:-1] and holder.opening == "{":
            if entries:
                without(holder, [entry for entry in found(holder, new_names[-1]) if entry not in entries])
            for entry in entries:
                entry.key = written_key(new_names[-1])
        elif entries:
            left.append((holder, entries, holder.entries))
            without(holder, entries)
    if left and not put(root, new_names, left[-1][1][-1].node):
        for holder, _, before in left:
            holder.entries = before


def put(entry: Entry, names: Sequence[str], value: Node) -> bool:
    if not names:
        entry.node = deepcopy(value)
        return True
    name, *rest = names
    if entry.node.opening == "null":
        entry.node = Node("[" if name == "-" else "{")
    node = entry.node
    if node.opening not in ("[", "{"):
        return False
    children = found(node, name)
    if not children:
        if node.opening == "[" and name != "-":
            return False
        children = [Entry("" if node.opening == "[" else written_key(name), Node("null"))]
        node.entries += children
    done = [put(child, rest, value) for child in children]
    return any(done)


def merge(entry: Entry, patch: Node) -> None:
    if patch.opening != "{":
        entry.node = deepcopy(patch)
        return
    if entry.node.opening != "{":
        entry.node = Node("{")
    for name, member in {member.name: member for member in patch.entries}.items():
        children = found(entry.node, name)
        if member.node.opening == "null":
            without(entry.node, children)
        elif not children:
            children = [Entry(member.key, Node("null"))]
            entry.node.entries += children
        if member.node.opening != "null":
            for child in children:
                merge(child, member.node)


def written_key(name: str) -> str:
    return json_value(name).decode()

"""Hypothesis strategies for every message that the contract allows, small and at the limits."""

from __future__ import annotations

import json
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import NULL_VALUE, ListValue, Struct, Value
from hypothesis import settings
from hypothesis import strategies as st

from avatar_creator.v1.attributes_pb2 import Attributes
from avatar_creator.v1.generation_pb2 import GenerationOptions
from avatar_creator.v1.persona_pb2 import Persona

ROUND_TRIPS = settings(
    max_examples=40,
    deadline=None,
    # The same examples in every run: a failure in CI can be repeated, and prints how.
    derandomize=True,
    print_blob=True,
)
"""Hypothesis settings of the round-trip tests."""

_MAX_JSON_BYTES = 8192
_LINE = st.characters(exclude_categories=("Cc", "Cs"))
_ANY_EXCEPT_NUL = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
_MULTILINE = _LINE | st.sampled_from("\n\r\t")
_WORD = st.sampled_from(
    ["Sarah", "Éva", "e\u0301", "نور", "花子", "💃🏽", "ß", "İ", "%", "_", "\\", "'", '"', "\u200d"]
)


def text(max_length: int, *, min_length: int = 0, multiline: bool = False) -> st.SearchStrategy[str]:
    """Generate text of at most `max_length` characters. With `multiline` it may have line breaks and tabs.

    With a `min_length` above 0 it is not blank.
    """
    character = _MULTILINE if multiline else _LINE
    anything = (
        st.text(character, min_size=min_length, max_size=min(max_length, 40))
        | st.lists(_WORD, min_size=min_length, max_size=6).map(" ".join)
        # The maximum length, or one less.
        | st.builds(
            lambda piece, less: (piece * max_length)[: max_length - less],
            st.text(character, min_size=1, max_size=5),
            st.sampled_from([0, 1]),
        )
    )
    return anything.filter(str.strip) if min_length else anything


def names() -> st.SearchStrategy[str]:
    """Generate names: 1 to 120 characters, not blank."""
    return text(120, min_length=1)


def personas() -> st.SearchStrategy[Persona]:
    """Generate personas, including the empty one."""
    traits = st.lists(text(60, min_length=1), max_size=12) | st.builds(
        lambda trait: [trait] * 12, text(60, min_length=1)
    )
    return st.builds(
        Persona,
        name=text(120),
        age=st.sampled_from([0, 1, 120]) | st.integers(0, 120),
        personality=traits,
        background=text(4000, multiline=True),
    )


def attributes() -> st.SearchStrategy[Attributes]:
    """Generate attributes, including empty ones."""
    return st.builds(
        Attributes,
        **{
            field.name: text(60)
            if field.enum_type is None
            else st.sampled_from(list(field.enum_type.values_by_number))
            for field in Attributes.DESCRIPTOR.fields
        },
    )


def options() -> st.SearchStrategy[GenerationOptions]:
    """Generate options, including empty ones. `strict` is never set."""
    sides = st.sampled_from([0, *range(256, 1441, 16)])
    seeds = st.none() | st.sampled_from([0, 1, 2**31, 2**32 - 1]) | st.integers(0, 2**32 - 1)
    return st.builds(
        GenerationOptions,
        width=sides,
        height=sides,
        seed=seeds,
        steps=st.integers(0, 50),
        guidance_scale=st.just(0.0) | st.floats(1.0, 20.0),
        negative_prompt=text(2000, multiline=True),
        omit_recipe=st.booleans(),
    )


def metadata() -> st.SearchStrategy[Struct]:
    """Generate content of at most 8,192 bytes as JSON. It has no -0.0, which the service stores as 0."""
    numbers = (
        st.sampled_from([0.0, 1.0, -1.0, 0.1, 1e308, -1e308, 5e-324, 2.0**53 + 2, 1e15, 1e16, 1e22])
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.integers(-(2**60), 2**60).map(float)
    ).map(lambda number: number or 0.0)
    # With control characters, except NUL.
    texts = st.text(_ANY_EXCEPT_NUL, max_size=20)
    leaves = (
        st.just(Value(null_value=NULL_VALUE))
        | st.booleans().map(lambda value: Value(bool_value=value))
        | numbers.map(lambda value: Value(number_value=value))
        | texts.map(lambda value: Value(string_value=value))
        | st.just(Value(struct_value=Struct()))
        | st.just(Value(list_value=ListValue()))
    )
    values = st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, max_size=4).map(lambda value: Value(list_value=ListValue(values=value)))
            | st.dictionaries(texts, inner, max_size=4).map(
                lambda value: Value(struct_value=Struct(fields=value))
            )
        ),
        max_leaves=20,
    )
    contents = st.dictionaries(texts, values, max_size=5).map(lambda fields: Struct(fields=fields))
    large = st.builds(
        lambda character: Struct(fields={"fill": Value(string_value=character * 2000)}),
        _LINE,
    )
    return (contents | large).filter(lambda content: _json_bytes(content) <= _MAX_JSON_BYTES)


def uses() -> st.SearchStrategy[dict[str, Any]]:
    """Generate the fields of a use, except the avatar. The app name may be empty."""
    return st.fixed_dictionaries(
        {
            "app_id": names(),
            "app_name": text(120),
            "action": names(),
            "reference_id": text(200),
            "reference_type": text(120),
            "metadata": metadata(),
        }
    )


def _json_bytes(content: Struct) -> int:
    return len(json.dumps(MessageToDict(content), ensure_ascii=False, separators=(",", ":")).encode())

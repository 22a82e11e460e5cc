"""Every key of every settings file: a wrong value is told in words of the field."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from molexa_core.base.errors import SettingsError
from molexa_core.base.settings import Channel, DetectorFile, Project, Setup, parse_settings
from molexa_core.base.settings.faults import fields_of
from molexa_core.base.settings.setup import Region, Spectrometer
from molexa_core.base.settings.yaml_file import read_yaml
from molexa_core.base.storage.resources import shipped_folder
from molexa_core.pipeline.datasets.recipe_file import RecipeFile

SCHEMAS: tuple[type, ...] = (Setup, Channel, Project, RecipeFile, DetectorFile)
WRONG: tuple[Any, ...] = (
    None,
    True,
    -7,
    0.5,
    10**30,
    float("nan"),
    float("inf"),
    "",
    "some words",
    "3 mm",
    [],
    [1],
    ["a", {}],
    [[[]]],
    {},
    {"zzz": 1},
    {3: []},
)
JARGON = re.compile(
    r"[Ii]nput should|valid (string|dict|list|tuple|number|integer|boolean)|instance of|"
    r"dictionar|unable to parse|validator|validate\b|type=|pydantic|mapping|sequence|tuple|"
    r"NoneType|\bNone\b|"
    r"\bTrue\b|\bFalse\b|\bstr\b|\bint\b|\bfloat\b|\bdict\b|literal|function-|constr|"
    r"ChannelIon|VirtualExp|Settings\b|field required|keyword",
)


def complete(schema: type) -> dict[str, Any]:
    """A block of this schema that has every key that is needed, with a value that fits."""
    simple: dict[Any, Any] = {float: 1.0, int: 1, str: "O+", bool: True, Path: "some.xyz"}
    simple |= {tuple[str, ...]: ["a"], tuple[float, ...]: [1.0], tuple[int, ...]: [1]}
    values: dict[str, Any] = {}
    if schema is Spectrometer:  # regions or a flight map: neither is needed, but one of them
        values["regions"] = [complete(Region)]
    for name, info in fields_of(schema).items():
        if not info.is_required():
            continue
        blocks = list(models(info.annotation))
        text = str(info.annotation)
        if blocks and "tuple" in text:
            values[name] = [complete(blocks[0])]
        elif blocks:
            values[name] = complete(blocks[0])
        elif "Literal" in text:
            values[name] = get_args(info.annotation)[0]
        elif text.startswith("dict["):
            values[name] = {"x": "float32"}
        elif text.startswith("tuple[tuple[") and "float" in text:
            values[name] = [[1.0]]
        elif text.startswith("tuple[") and "..." not in text:
            values[name] = [1.0] * len(get_args(info.annotation))
        else:
            values[name] = simple[info.annotation]
        if info.annotation is int:
            values[name] = len(values)
    return values


def models(annotation: Any) -> Iterator[type]:
    if isinstance(annotation, type) and (
        issubclass(annotation, BaseModel) or dataclasses.is_dataclass(annotation)
    ):
        yield annotation
    for part in get_args(annotation):
        yield from models(part)


def named_blocks(annotation: Any) -> bool:
    """Whether a key holds blocks under names of the user's choice."""
    return str(annotation).startswith("dict[") and any(models(annotation))


def every_block(schema: type) -> Iterator[tuple[list[Any], type]]:
    """The way to every block of a schema, and its schema."""
    yield [], schema
    for name, info in fields_of(schema).items():
        for block in models(info.annotation):
            several = "tuple" in str(info.annotation) or named_blocks(info.annotation)
            step = [name, 0] if several else [name]
            for way, inner in every_block(block):
                yield [*step, *way], inner


def placed(schema: type, way: list[Any], block: dict[str, Any]) -> dict[str, Any]:
    """Values of the whole schema with the block at the end of the way."""
    values = complete(schema)
    at: Any = values
    current = schema
    for index, part in enumerate(way):
        last = index + 1 == len(way)
        if isinstance(part, int):
            continue
        annotation = fields_of(current)[part].annotation
        current = next(models(annotation))
        inner = block if last or (index + 2 == len(way) and way[-1] == 0) else complete(current)
        listed = not last and isinstance(way[index + 1], int)
        named = named_blocks(annotation)
        at[part] = {"here": inner} if named else [inner] if listed else inner
        at = inner
    return values if way else block


CASES = [
    pytest.param(schema, way, block, id=f"{schema.__name__}-{'-'.join(map(str, way))}")
    for schema in SCHEMAS
    for way, block in every_block(schema)
]


@pytest.mark.parametrize(("schema", "way", "block"), CASES)
def test_no_wrong_value_is_told_in_jargon(schema: type, way: list[Any], block: type) -> None:
    refused = 0
    for name in fields_of(block):
        for value in WRONG:
            values = placed(schema, way, complete(block) | {name: value})
            try:
                parse_settings(schema, values, where="file.yaml")
            except SettingsError as error:
                text = str(error)
                refused += 1
                said = re.sub(r"\(found .*?\)(?=;|:|$)|'[^']*'", "", text)
                assert JARGON.search(said) is None, text
                assert text.startswith("file.yaml: "), text
                assert name in text or "must be" not in text, text
    assert refused > len(fields_of(block)) or not fields_of(block)


@pytest.mark.parametrize("schema", SCHEMAS)
@pytest.mark.parametrize("value", [None, 5, "text", ["list"], True], ids=str)
def test_files_that_are_no_block(schema: type, value: object) -> None:
    with pytest.raises(SettingsError, match="expected keys and values, found") as caught:
        parse_settings(schema, value, where="file.yaml")
    assert JARGON.search(str(caught.value)) is None


def fault(folder: Path, schema: type, text: str) -> str:
    path = folder / "file.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        parse_settings(schema, read_yaml(path), where="file.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("schema", "text", "message"),
    [
        (
            Setup,
            "spectrometer:\n  regions:\n    - {length_mm: 11 cm, field_v_per_cm: 200}\n",
            "entry 1 -> length_mm: must be a number above 0, in mm (found '11 cm'): write",
        ),
        (
            Setup,
            "spectrometer: {regions: [{length_mm: 1, field_v_per_cm: '250'}]}",
            "field_v_per_cm: must be a number at least 0, in V/cm (found '250'): write it without",
        ),
        (
            Setup,
            'spectrometer: {regions: [{length_mm: "1,5", field_v_per_cm: 250}]}',
            "write the number with a point",
        ),
        (
            Setup,
            "spectrometer: {regions: [{length_mm: true, field_v_per_cm: 2}]}",
            "length_mm: must be a number above 0, in mm (found true)",
        ),
        (
            Setup,
            "spectrometer: {regions: [{length_mm: 1, field_v_per_cm: 2}]}\ndetector:\n  slots: 999",
            "line 3: detector -> slots: must be a whole number from 1 to 512 (found 999)",
        ),
        (Channel, "name: 5\nions: [{ion: H+}]", "name: must be text (found 5): put it in quotes"),
        (
            Channel,
            "name: a\nions:\n  - 7\n",
            "line 3: ions -> entry 1: must be a block with the keys ion, count, detected, ",
        ),
        (
            Channel,
            "name: a\nions:\n  - {ion: N+, window_ns: [1]}\n",
            "ions -> entry 1 -> window_ns: must be a list of 2, each a number, in ns (found [1])",
        ),
        (Channel, "name: a\nions: [{ion: H+, count: 1e9}]", "a whole number from 1 to 64"),
        (Channel, "name: a\nions: [{ion: H+}]\ngates: {max_momentum: 1e400}", "a finite number"),
        (
            RecipeFile,
            "molecules: {names: 4}",
            "molecules -> names: must be 'all' or a list, each text (found 4)",
        ),
        (
            RecipeFile,
            "variations: {velocities: yes}",
            "velocities: must be true or false (found 'yes'): write true",
        ),
        (
            RecipeFile,
            "variations: {least: {a: 3}}",
            "variations -> least -> a: each key must be a whole number from 2 to 64",
        ),
    ],
)
def test_sentences(tmp_path: Path, schema: type, text: str, message: str) -> None:
    assert message in fault(tmp_path, schema, text)


def test_whole_numbers_may_be_written_with_an_exponent() -> None:
    recipe = parse_settings(RecipeFile, {"trajectories": 1e5}, where="t")
    assert recipe.trajectories == 100_000
    assert isinstance(recipe.trajectories, int)


def test_what_ships_is_read_with_lines() -> None:
    values = read_yaml(shipped_folder("templates") / "setup.yaml")
    assert values.lines["spectrometer"] == 5

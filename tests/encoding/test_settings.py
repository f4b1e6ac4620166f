from __future__ import annotations

import pytest

from flowguard.encoding.settings import FeatureSettings
from flowguard.errors import InputError


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"kind": "boolean"}, "'boolean'; expected one of number, integer, category"),
        ({"front": "wavy"}, "'wavy'; expected one of standard, robust, quantile"),
        ({"kind": "category", "max_levels": 0}, "max_levels is 0; expected at least 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(arguments: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        FeatureSettings(**arguments)


def test_a_feature_is_a_number_with_atoms_unless_said_otherwise() -> None:
    settings = FeatureSettings()
    assert (settings.kind, settings.front, settings.column, settings.atoms) == ("number", "quantile", None, True)

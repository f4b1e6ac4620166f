from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest

from flowguard.errors import PipelineError
from flowguard.spec import CyclicContext, NumberFeature, Use, json_schema, load_pipeline

HOUR = dt.timedelta(hours=1)

SMALL = """\
source: {path: data/*.parquet}
columns:
  features: {amount: number}
"""

WHOLE = """\
name: orders
source:
  tables: {orders: data/orders.parquet}
  query: |
    SELECT * FROM orders
  time: date
  key: [shop, order]
  exclude: [{from: 2013-02-08, until: 2013-02-10, why: blizzard}]
  redact: customer
columns:
  features: {delay: number, amount: {kind: number, front: robust, unit: EUR}}
  context:
    country: category
    city: {kind: category, max_levels: 50}
    hour: {kind: cyclic, period: 24}
    dow: {kind: cyclic, column: date, period: week}
    weight: number
    gift: boolean
    items: integer
split: {since: null, until: 2013-05-01, unit: [shop]}
model: {family: realnvp, hidden: [32, 32]}
schedule: {cron: "0 6 * * mon-fri", timezone: Europe/Berlin}
"""


def written(folder: Path, text: str, name: str = "orders.yaml") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(PipelineError) as caught:
        load_pipeline(written(folder, text))
    return str(caught.value).replace(str(folder) + "/", "")


def test_a_small_file_gets_the_defaults(tmp_path):
    pipeline = load_pipeline(written(tmp_path, SMALL))
    assert pipeline.name == "orders"
    assert pipeline.source.path == ("data/*.parquet",)
    assert pipeline.source.batch == "file"
    assert pipeline.columns.features == {"amount": NumberFeature(kind="number")}
    assert pipeline.model.family == "maf"
    assert (pipeline.model.order, pipeline.model.transformer, pipeline.model.layers) == ("single", "spline", 3)
    assert pipeline.schedule is None
    assert pipeline.unit == ()
    assert sum(pipeline.split.shares.values()) == pytest.approx(1)


def test_a_whole_file_is_read_as_written(tmp_path):
    pipeline = load_pipeline(written(tmp_path, WHOLE))
    assert list(pipeline.columns.features) == ["delay", "amount"]
    assert pipeline.columns.features["amount"].unit == "EUR"
    assert pipeline.columns.context["dow"] == CyclicContext(kind="cyclic", column="date", period="week")
    assert pipeline.columns.context["city"].max_levels == 50
    assert pipeline.source.batch == "day", "the batches of a query are its days"
    assert pipeline.source.redact == ("customer",), "one name may stand without brackets"
    assert pipeline.exclude == ((dt.date(2013, 2, 8), dt.date(2013, 2, 10)),)
    assert pipeline.unit == ("shop",)
    assert (pipeline.model.order, pipeline.model.transformer, pipeline.model.layers) == ("alternate", "affine", 6)
    uses = pipeline.uses()
    assert Use("date", "clock", "columns.context.dow") in uses
    assert Use("hour", "number", "columns.context.hour") in uses
    assert Use("customer", "any", "source.redact") in uses


def test_what_is_told_has_defaults_and_may_be_less(tmp_path):
    usual = load_pipeline(written(tmp_path, SMALL)).notify
    assert (usual.on, usual.flagged, usual.span) == (("flagged", "drift", "late", "empty", "gate", "failed"), 1, HOUR)
    one = load_pipeline(written(tmp_path, f"{SMALL}notify: {{on: late, flagged: 5, every: 1d}}\n")).notify
    assert (one.on, one.flagged, one.span) == (("late",), 5, 24 * HOUR), "`on` is a word, in YAML 1.1 it is a boolean"
    assert load_pipeline(written(tmp_path, f"{SMALL}notify: {{on: [], every: 30 m}}\n")).notify.span == HOUR / 2


def test_relative_paths_start_at_the_folder_that_holds_pipelines(tmp_path):
    assert load_pipeline(written(tmp_path, SMALL, "pipelines/orders.yaml")).root == tmp_path
    assert load_pipeline(written(tmp_path, SMALL)).root == tmp_path


def test_columns_can_be_left_to_the_data(tmp_path):
    pipeline = load_pipeline(written(tmp_path, "source: {path: x.parquet}\ncolumns: infer\n"))
    assert pipeline.columns.inferred
    assert not load_pipeline(written(tmp_path, SMALL)).columns.inferred


def test_every_problem_is_told_at_once_with_its_line(tmp_path):
    text = refusal(
        tmp_path,
        "nme: 5\nsource:\n  path: x.parquet\n  batch: dy\ncolumns:\n  features:\n"
        "    amount: {kind: number, frnt: robust}\n"
        "  context: {hour: cyclic}\nmodel: {layers: 2.5}\n",
    )
    assert text.splitlines()[0] == "orders.yaml has 5 problems:"
    assert "orders.yaml:1: nme: found an unknown key (did you mean `name`?); expected one of name, description," in text
    assert "orders.yaml:4: source.batch: found 'dy'; expected one of 'file', 'partition' or 'day'." in text
    assert "orders.yaml:7: columns.features.amount.frnt: found an unknown key (did you mean `front`?)" in text
    assert "orders.yaml:8: columns.context.hour.period: found nothing; expected the number after which" in text
    assert "orders.yaml:9: model.layers: found 2.5; expected a whole number." in text


@pytest.mark.parametrize(
    ("addition", "key", "words"),
    [
        ("split: {train: 0.7}", "split.train", "shares that sum to 1.1"),
        ("split: {until: 2013-05-01}", "split.until", "no `source.time`"),
        ("split: {until: soon}", "split.until", "expected a day, such as"),
        ("split: {until: 2013-05-01 10:00:00}", "split.until", "expected a day"),
        ("split: {unit: [a, a]}", "split.unit", "'a' listed twice"),
        ("schedule: {cron: 0 25 * * *}", "schedule.cron", "hour '25' is not within 0 to 23"),
        ("schedule: {cron: 0 6 * *}", "schedule.cron", "4 fields in place of 5"),
        ("schedule: {cron: 0 6 * * *, timezone: Mars/Base}", "schedule.timezone", "an IANA zone"),
        ("notify: {on: [flaged]}", "notify.on.0", "found 'flaged'; expected one of 'flagged', 'drift'"),
        ("notify: {on: [late, late]}", "notify.on", "'late' listed twice"),
        ("notify: {flagged: 0}", "notify.flagged", "found 0"),
        ("notify: {every: 2 weeks}", "notify.every", "a number and a unit, such as 30m, 1h or 1d"),
        ("notify: {to: slack://a/b/c}", "notify.to", "unknown key"),
        ("model: {family: realnvp, order: single}", "model.order", "`alternate` or `random`"),
        ("model: {transformer: affine, bins: 9}", "model.bins", "found `bins` with affine"),
        ("model: {transformer: mixture, bins: 9}", "model.bins", "found `bins` with mixture"),
        ("model: {orders: 3, order: random}", "model.orders", "`family: maf`, `order: single`"),
        ("model: {family: realnvp, orders: 2}", "model.orders", "found 2 with realnvp, alternate"),
        ("model: {family: gaussian, hidden: [8]}", "model.hidden", "no `hidden`: a Gaussian has no networks"),
        ("model: {mixing: lu}", "model.mixing", "found 'lu' with maf"),
        ("model: {components: 9}", "model.components", "`transformer: mixture`, or no `components`"),
        ("model: {epochs: '3'}", "model.epochs", "a whole number"),
        ("model: {epochs: true}", "model.epochs", "a whole number"),
        ("model: {learning_rate: .nan}", "model.learning_rate", "a number"),
        ("policy: {false_alarm_rate: 0}", "policy.false_alarm_rate", "above 0 and below 1"),
        ("policy: 0.1", "policy", "expected a mapping"),
        ("resources: {memory: lots}", "resources.memory", "such as 500MB"),
        ("name: my orders", "name", "letters, digits"),
    ],
)
def test_what_cannot_be_meant_is_refused_at_its_key(tmp_path, addition, key, words):
    text = refusal(tmp_path, SMALL + addition + "\n")
    assert text.startswith(f"orders.yaml:4: {key}: found ")
    assert words in text


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("{}", "neither `path` nor `query`"),
        ("{path: x, query: SELECT 1}", "either `path`, or `tables` and `query`"),
        ("{query: SELECT 1, time: t}", "a query without `tables`"),
        ("{query: SELECT 1, tables: {a: x}}", "source.time: found nothing"),
        ("{query: SELECT 1, tables: {a: x}, time: t, batch: file}", "the batches of a query are its days"),
        ("{path: x, batch: day}", "source.time: found nothing"),
        ("{path: x, exclude: [{from: 2013-02-08, until: 2013-02-09}]}", "source.time: found nothing"),
        ("{path: x, time: t, exclude: [{from: 2013-02-08, until: 2013-02-08}]}", "source.exclude.0.until"),
        ("{path: x, time: t, batch: day, redact: t}", "days name the batches"),
        ("{path: x, key: [a, a]}", "'a' listed twice"),
        ("{path: x, redact: amount}", "found 'amount', which is also a feature"),
        ("{path: []}", "an empty list"),
    ],
)
def test_a_source_must_be_one_place_with_what_it_needs(tmp_path, source, words):
    assert words in refusal(tmp_path, SMALL.replace("{path: data/*.parquet}", source))


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ("{features: {a: {kind: cyclic, period: 24}}}", "a cyclic column is context"),
        ("{features: {a: word}}", "word"),
        ("{features: {a: {kind: category, front: robust}}}", "front"),
        ("{features: {}}", "at least one column"),
        ("{context: {a: number}}", "at least one column"),
        ("{features: {a: number}, context: {b: {kind: number, column: a}}}", "column 'a', which is a feature"),
        ("{features: {a: number}, context: {b: numbr}}", "columns.context.b.kind: found 'numbr'; expected one of"),
        ("{features: {a: number}, context: {b: {}}}", "columns.context.b.kind: found nothing"),
        ("{features: {a: number}, context: {b: {kind: cyclic, period: 0}}}", "above 0"),
        ("{features: {a: number}, context: {b: {kind: category, period: 3}}}", "unknown key"),
        ("inferr", "or `infer`"),
        ("{features: {1: number}}", "put it in quotes"),
    ],
)
def test_columns_say_what_is_wrong_with_them(tmp_path, columns, words):
    assert words in refusal(tmp_path, f"source: {{path: x}}\ncolumns: {columns}\n")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "orders.yaml is empty"),
        ("# only a comment\n", "orders.yaml is empty"),
        ("- a\n- b\n", "found a list at the top level"),
        ("just text", "found 'just text' at the top level"),
        ("a: 1\nb: [1, 2\nc: 3\n", "orders.yaml:3:"),
        ("a: 1\n\tb: 2\n", "orders.yaml:2:"),
        ("source: {path: x}\nsource: {path: y}\n", 'orders.yaml:2:1: found duplicate key "source"'),
        ("a: &a [*a]\n", "unknown key"),
        ("a: !!python/object:os.system x\nsource: 1\ncolumns: 2\n", "unknown key"),
    ],
)
def test_an_unreadable_file_is_told_with_its_place(tmp_path, text, words):
    assert words in refusal(tmp_path, text)


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path):
    with pytest.raises(PipelineError, match=r"there is no such file.*flowguard init DATA --out"):
        load_pipeline(tmp_path / "no.yaml")
    with pytest.raises(PipelineError, match="is a folder"):
        load_pipeline(tmp_path)


def test_bytes_that_are_no_text_are_refused(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_bytes(b"name: \xff\xfe")
    with pytest.raises(PipelineError, match="not text in UTF-8"):
        load_pipeline(path)


def test_a_file_whose_stem_cannot_be_a_name_needs_one(tmp_path):
    with pytest.raises(PipelineError, match=r"name: found nothing, and the file's stem, 'my orders', cannot"):
        load_pipeline(written(tmp_path, SMALL, "my orders.yaml"))
    assert load_pipeline(written(tmp_path, "name: a\n" + SMALL, "my orders.yaml")).name == "a"


def test_aliases_cannot_blow_up_the_reader(tmp_path):
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    assert "expands to more than" in refusal(tmp_path, "\n".join(lines))


def test_the_schema_describes_every_key_and_takes_what_the_reader_takes(tmp_path):
    jsonschema = pytest.importorskip("jsonschema")
    schema = json_schema()
    json.dumps(schema)
    for section in [schema, *schema["$defs"].values()]:
        assert section.get("additionalProperties") is False, "an editor marks unknown keys"
        for name, key in section["properties"].items():
            described = key.get("description") or ("$ref" in key and schema["$defs"][key["$ref"].split("/")[-1]])
            assert described, name
    import ruamel.yaml

    plain = json.loads(json.dumps(ruamel.yaml.YAML(typ="safe").load(WHOLE), default=str))
    jsonschema.validate(plain, schema)
    jsonschema.validate({"source": {"path": "x"}, "columns": "infer"}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**plain, "polcy": {}}, schema)


def test_a_pipeline_cannot_be_changed_by_accident(tmp_path):
    pipeline = load_pipeline(written(tmp_path, SMALL))
    with pytest.raises(ValueError):
        pipeline.policy.false_alarm_rate = 0.5


def test_every_kind_of_feature_is_read(tmp_path: Path) -> None:
    path = tmp_path / "orders.yaml"
    path.write_text(
        "source: {path: x, batch: file}\ncolumns:\n  features:\n    a: {unit: EUR}\n    b: integer\n    c: boolean\n"
        "    d: {kind: category, max_levels: 7}\n    e: {kind: number, atoms: false}\n"
    )
    features = load_pipeline(path).columns.features
    assert [entry.kind for entry in features.values()] == ["number", "integer", "boolean", "category", "number"]
    assert features["a"].unit == "EUR"


@pytest.mark.parametrize(
    ("model", "found"),
    [("family: realnvp", "realnvp"), ("family: continuous", "continuous"), ("order: random", "maf in random order")],
)
@pytest.mark.parametrize("score", ["largest", "sum", "fisher", "higher_criticism"])
def test_scores_by_column_need_a_family_with_terms_by_column(
    tmp_path: Path, model: str, found: str, score: str
) -> None:
    text = "source: {path: x, batch: file}\ncolumns: {features: {a: number}}\nscore: %s\nmodel: {%s}\n"
    path = tmp_path / "orders.yaml"
    path.write_text(text % (score, model))
    with pytest.raises(PipelineError, match=f"found '{score}' with {found}; expected `family: maf`"):
        load_pipeline(path)
    for fits in ("family: gaussian", "orders: 3"):
        path.write_text(text % (score, fits))
        assert load_pipeline(path).score == score
    path.write_text(text % ("typicality", model))
    assert load_pipeline(path).score == "typicality"


@pytest.mark.parametrize(
    ("feature", "words"),
    [
        ("a: text", "columns.features.a: found 'text'; expected `number`, `integer`, `category` or `boolean`: text is"),
        ("a: float", "any number is a `number`"),
        ("a: int", "whole numbers are an `integer`"),
        ("a: bool", "true or false is a `boolean`"),
        ("a: cyclic", "a cyclic column is context"),
        ("a: {kind: numbr}", "columns.features.a.kind: found 'numbr'; expected `number`"),
        ("a: {kind: [number]}", "columns.features.a.kind: found ['number']"),
        ("a:", "columns.features.a: found nothing; expected `number`"),
        ("a: [number]", "columns.features.a: found a list; expected `number`"),
        ("a: 3", "columns.features.a: found 3; expected `number`"),
        ("a: {kind: category, front: robust}", "expected no `front`: it belongs to `kind: number` and `kind: integer`"),
        (
            "a: {kind: integer, atoms: true}",
            "columns.features.a.atoms: found `atoms` with integer; expected no `atoms`",
        ),
        ("a: {kind: boolean, max_levels: 3}", "it belongs to `kind: category`"),
        ("a: {kind: boolean, unit: kg}", "expected no `unit`"),
        ("a: {max_levels: 7}", "found `max_levels` with number"),
        ("a: {kind: integer, period: 3}", "columns.features.a.period: found an unknown key"),
        ("a: {kind: number, atoms: 3}", "columns.features.a.atoms: found 3; expected true or false"),
        ("a: {kind: category, max_levels: 0}", "at least 1"),
    ],
)
def test_a_feature_that_cannot_be_meant_is_told_what_it_can_be(tmp_path: Path, feature: str, words: str) -> None:
    text = refusal(tmp_path, f"source: {{path: x}}\ncolumns:\n  features:\n    {feature}\n")
    assert text.startswith("orders.yaml:4: columns.features.a")
    assert words in text


def test_the_schema_holds_the_kinds_of_features_with_what_each_takes() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json_schema()

    def fits(feature: object) -> bool:
        file = {"source": {"path": "x"}, "columns": {"features": {"a": feature}}}
        return jsonschema.Draft202012Validator(schema).is_valid(file)

    for feature in (
        "number", "integer", "category", "boolean", {"unit": "EUR"}, {"kind": "number", "atoms": False},
        {"kind": "integer", "front": "robust"}, {"kind": "category", "max_levels": 7}, {"kind": "boolean"},
    ):  # fmt: skip
        assert fits(feature), feature
    for feature in (
        "text", "cyclic", {"kind": "cyclic", "period": 24}, {"kind": "category", "unit": "EUR"},
        {"kind": "integer", "atoms": True}, {"kind": "boolean", "max_levels": 2}, None, 3,
    ):  # fmt: skip
        assert not fits(feature), feature


def test_a_feature_has_a_unit_whatever_its_kind(tmp_path: Path) -> None:
    path = written(
        tmp_path, "source: {path: x}\ncolumns: {features: {a: {unit: EUR}, b: integer, c: category, d: boolean}}\n"
    )
    features = load_pipeline(path).columns.features
    assert [entry.unit for entry in features.values()] == ["EUR", "", "", ""]
    assert all("unit" not in features[name].model_dump() for name in "cd")


@pytest.mark.parametrize(
    ("unit", "noun"),
    [
        ("", "record"),
        ("split: {unit: [shop, order]}", "record"),
        ("split: {unit: [date]}", "day"),
        ("split: {unit: [year, month, day]}", "day"),
        ("split: {unit: [year, month]}", "unit"),
        ("split: {unit: [shop, date]}", "unit"),
    ],
)
def test_a_unit_is_called_a_day_only_where_it_is_one(tmp_path: Path, unit: str, noun: str) -> None:
    text = WHOLE.replace("split: {since: null, until: 2013-05-01, unit: [shop]}\n", f"{unit}\n")
    assert load_pipeline(written(tmp_path, text)).unit_noun == noun


def test_without_key_and_unit_the_unit_is_the_record(tmp_path: Path) -> None:
    assert load_pipeline(written(tmp_path, SMALL)).unit_noun == "record"

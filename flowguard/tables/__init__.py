"""Arrow and Parquet in and out: streamed sources, schema checks, identities, splits, atomic writing,
inference."""

from __future__ import annotations

from flowguard.tables.files import open_files
from flowguard.tables.identity import Fingerprint, Known, RecordIds, record_ids
from flowguard.tables.infer import ColumnProfile, identifies, profile
from flowguard.tables.schema import Wanted, check_columns
from flowguard.tables.source import Batch, Source
from flowguard.tables.split import part_of, unit_of
from flowguard.tables.write import atomic_json, atomic_parquet, atomic_path, atomic_text

__all__ = [
    "Batch",
    "ColumnProfile",
    "Fingerprint",
    "Known",
    "RecordIds",
    "Source",
    "Wanted",
    "atomic_json",
    "atomic_parquet",
    "atomic_path",
    "atomic_text",
    "check_columns",
    "identifies",
    "open_files",
    "part_of",
    "profile",
    "record_ids",
    "unit_of",
]

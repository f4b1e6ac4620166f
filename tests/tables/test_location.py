"""S3, against moto's server in memory."""

from __future__ import annotations

import datetime as dt

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest

from flowguard.errors import SourceError
from flowguard.tables import open_files
from flowguard.tables.location import s3_filesystem
from flowguard.tables.query import open_query
from tests.tables.tables import rows


@pytest.fixture(scope="module")
def bucket():
    moto = pytest.importorskip("moto.server")
    server = moto.ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    patch = pytest.MonkeyPatch()
    patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    patch.setenv("AWS_ACCESS_KEY_ID", "testing")
    patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    patch.delenv("AWS_PROFILE", raising=False)
    patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    options = {"endpoint_override": f"{host}:{port}", "scheme": "http", "region": "us-east-1"}
    pafs.S3FileSystem(allow_bucket_creation=True, **options).create_dir("lake")
    filesystem = s3_filesystem()
    for number in (1, 2):
        table = pa.table({"x": [number, number], "date": [dt.date(2026, 11, number), dt.date(2026, 11, 3)]})
        pq.write_table(table, f"lake/orders/day=2026-11-0{number}/part.parquet", filesystem=filesystem)
    with filesystem.open_output_stream("lake/orders/_notes.parquet") as out:
        out.write(b"not Parquet")
    with filesystem.open_output_stream("lake/bad.parquet") as out:
        out.write(b"not Parquet")
    yield "s3://lake"
    patch.undo()
    server.stop()


def test_a_folder_a_glob_and_a_file_on_s3_are_read(bucket, tmp_path):
    folder = open_files(f"{bucket}/orders/", root=tmp_path, batch="partition")
    assert [batch.name for batch in folder.batches()] == ["day=2026-11-01", "day=2026-11-02"]
    assert rows(folder.read(["x", "day"], batch="day=2026-11-02")) == [{"x": 2, "day": dt.date(2026, 11, 2)}] * 2
    assert folder.stamp(folder.batches()[0])
    glob = open_files(f"{bucket}/orders/*/p*.parquet", root=tmp_path, batch="day", time="date")
    assert {batch.name: batch.rows for batch in glob.batches()} == {"2026-11-01": 1, "2026-11-02": 1, "2026-11-03": 2}
    file = open_files(f"{bucket}/orders/day=2026-11-01/part.parquet", root=tmp_path)
    assert rows(file.read(["x"])) == [{"x": 1}, {"x": 1}]


def test_a_query_reads_tables_on_s3(bucket, tmp_path):
    with open_query(
        "SELECT date, sum(x) AS total FROM orders GROUP BY date",
        tables={"orders": f"{bucket}/orders/**/*.parquet"},
        root=tmp_path,
        time="date",
        key=["date"],
    ) as source:
        assert [batch.name for batch in source.batches()] == ["2026-11-01", "2026-11-02", "2026-11-03"]
        assert [int(row["total"]) for row in rows(source.read(batch="2026-11-03"))] == [3]


def test_what_is_wrong_on_s3_is_told(bucket, tmp_path):
    with pytest.raises(SourceError, match="does not exist or holds no Parquet file"):
        open_files(f"{bucket}/nothing/", root=tmp_path)
    with pytest.raises(SourceError, match=r"s3://nobody/x|s3://nobody"):
        open_files("s3://nobody/x/", root=tmp_path)
    with pytest.raises(SourceError, match=r"s3://lake/bad\.parquet is not a Parquet file"):
        open_files(f"{bucket}/bad.parquet", root=tmp_path).schema()


def test_the_endpoint_of_the_environment_is_used(bucket):
    assert isinstance(s3_filesystem(), pafs.S3FileSystem)
    assert s3_filesystem().region == "us-east-1"

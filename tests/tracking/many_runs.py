"""MLflow stores with thousands of runs, made in seconds."""

import sqlite3
from contextlib import closing
from pathlib import Path

CHANGED = {
    "params": """CASE t.key
        WHEN 'seed' THEN n % 5 WHEN 'train.lr' THEN printf('%.5f', (n / 5 % 500 + 0.5) / 1e4)
        WHEN 'model.dropout' THEN printf('%.2f', n / 2500 / 1e2) ELSE t.value END""",
    "tags": """CASE t.key
        WHEN 'reprovision.key' THEN run WHEN 'dvc.experiment' THEN 'sweep-' || n
        ELSE t.value END""",
    "latest_metrics": """CASE t.key
        WHEN 'test_accuracy' THEN 0.9 + n * 7919 % 1000 / 1e4 ELSE t.value END""",
}
"""The values of copied rows, as SQL, by table."""


def copy_newest_run(store: Path, copies: int) -> None:
    """Copies the newest run of an SQLite store, as a sweep over two params and five seeds.

    All of a run's rows are copied, but those of its model and of its epochs.
    """
    with closing(sqlite3.connect(store)) as connection, connection:
        newest_first = "SELECT run_uuid FROM runs ORDER BY start_time DESC"
        (newest,) = connection.execute(newest_first).fetchone()
        connection.execute("CREATE TEMP TABLE copies (n INTEGER, run TEXT)")
        named = ((n, f"{n:032x}") for n in range(copies))
        connection.executemany("INSERT INTO copies VALUES (?, ?)", named)
        for table, value in CHANGED.items():
            _copy(connection, table, newest, run_uuid="run", value=value)
        _copy(connection, "runs", newest, run_uuid="run", name="'sweep-' || n", start_time="n")
        (dataset,) = connection.execute(
            "SELECT input_uuid FROM inputs WHERE destination_id = ?", (newest,)
        ).fetchone()
        _copy(connection, "inputs", dataset, input_uuid="'i' || run", destination_id="run")


def _copy(connection: sqlite3.Connection, table: str, newest: str, **changed: str) -> None:
    """Copies the rows of a run, or of one of its inputs, for all copies."""
    columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    values = ", ".join(changed.get(column, f"t.{column}") for column in columns)
    key = "input_uuid" if table == "inputs" else "run_uuid"
    rows = f"SELECT {values} FROM {table} AS t, copies WHERE t.{key} = ?"
    connection.execute(f"INSERT INTO {table} {rows}", (newest,))

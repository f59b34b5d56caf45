"""Splink's side of `bench.crosscheck`, in its own environment: PEOPLE TUNING ENTRIES as CSV, one JSON object out.

The model is trained on the tuning entries, whose truth it is told, and predicts the others. Only the prediction is
timed, once the tables and the frequencies of names are in the memory of DuckDB.
"""

import json
import sys
import time
from typing import Any

import splink.comparison_level_library as levels
from splink import DuckDBAPI, Linker, SettingsCreator, block_on

BLOCKING: list[Any] = [
    block_on("id_number"),
    block_on("phone"),
    block_on("birth_date", "surname"),
    block_on("name", "numbers"),
    block_on("sound", "birth_date"),
    block_on("address", "birth_date"),
]


ROUNDS = 3
LEAST: dict[str, Any] = {"threshold_match_probability": 0.01, "warning_mode": "never"}


def _comparison(column: str, *middle: Any, frequencies: bool = False) -> dict[str, Any]:
    return {
        "output_column_name": column,
        "comparison_levels": [
            levels.NullLevel(column),
            levels.ExactMatchLevel(column, term_frequency_adjustments=frequencies),
            *middle,
            levels.ElseLevel(),
        ],
    }


def settings() -> Any:
    """Fellegi-Sunter with the levels that mistakes in Chinese names, numbers and addresses call for."""
    return SettingsCreator(
        link_type="link_only",
        unique_id_column_name="unique_id",
        comparisons=[
            _comparison(
                "name",
                levels.ExactMatchLevel("sound"),
                levels.DamerauLevenshteinLevel("name", 1),
                levels.DamerauLevenshteinLevel("name", 2),
                frequencies=True,
            ),
            _comparison(
                "id_number",
                levels.DamerauLevenshteinLevel("id_number", 1),
                levels.DamerauLevenshteinLevel("id_number", 2),
                levels.DamerauLevenshteinLevel("id_number", 4),
            ),
            _comparison("birth_date", levels.DamerauLevenshteinLevel("birth_date", 1)),
            _comparison(
                "phone", levels.DamerauLevenshteinLevel("phone", 1), levels.DamerauLevenshteinLevel("phone", 2)
            ),
            _comparison(
                "address",
                levels.And(levels.ExactMatchLevel("numbers"), levels.JaroWinklerLevel("address", 0.7)),
                levels.JaroWinklerLevel("address", 0.9),
                levels.JaroWinklerLevel("address", 0.75),
            ),
            _comparison("sex"),
        ],
        blocking_rules_to_generate_predictions=BLOCKING,
        retain_matching_columns=False,
        retain_intermediate_calculation_columns=False,
    )


def _read(database: Any, path: str, name: str) -> Any:
    database.duckdb_con.execute(
        f"CREATE TABLE {name} AS SELECT * FROM read_csv('{path}', all_varchar = true, header = true, nullstr = '')"
    ).fetchall()
    return database.register(name, dataset_display_name=name)


def _trained(database: Any, people: Any, tuning: Any, number: int) -> Any:
    linker = Linker([people, tuning], settings(), log_level=None)
    linker.training.estimate_u_using_random_sampling(max_pairs=1e6, seed=1)
    linker.training.estimate_m_from_label_column("truth")
    model = linker.misc.save_model_to_json()
    model["probability_two_random_records_match"] = 0.9 / number
    return model


def main(people_path: str, tuning_path: str, entries_path: str) -> None:
    database = DuckDBAPI()
    people, tuning, entries = (
        _read(database, path, name)
        for path, name in ((people_path, "people"), (tuning_path, "tuning"), (entries_path, "entries"))
    )
    ((records,),) = database.duckdb_con.execute("SELECT count(*) FROM people").fetchall()
    model = _trained(database, people, tuning, records)
    print(
        json.dumps(
            {
                "tuning": _links(database, _linker(database, people, tuning, model).inference.predict(**LEAST)),
                **_timed(database, people, entries, model),
            }
        )
    )


def _linker(database: Any, people: Any, entries: Any, model: Any) -> Any:
    """With the model, without any intermediate result of another one, and the names counted beforehand."""
    linker = Linker([people, entries], json.loads(json.dumps(model)), log_level=None)
    database._intermediate_table_cache.clear()
    linker.table_management.compute_tf_table("name")
    return linker


def _timed(database: Any, people: Any, entries: Any, model: Any) -> dict[str, Any]:
    """Both ways to predict, in turns: all pairs of two tables, and new records against known ones."""
    taken: dict[str, list[float]] = {"predict": [], "predict_between": []}
    found: Any = None
    for _ in range(ROUNDS):
        for way, seconds in taken.items():
            inference = _linker(database, people, entries, model).inference
            began = time.perf_counter()
            found = (
                inference.predict(**LEAST) if way == "predict" else inference.predict_between(entries, people, **LEAST)
            )
            seconds.append(time.perf_counter() - began)
    return {"seconds": taken, "links": _links(database, found)}


def _links(database: Any, found: Any) -> list[tuple[int, str, float]]:
    """Place of the entry, record, and weight of each pair."""
    query = f"SELECT unique_id_l, unique_id_r, match_weight, source_dataset_l FROM {found.physical_name}"
    return [
        (int(right), left, weight) if source == "people" else (int(left), right, weight)
        for left, right, weight, source in database.duckdb_con.execute(query).fetchall()
    ]


if __name__ == "__main__":
    main(*sys.argv[1:])

"""What a command prints about a run, and leaves beside it."""

from __future__ import annotations

import json
from dataclasses import asdict

from accelerate import PartialState

from semiseg_lib.durable import atomic_write
from semiseg_lib.evaluate import Evaluation
from semiseg_lib.launch import Trained
from semiseg_lib.paths import shown
from semiseg_lib.stages import Pipeline
from semiseg_lib.tables import markdown_table


def say(text: str) -> None:
    """Print once, however many processes there are."""
    if PartialState().is_main_process:
        print(text)


def report(pipeline: Pipeline, trained: Trained, split: str) -> None:
    """Print the scores of a run's last weights, and of its best; keep both beside it.

    Writes ``evaluation-SPLIT.md`` and ``evaluation-SPLIT.json`` into the run's folder.
    """
    if not PartialState().is_main_process:
        return
    if trained.which != "last":
        trained = pipeline.open(trained.folder, trained.config)
    last = pipeline.evaluate(trained, split)
    protocol = asdict(pipeline.profile.protocol)
    summary = f"mIoU on {split}: {100 * last.mean_iou:.1f} %"
    scores = {
        "split": split, "protocol": protocol, "lists": trained.config.lists, **_as_json(last)
    }
    if best_step := trained.record.get("best"):
        best = pipeline.evaluate(pipeline.open(trained.folder, trained.config, "best"), split)
        where = "val" if pipeline.judges_fairly(split) else "these same images, which flatters"
        summary += (
            f" (last weights); {100 * best.mean_iou:.1f} % with those of step "
            f"{best_step['step']}, the best on {where}"
        )
        scores["best"] = _as_json(best)
    table = markdown_table([
        {key: value if isinstance(value, str) else f"{value:.1f}" for key, value in row.items()}
        for row in last.rows()
    ])
    folder = trained.folder.path
    with atomic_write(folder / f"evaluation-{split}.md") as temporary:
        how = ", ".join(f"{name} {value}" for name, value in protocol.items())
        temporary.write_text(f"{table}\n\n{summary}\n\nPredicted with {how}.\n", encoding="utf-8")
    with atomic_write(folder / f"evaluation-{split}.json") as temporary:
        temporary.write_text(json.dumps(scores), encoding="utf-8")
    accuracy = f"pixel accuracy: {100 * last.pixel_accuracy:.1f} %"
    print(f"{table}\n{summary}\n{accuracy}\nrun: {shown(folder)}")


def _as_json(scores: Evaluation) -> dict:
    return {
        "mean_iou": scores.mean_iou, "pixel_accuracy": scores.pixel_accuracy,
        "classes": scores.classes, "confusion": scores.confusion.tolist(),
    }

"""The report of a run: printed scores, and files beside the run."""

from __future__ import annotations

import errno
import hashlib
import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from accelerate import PartialState

from semiseg_lib.core import escaping
from semiseg_lib.core.durable import atomic_write, write_json
from semiseg_lib.core.paths import shown, work_root
from semiseg_lib.core.provenance import code_version, state_of_machine
from semiseg_lib.core.terminal import give
from semiseg_lib.evaluation.metrics import Evaluation
from semiseg_lib.evaluation.options import Protocol
from semiseg_lib.experiments import Trained
from semiseg_lib.experiments.places import digest_of_bytes
from semiseg_lib.notebook.tables import results_table
from semiseg_lib.studies import scores_fairly

READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)


def report(trained: Trained, split: Literal["val", "test"], protocol: Protocol) -> None:
    """Print the scores of a run's last and best weights; store both beside it.

    Writes ``evaluations/SPLIT-KEY.md`` and ``.json`` into the run's folder. The key depends
    on protocol, images and masks, so scores of one never replace those of another.
    """
    if not PartialState().is_main_process:
        return
    trained, images = trained.holding("last"), trained.scored(split)
    digest = images.digest  # first: the scores are compared with it
    last = trained.evaluate(split, protocol)
    summary = f"mIoU on {split}: {100 * last.mean_iou:.1f} %"
    scores: dict[str, Any] = {
        "split": split, "protocol": asdict(protocol), "images": digest,
        "count": len(images), "weights": trained.stored, **_as_json(last),
    }
    if best_step := trained.record.get("best"):
        best = trained.holding("best").evaluate(split, protocol)
        fair = scores_fairly(trained.data, split)
        where = "val" if fair else "these same images, which flatters"
        summary += (
            f" (last weights); {100 * best.mean_iou:.1f} % with those of step "
            f"{best_step['step']}, the best on {where}"
        )
        scores["best"] = _as_json(best)
    table = results_table([
        {key: value if isinstance(value, str) else f"{value:.1f}" for key, value in row.items()}
        for row in last.rows()
    ])
    accuracy = f"pixel accuracy: {100 * last.pixel_accuracy:.1f} %"
    measured = (f"measured on {len(images)} {split} images (digest {digest[:10]}), "
                f"{_in_words(protocol)}")
    text = f"{table.lines(escaping.markdown)}\n\n{summary}\n\n{accuracy}\n\n{measured}\n"
    path, problem = _keep(trained, split, scores, text)
    run = trained.folder.path
    give({"run": run, "scores": path, **scores},
         f"{table}\n{summary}\n{accuracy}\n{measured}\nrun: {shown(run)}\n"
         f"scores: {problem or shown(path)}")


def _keep(
    trained: Trained, split: str, scores: dict[str, Any], text: str
) -> tuple[Path | None, str]:
    """Store scores beside a run; return the file, or None and why not."""
    run = trained.folder.path
    if digest_of_bytes(run) != trained.stored:
        return None, "not stored, because the run was trained anew meanwhile"
    key = hashlib.sha256(
        json.dumps([scores["protocol"], scores["images"]], sort_keys=True).encode()
    ).hexdigest()[:8]
    own = run.resolve().is_relative_to(work_root().resolve())
    folder = run / "evaluations" if own else work_root() / "evaluations" / run.name
    path = folder / f"{split}-{key}.json"
    made = {"commit": code_version(), "machine": state_of_machine(),
            "date": datetime.now(UTC).isoformat(timespec="seconds")}
    try:
        write_json(path, json.loads(json.dumps({**scores, **made})))
        with atomic_write(path.with_suffix(".md")) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        if error.errno in READ_ONLY:
            return None, "not stored, because the run's folder is read-only"
        return None, f"not stored ({error})"
    return path, ""


def _in_words(protocol: Protocol) -> str:
    """Return a protocol in words."""
    window = "whole images"
    if protocol.window:
        window = f"windows of {protocol.window} pixels, overlap {protocol.overlap:.2g}"
    scales = "" if protocol.scales == (1.0,) else (
        f", scales {', '.join(f'{one:g}' for one in protocol.scales)}")
    return f"{window}{', also mirrored' if protocol.flip else ''}{scales}"


def _as_json(scores: Evaluation) -> dict[str, Any]:
    return {
        "mean_iou": scores.mean_iou, "pixel_accuracy": scores.pixel_accuracy,
        "classes": list(scores.classes), "confusion": scores.confusion.tolist(),
    }

"""Exercise notebooks keep what a student needs and lose every solution."""

import jupytext
import nbformat

from bookkit import load
from bookkit.exercises import STUB, stub_of, write_exercises

SOLVED = '''def share(part: int, whole: int) -> float:
    """The share in percent."""
    return 100 * part / whole


answer = share(1, 4)
'''


def test_a_stub_keeps_signature_and_docstring_only():
    stub = stub_of(SOLVED)
    assert stub == (
        'def share(part: int, whole: int) -> float:\n    """The share in percent."""\n    ' + STUB
    )
    assert stub_of("x = 3") == f"# Your answer here.\n{STUB}"


def test_every_solution_of_the_book_is_taken_out(tmp_path, checkout):
    solutions = 0
    for path in write_exercises(load(), tmp_path):
        solved = jupytext.read(checkout / "notebooks" / f"{path.stem}.py")
        exercise = nbformat.read(path, as_version=4)
        assert len(solved.cells) == len(exercise.cells)
        for before, after in zip(solved.cells, exercise.cells, strict=True):
            if "solution" in before.metadata.get("tags", []):
                solutions += 1
                assert STUB in after.source
                assert after.source != before.source
            else:
                assert after.source == before.source
    assert solutions >= 9

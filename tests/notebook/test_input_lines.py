"""Lines that IPython would misread before a magic ever sees them."""

from __future__ import annotations

import pytest

from convai_lab.notebook.input_lines import InputLines

LINES = InputLines(cell_magics=["agent", "chat"], free_text_magics=["chat"])


def _read(cell: str) -> str:
    return "".join(LINES(cell.splitlines(keepends=True)))


def test_a_question_is_a_message_and_no_request_for_help() -> None:
    assert (
        _read("%chat support Where is my order?")
        == "get_ipython().run_line_magic('chat', 'support Where is my order?')\n"
    )
    assert _read("conv = %chat support Really??").startswith("conv = get_ipython().run_line_magic(")


@pytest.mark.parametrize("cell", ["%chat?", "%%chat?", "%chat support", "x = 1 ?", "%agents?", "print('%chat a b?')"])
def test_a_request_for_help_stays_one(cell: str) -> None:
    assert _read(cell) == cell


def test_a_comment_above_a_cell_magic_does_no_harm() -> None:
    assert _read("# my agent\n\n%%agent support\nYou are Sam.") == "%%agent support\nYou are Sam."


def test_code_above_a_cell_magic_is_explained() -> None:
    made = _read("x = 1\n%%agent support\nYou are Sam.")
    assert "must be the first line of its cell" in made
    compile(made, "cell", "exec")


@pytest.mark.parametrize("cell", ["%%agent support", "%%agent support\n", "%%chat support --var a=b\n\n  \n"])
def test_a_cell_magic_without_a_body_is_explained(cell: str) -> None:
    made = _read(cell)
    assert "needs a body below it" in made
    compile(made, "cell", "exec")


@pytest.mark.parametrize(
    "cell", ["%%agent --help", "%%agent?", "%%time\n%%agent support\nx", "%%bash\n# x\n%%chat a\n"]
)
def test_other_cells_are_left_alone(cell: str) -> None:
    assert _read(cell) == cell


@pytest.mark.parametrize("cell", ["", "\n", "%%agent support\n%%agent other\n", "text = '''\n%%agent x\n'''\n"])
def test_odd_cells_do_not_break_the_reader(cell: str) -> None:
    made = _read(cell)
    assert made == cell or "_error" in made

"""runtime.errors: a user's mistake is one line and exit code 2; a defect keeps its traceback."""

import errno

import pytest

from fusioninn_jax.runtime import errors
from fusioninn_jax.runtime.errors import UserError


def ended(main, capsys):
    """(exit code, what stands on stderr)."""
    with pytest.raises(SystemExit) as end:
        errors.cli(main)
    return end.value.code, capsys.readouterr().err


def raising(error):
    def main():
        raise error

    return main


@pytest.mark.parametrize("code", [None, 0, 1])
def test_the_code_of_a_command_is_its_exit_code(capsys, code):
    assert ended(lambda: code, capsys) == (code or 0, "")


def test_a_mistake_is_one_line(capsys):
    assert ended(raising(UserError("x.nii: no such file; check the path")), capsys) == (
        2,
        "error: x.nii: no such file; check the path\n",
    )


@pytest.mark.parametrize("number", errors.OF_PATHS)
def test_a_path_that_cannot_be_is_a_mistake(capsys, number):
    code, told = ended(raising(OSError(number, "said by the system", "x.nii")), capsys)
    assert code == 2 and told == "error: x.nii: said by the system; choose another path\n"


@pytest.mark.parametrize("error", [OSError(errno.EIO, "no good", "x.nii"), OSError(errno.ENOSPC, "full"), KeyError(1)])
def test_other_errors_are_not_swallowed(error):
    with pytest.raises(type(error)) as caught:
        errors.cli(raising(error))
    assert caught.value is error


def test_control_c_leaves_with_the_code_of_its_signal(capsys):
    code, told = ended(raising(KeyboardInterrupt()), capsys)
    assert code == 130 and told == "error: stopped by SIGINT; nothing half-written is left\n"


@pytest.mark.parametrize(
    "error, line", [(ValueError("one.\ntwo"), "one"), (ValueError("  "), "ValueError"), (KeyError("a"), "'a'")]
)
def test_the_first_line_of_an_error(error, line):
    assert errors.first_line(error) == line


def test_help_tells_defaults_that_the_texts_do_not_and_ends_with_examples():
    parser = errors.Parser(prog="x", examples="x --size=3\nx --size=4", epilog="Further.")
    parser.add_argument("--size", type=int, default=2, help="pixels")
    parser.add_argument("--names", default=["a", "b"], help="of them")
    parser.add_argument("--out", default="y", help="folder; default: beside the runs")
    parser.add_argument("--quiet", action="store_true", help="say nothing")
    text = parser.format_help()
    assert "pixels; default: 2" in text and "of them; default: a,b" in text
    assert text.count("default:") == 3
    assert text.endswith("examples:\n  x --size=3\n  x --size=4\n\nFurther.\n")


def test_a_wrong_option_is_a_mistake_that_names_the_help():
    parser = errors.Parser(prog="x")
    parser.add_argument("--size", type=int)
    with pytest.raises(UserError, match="invalid int value: 'big'; see x --help"):
        parser.parse_args(["--size=big"])

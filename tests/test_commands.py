"""What every command says of itself: the list, help texts, names of configurations, the doctor."""

import importlib
import itertools
import json
import pathlib
import subprocess
import sys

import pytest

import fusioninn_jax
from fusioninn_jax import __main__ as commands
from fusioninn_jax import doctor, report, settings
from fusioninn_jax.runtime import command_line, errors
from fusioninn_jax.settings import train_help
from tests import tolerances

ROOT = pathlib.Path(fusioninn_jax.__file__).parent.parent
HEAVY = ("tensorflow", "tensorflow_datasets", "orbax", "keras")


def run(*arguments, cwd=ROOT):
    return subprocess.run([sys.executable, *arguments], cwd=cwd, capture_output=True, text=True)


def test_without_a_command_all_are_listed(monkeypatch, capsys):
    told = run("-m", "fusioninn_jax")
    assert told.returncode == 0 and told.stderr == ""
    for name in commands.COMMANDS:
        assert f"\n  {name} " in told.stdout, name
    monkeypatch.setattr(sys, "argv", ["fusioninn", "evalute"])
    with pytest.raises(SystemExit) as end:
        commands.main()
    told = capsys.readouterr().err
    assert end.value.code == 2 and told == "error: evalute: there is no such command; did you mean evaluate?\n"


ASK = """
import contextlib, io, json, sys, time
from fusioninn_jax.__main__ import main
told = {}
for name in sys.argv[1:]:
    sys.argv, said = ["fusioninn", name, "--help"], io.StringIO()
    with contextlib.redirect_stdout(said):
        try:
            main()
        except SystemExit as end:
            heavy = [name for name in HEAVY if name in sys.modules]
            told[name] = end.code, said.getvalue(), heavy, time.process_time()
print(json.dumps(told))
""".replace("HEAVY", repr(HEAVY))


def test_help_comes_soon_and_has_an_example():
    """Help brings in neither TensorFlow nor Orbax, which is what made it slow.

    One process asks all commands: what several import counts for the first of them, and what the first of all takes for
    each.
    """
    told = run("-c", ASK, *[name for name in commands.COMMANDS if name != "prepare"])
    assert told.returncode == 0 and told.stderr == "", told.stderr
    helps = json.loads(told.stdout)
    assert len(helps) == len(commands.COMMANDS) - 1
    for name, (code, text, heavy, _) in helps.items():
        assert code == 0 and heavy == [], name
        assert "usage:" in text and "python -m fusioninn_jax." in text, name
    until = [seconds for *_, seconds in helps.values()]
    alone = [until[0] + later - earlier for earlier, later in itertools.pairwise([until[0], *until])]
    assert max(alone) < tolerances.HELP_SECONDS, alone


def test_help_of_training_tells_every_setting_with_its_default_and_meaning():
    text = train_help.text(width=100)
    squeezed = " ".join(text.split())
    for setting in settings.described():
        assert f"  {setting.name}=" in text, setting.name
        assert " ".join(setting.meaning.split()[:3]) in squeezed, setting.name
    assert max(map(len, text.splitlines())) <= 120
    assert "losses.alpha=0.2 " in text and "data.cache=true " in text and "train.steps=10000 " in text
    assert "model.ddfm.multipliers=1,1,2,2,4,4" in text


@pytest.mark.parametrize("asked", ["--help", "-h", "--helpfull"])
def test_training_answers_to_every_way_of_asking_for_help(asked, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["train", asked])
    with pytest.raises(SystemExit) as end:
        command_line.run_with_config(lambda config, workdir: 1, train_help.text)
    told = capsys.readouterr()
    assert end.value.code == 0 and "losses.alpha" in told.out and told.err == ""


def test_configurations_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = pathlib.Path(command_line.config_file("brats"))
    assert found.exists() and found.name == "brats.py"
    assert command_line.config_file("paper:x").endswith("paper.py:x")
    (tmp_path / "mine.py").write_text("")
    assert command_line.config_file("mine.py") == "mine.py"
    assert command_line.config_file("nowhere/brats.py") == "nowhere/brats.py"
    assert {"brats", "paper", "demo"} <= set(command_line.config_names())
    told = run("-m", "fusioninn_jax.train", "--config=bratts", f"--workdir={tmp_path}/x")
    assert told.returncode == 2 and "did you mean brats?" in told.stderr and "Traceback" not in told.stderr


def test_the_doctor_tells_versions_places_and_that_it_works(tmp_path, capsys):
    (tmp_path / "brats" / "mine" / "1.0.0").mkdir(parents=True)
    (tmp_path / "brats" / "mine" / "1.0.0" / "dataset_info.json").write_text("{}")
    assert doctor.main([f"--data_dir={tmp_path}"]) == 0
    told = capsys.readouterr().out
    for piece in ("jax 0", "  8 devices: CPU with ", "dicom (", f"datasets in {tmp_path}: brats/mine", ": works"):
        assert piece in told, piece


def test_the_doctor_says_when_the_model_does_not_work(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "round_trip", lambda: (0.1, 0.5))
    assert doctor.main([]) == 1
    assert "WRONG" in capsys.readouterr().err


HELPS = [
    ("fusioninn_jax.fuse", []),
    ("fusioninn_jax.decompose", []),
    ("fusioninn_jax.evaluate", []),
    ("fusioninn_jax.doctor", []),
    ("fusioninn_jax.pretrained.__main__", []),
    ("fusioninn_jax.interop.export", []),
    ("fusioninn_jax.interop.torch_checkpoint", []),
    ("fusioninn_jax.scoring.uncertainty", []),
    *[("fusioninn_jax.report", part) for part in ([], *[[name] for name in report.PART_EXAMPLES])],
    *[("data.prepare", part) for part in ([], ["brats"], ["image_pairs"], ["brain_phantom"])],
]


@pytest.mark.parametrize("module, part", HELPS, ids=lambda value: " ".join(value) if isinstance(value, list) else value)
def test_every_option_has_a_meaning_and_tells_its_default(module, part, monkeypatch):
    seen = []
    monkeypatch.setattr(errors.Parser, "print_help", lambda self, file=None: seen.append(self))
    with pytest.raises(SystemExit):
        importlib.import_module(module).main([*part, "--help"])
    (parser,) = seen
    text = " ".join(parser.format_help().split())
    assert "examples: python -m" in text
    for action in parser._actions:
        assert action.help or action.choices and not action.option_strings, action.dest  # parts have helps of their own
        if action.option_strings and action.nargs != 0 and action.default not in (None, False, "==SUPPRESS=="):
            told = " ".join(text.partition(f" {action.option_strings[-1]} ")[2].split(" --")[:6])
            assert "default" in told, action.dest

"""The command line as a user or a script meets it: the real program, without a model."""

import os
import pathlib
import pty
import re
import shutil
import signal
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("SINKSCOPE_BINARY", ROOT / "build" / "sinkscope"))
COMMANDS = ["inspect", "measure", "sweep", "bench", "show", "check", "diff", "list", "schema"]
NEED_LIBTORCH = {"inspect", "measure", "bench"}  # sweep --merge runs without

pytestmark = pytest.mark.skipif(not BINARY.exists(), reason=f"{BINARY} is not built")


def environment(**more):
    """Nothing of the caller's settings; None removes a variable."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SINKSCOPE_")}
    for name in ("NO_COLOR", "CLICOLOR_FORCE", "COLUMNS"):
        kept.pop(name, None)
    return kept | more


def sinkscope(*arguments, cwd=None, stdin="", env=None):
    return subprocess.run(
        [str(BINARY), *map(str, arguments)], cwd=cwd, input=stdin, env=env or environment(), capture_output=True, text=True
    )


@pytest.fixture
def model(tmp_path):
    """A file that passes for a model until libtorch looks at it."""
    path = tmp_path / "model.pt"
    path.write_text("no TorchScript")
    return path


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_has_usage_common_flags_and_examples(command):
    for arguments in ([command, "--help"], [command, "-h"], ["help", command]):
        result = sinkscope(*arguments)
        assert result.returncode == 0 and result.stderr == ""
        assert f"Usage: sinkscope {command}" in result.stdout
        for text in ("--quiet", "--verbose", "--no-color", "--no-progress", "--help", "Examples:"):
            assert text in result.stdout


def test_top_level_help_lists_the_commands_that_work():
    result = sinkscope("--help")
    assert result.returncode == 0
    listed = re.findall(r"^  (\w+) {2,}\w", result.stdout.split("Options:")[0], re.MULTILINE)
    has_module = (BINARY.parent / "sinkscope_torch.so").exists()  # else built with -DSINKSCOPE_TORCH=OFF
    assert listed == [command for command in COMMANDS if has_module or command not in NEED_LIBTORCH]


def test_without_the_torch_module_a_command_that_needs_it_says_where_it_was_looked_for(model):
    alone = model.parent / "sinkscope"
    shutil.copy(BINARY, alone)
    result = subprocess.run([alone, "measure", model], capture_output=True, text=True, env=environment())
    assert result.returncode == 70
    assert str(model.parent / "sinkscope_torch.so") in result.stderr and "SINKSCOPE_TORCH" in result.stderr


def test_version_is_one_line_on_stdout():
    result = sinkscope("--version")
    assert result.returncode == 0 and re.fullmatch(r"sinkscope \d+\.\d+\.\d+ \(\S+\)\n", result.stdout)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "no command given"),
        (["mesure"], "did you mean 'measure'"),
        (["--lenght", "3"], "unknown flag '--lenght'"),
        (["measure"], "no MODEL given"),
        (["inspect"], "no MODEL given"),
        (["measure", "model.pt", "--lenght", "3"], "did you mean '--length'"),
        (["inspect", "model.pt", "--rum"], "did you mean '--run'"),
        (["list", "--fromat", "json"], "did you mean '--format'"),
        (["measure", "model.pt", "--force"], "unknown flag '--force'. `sinkscope"),
        (["measure", "model.pt", "--weights", ""], "measure: an empty argument after --weights; is a variable"),
        (["sweep", "model.pt", "--weights=", "-o", "d"], "sweep: an empty argument in --weights=; is a variable"),
        (["sweep", "", "-o", "d"], "sweep: an empty argument; is a variable"),
        (["show", ""], "show: an empty argument; is a variable"),
        (["diff", "a", "b", "--rows", "-1"], "--rows: expects at least 0, not -1"),
        (["measure", "--", "model.pt", "--force"], "unexpected argument '--force'"),
        (["measure", "model.pt", "extra"], "unexpected argument 'extra'"),
        (["measure", "model.pt", "--length"], "--length needs a value"),
        (["measure", "model.pt", "--metric", "sink_rat"], "did you mean 'sink_rate'"),
        (["measure", "model.pt", "--preset", "quik"], "did you mean 'quick'"),
        (["measure", "model.pt", "--set", "sink_rate.epsilom=1"], "epsilon"),
        (["measure", "model.pt", "--tokens", "a", "--random-tokens", "1"], "exclude each other"),
        (["measure", "model.pt", "--config", "missing.toml"], "missing.toml"),
        (["measure", "model.pt", "--json", "--csv", "-"], "both write to stdout"),
        (["measure", "model.pt", "-o", "."], "directory"),
        (["measure", "model.pt", "-o", "no/such/folder/report.json"], "does not exist"),
        (["measure", "model.pt", "-o", "model.pt"], "would overwrite an input"),
    ],
)
def test_what_cannot_be_meant_is_one_message_and_exit_2(model, arguments, message):
    result = sinkscope(*arguments, cwd=model.parent)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("sinkscope: error: ") and result.stderr.count("sinkscope: error") == 1
    assert message in result.stderr


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["measure", "missing.pt"], "missing.pt: the model does not exist"),
        (["inspect", "missing.pt"], "missing.pt: the model does not exist"),
        (["measure", "."], "is a directory"),
        (["measure", "empty.pt"], "is empty"),
        (["measure", "model.pt", "--tokens", "missing.jsonl"], "missing.jsonl"),
        (["measure", "model.pt", "--weights", "missing.safetensors"], "missing.safetensors"),
    ],
)
def test_an_input_that_cannot_be_read_is_exit_3(model, arguments, message):
    (model.parent / "empty.pt").touch()
    result = sinkscope(*arguments, cwd=model.parent)
    assert result.returncode == 3 and message in result.stderr


def test_an_unknown_key_names_file_line_and_the_nearest_key(model):
    config = model.parent / "run.toml"
    config.write_text("\nlimti = 3\n")
    result = sinkscope("measure", model, "--config", config)
    assert result.returncode == 2
    assert f"{config}:2: unknown key 'limti'; did you mean 'limit'?" in result.stderr


@pytest.mark.parametrize("preset", ["quick", "full", "gu2024"])
def test_the_dumped_configuration_gives_itself_again_from_a_file_and_from_stdin(tmp_path, preset):
    dumped = sinkscope("measure", "--preset", preset, "--limit", "5", "--dump-config")
    assert dumped.returncode == 0 and f'preset = "{preset}"' in dumped.stdout
    (tmp_path / "c.toml").write_text(dumped.stdout)
    assert sinkscope("measure", "--config", tmp_path / "c.toml", "--dump-config").stdout == dumped.stdout
    assert sinkscope("measure", "--config", "-", "--dump-config", stdin=dumped.stdout).stdout == dumped.stdout


def test_an_environment_variable_in_use_is_echoed_on_stderr_once():
    env = environment(SINKSCOPE_LENGTH="12", SINKSCOPE_LENGHT="13")
    result = sinkscope("measure", "--dump-config", env=env)
    assert "length = 12" in result.stdout
    assert result.stderr.count("SINKSCOPE_LENGTH=12") == 1
    assert "SINKSCOPE_LENGHT is not used; did you mean SINKSCOPE_LENGTH?" in result.stderr
    assert sinkscope("measure", "--dump-config", "-q", env=env).stderr == ""


def test_parameters_of_a_metric_that_is_not_measured_are_a_warning_in_a_file_and_refused_as_a_flag(tmp_path):
    (tmp_path / "c.toml").write_text("[sink_rate]\nepsilon = 0.2\n")
    flags = ("measure", "--metric", "loss", "--dump-config", "--config", tmp_path / "c.toml")
    result = sinkscope(*flags)
    assert result.returncode == 0 and "sink_rate" not in result.stdout
    assert re.fullmatch(r"sinkscope: warning: .* not used: sink_rate \(.*c\.toml:2\)\n", result.stderr)
    assert sinkscope(*flags, "--quiet").stderr == ""
    refused = sinkscope(*flags, "--set", "sink_rate.epsilon=0.1")
    assert refused.returncode == 2 and "--set sink_rate.epsilon: sink_rate is not measured" in refused.stderr


def test_the_program_needs_no_libtorch_and_maps_none():
    if shutil.which("readelf"):
        needed = subprocess.run(["readelf", "-d", BINARY], capture_output=True, text=True, check=True).stdout
        assert "NEEDED" in needed
        assert not re.search(r"NEEDED.*(torch|c10|cuda)", needed)
    mapped = subprocess.run(
        [BINARY, "list"], env=environment(LD_DEBUG="files"), capture_output=True, text=True, check=True
    ).stderr
    assert "libc.so" in mapped  # the linker did say what it maps
    assert not re.search(r"lib(torch|c10)|sinkscope_torch", mapped)


def test_a_refusal_comes_before_libtorch_is_loaded(model):
    result = sinkscope("measure", model, "--metric", "nonsense", env=environment(LD_DEBUG="files"))
    assert result.returncode == 2
    assert "libc.so" in result.stderr and "sinkscope_torch" not in result.stderr


@pytest.mark.parametrize("ignored", [False, True])
def test_a_closed_pipe_ends_quietly(ignored):
    """Also below a parent that ignores SIGPIPE and lets it be inherited, as Python does."""
    read, write = os.pipe()
    os.close(read)
    result = subprocess.run(
        [BINARY, "list", "--format", "json"], stdout=write, stderr=subprocess.PIPE, restore_signals=not ignored, env=environment()
    )
    os.close(write)
    assert result.stderr == b""
    assert result.returncode == -signal.SIGPIPE


def test_a_full_disk_behind_stdout_is_an_error():
    with open("/dev/full", "w") as full:
        for arguments in (["list"], ["--version"], ["measure", "--help"], ["measure", "--dump-config"]):
            result = subprocess.run([BINARY, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, env=environment())
            assert result.returncode == 2 and result.stderr.count("sinkscope: error:") == 1, arguments
            assert "No space left" in result.stderr or "disk is full" in result.stderr


def on_terminal(arguments, env):
    """What the program writes when stdout is a terminal."""
    leader, follower = pty.openpty()
    with subprocess.Popen([BINARY, *arguments], stdout=follower, stderr=subprocess.DEVNULL, env=env) as process:
        os.close(follower)
        output = b""
        while True:
            try:
                chunk = os.read(leader, 65536)
            except OSError:  # Linux says so when the other side is closed
                break
            if not chunk:
                break
            output += chunk
    os.close(leader)
    assert process.returncode == 0
    return output


def test_colour_is_for_terminals_and_can_be_refused_or_forced():
    escape = b"\x1b["
    assert escape in on_terminal(["list"], environment(TERM="xterm"))
    for refused in (environment(TERM="xterm", NO_COLOR="1"), environment(TERM="dumb")):
        assert escape not in on_terminal(["list"], refused)
    assert escape not in on_terminal(["list", "--no-color"], environment(TERM="xterm"))
    assert escape.decode() not in sinkscope("list").stdout
    assert escape.decode() in sinkscope("list", env=environment(CLICOLOR_FORCE="1")).stdout

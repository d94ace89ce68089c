"""The launch configurations are what accelerate understands and what docs/gpus.md shows."""

import re
import shlex
from pathlib import Path

import pytest
import yaml
from accelerate import FullyShardedDataParallelPlugin
from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env
from torch.distributed.run import get_args_parser

ROOT = Path(__file__).parents[1]
CONFIGS = sorted((ROOT / "launch").glob("*.yaml"))
PAGE = (ROOT / "docs" / "gpus.md").read_text("utf-8")
COMMANDS = [
    shlex.split(line, comments=True)
    for block in re.findall(r"```sh\n(.*?)```", PAGE, flags=re.DOTALL)
    for line in block.replace("\\\n", " ").splitlines()
    if line.strip()
]


def launched(words):
    """The arguments of ``accelerate launch``, completed from their configuration file."""
    return _validate_launch_command(launch_command_parser().parse_args(words))[0]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_accelerate_knows_every_key(path):
    config = load_config_from_file(str(path))  # refuses unknown keys of the first level
    assert isinstance(config, ClusterConfig)
    known = {action.dest for action in launch_command_parser()._actions}
    for part in ("fsdp_config", "deepspeed_config"):
        assert set(yaml.safe_load(path.read_text()).get(part, {})) <= known


@pytest.mark.parametrize(
    ("name", "processes", "machines"), [("eight_gpus_fsdp2", 8, 1), ("two_nodes_fsdp2", 16, 2)]
)
def test_fsdp2_is_what_the_processes_are_told(name, processes, machines, monkeypatch):
    file = str(ROOT / "launch" / f"{name}.yaml")
    args = launched(["--config_file", file, "-m", "sftrl_lite", "rl"])
    assert (args.num_processes, args.num_machines) == (processes, machines)
    for key, value in prepare_multi_gpu_env(args).items():
        monkeypatch.setenv(key, value)
    plugin = FullyShardedDataParallelPlugin()
    plugin.set_mixed_precision(args.mixed_precision)
    assert plugin.fsdp_version == 2 and plugin.reshard_after_forward is True
    assert plugin.state_dict_type.name == "FULL_STATE_DICT"
    assert not plugin.cpu_ram_efficient_loading and not plugin.activation_checkpointing


def test_zero3_is_what_the_processes_are_told():
    file = str(ROOT / "launch" / "eight_gpus_zero3.yaml")
    args = launched(["--config_file", file, "-m", "sftrl_lite", "sft"])
    args.deepspeed_fields_from_accelerate_config = ""  # the launcher fills it in later
    _, told = prepare_deepspeed_cmd_env(args)
    assert told["ACCELERATE_USE_DEEPSPEED"] == "true"
    assert told["ACCELERATE_DEEPSPEED_ZERO_STAGE"] == "3"
    assert told["ACCELERATE_DEEPSPEED_ZERO3_SAVE_16BIT_MODEL"] == "true"


def test_the_page_shows_each_configuration():
    shown = {Path(word).name for command in COMMANDS for word in command if "launch/" in word}
    assert shown == {path.name for path in CONFIGS}


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_commands_of_the_page_parse(command, monkeypatch):
    monkeypatch.chdir(ROOT)
    if command[0] == "torchrun":
        args = get_args_parser().parse_args(command[1:])
    else:
        assert command[:2] == ["accelerate", "launch"]
        args = launched(command[2:])
    assert args.module and args.training_script == "sftrl_lite"
    assert args.training_script_args[0] in ("sft", "rl")

"""The flags that say where a command runs."""

import argparse

import pytest

from qwen_shared.cli.launch_flags import VARIABLES, add_launch_flags, own_arguments, read_launch_flags
from qwen_shared.errors import UserError
from qwen_shared.launch.launchers import Launch
from qwen_shared.launch.slurm import SlurmSettings


def read(*words: str) -> Launch:
    parser = argparse.ArgumentParser()
    add_launch_flags(parser)
    return read_launch_flags(parser.parse_args(words))


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch):
    for name in ("MASTER_ADDR", "MASTER_PORT", *VARIABLES.values()):
        monkeypatch.delenv(name, raising=False)


def test_local_is_the_default():
    assert read() == Launch("local", 1, 1)
    assert read("--nproc", "4") == Launch("local", 1, 4)


def test_torchrun_takes_flags_and_then_variables(monkeypatch):
    torchrun = ("--launcher", "torchrun")
    assert read(*torchrun, "--nproc", "8") == Launch("torchrun", 1, 8, None, 3)
    assert read(*torchrun, "--nodes", "2", "--rdzv-endpoint", "a:1") == Launch("torchrun", 2, 1, ("a", 1), 3)
    for name, value in zip(VARIABLES.values(), ("2", "8", "b:2", "0"), strict=True):
        monkeypatch.setenv(name, value)
    assert read(*torchrun) == Launch("torchrun", 2, 8, ("b", 2), 0)
    assert read(*torchrun, "--nodes", "4", "--rdzv-endpoint", "a:1") == Launch("torchrun", 4, 8, ("a", 1), 0)
    assert read("--nproc", "4") == Launch("local", 1, 4)  # they are not the other launchers'
    monkeypatch.delenv("PET_RDZV_ENDPOINT")
    monkeypatch.setenv("MASTER_ADDR", "c")
    assert read(*torchrun).endpoint == ("c", 29500)
    monkeypatch.setenv("MASTER_PORT", "3")
    assert read(*torchrun).endpoint == ("c", 3)


def test_slurm_takes_settings_from_files_and_words(tmp_path):
    (tmp_path / "cluster.yaml").write_text("partition: gpu\ngpus_per_node: 8\ntime: 12:00:00\nexclude: [n1, n2]\n")
    slurm = ("--launcher", "slurm", "--slurm", str(tmp_path / "cluster.yaml"))
    settings = SlurmSettings(partition="gpu", gpus_per_node=8, time="12:00:00", exclude=["n1", "n2"])
    assert read(*slurm) == Launch("slurm", 1, 8, None, 3, settings)
    launch = read(*slurm, "--slurm", "time=30", "--slurm", "exclude=[n3]", "--nodes", "2", "--nproc", "4")
    settings = SlurmSettings(partition="gpu", gpus_per_node=8, time="30", exclude=["n3"])
    assert launch == Launch("slurm", 2, 4, None, 3, settings) and launch.world_size == 8


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--nodes", "2"], "--nodes is for --launcher torchrun or slurm, not for local"),
        (["--max-restarts", "2"], "--max-restarts is for --launcher torchrun or slurm"),
        (["--launcher", "torchrun", "--slurm", "time=1"], "--slurm is for --launcher slurm, not for torchrun"),
        (["--launcher", "slurm", "--rdzv-endpoint", "a:1"], "--rdzv-endpoint is for --launcher torchrun"),
        (["--nproc", "0"], "--nproc: '0' is not a whole number of at least 1"),
        (
            ["--launcher", "torchrun", "--max-restarts", "-1"],
            "'-1' is not a whole number of at least 0",
        ),
        (["--launcher", "torchrun", "--nodes", "2"], "needs --rdzv-endpoint HOST:PORT, where they meet"),
        (["--launcher", "slurm", "--slurm", "nowhere.yaml"], "--slurm nowhere.yaml: No such file"),
        (["--launcher", "slurm", "--slurm", "partitoin=gpu"], "'partitoin' (=gpu); nearest valid key: 'partition'"),
        (["--launcher", "slurm", "--slurm", "time=soon"], "time=soon"),
    ],
)
def test_mistakes_are_said_in_one_line(words, said):
    with pytest.raises(UserError) as error:
        read(*words)
    assert said in str(error.value)


def test_a_variable_that_is_no_number(monkeypatch):
    monkeypatch.setenv("PET_NNODES", "1:4")
    with pytest.raises(UserError, match=r"\$PET_NNODES: '1:4' is not a whole number of at least 1"):
        read("--launcher", "torchrun")


def test_a_launched_process_gets_the_commands_own_arguments():
    launching = ["--launcher", "slurm", "--slurm=time=3", "--nproc", "2", "--nodes=1", "--slurm", "c.yaml"]
    planning = ["--plan", "--gpu", "H100", "--json"]
    argv = ["train", *launching[:3], "a=1", *planning, *launching[3:5], "--config", "x", *launching[5:], "b=2"]
    assert own_arguments(argv) == ["train", "a=1", "--config", "x", "b=2"]

"""The flags that say where a command runs."""

import argparse

import pytest

from qwen_shared.errors import UserError
from qwen_shared.launch import launchers
from qwen_shared.launch.launchers import Launch
from qwen_shared.launch.slurm import SlurmSettings


def read(*words: str) -> Launch:
    parser = argparse.ArgumentParser()
    launchers.add_flags(parser)
    return launchers.read_flags(parser.parse_args(words))


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch):
    for name in ("MASTER_ADDR", "MASTER_PORT", *launchers._VARIABLES.values()):
        monkeypatch.delenv(name, raising=False)


def test_local_is_the_default():
    assert read() == Launch("local", 1, 1)
    assert read("--nproc", "4") == Launch("local", 1, 4)


def test_torchrun_takes_flags_and_then_variables(monkeypatch):
    torchrun = ("--launcher", "torchrun")
    assert read(*torchrun, "--nproc", "8") == Launch("torchrun", 1, 8, None, 3)
    assert read(*torchrun, "--nodes", "2", "--rdzv-endpoint", "a:1") == Launch("torchrun", 2, 1, "a:1", 3)
    for name, value in zip(launchers._VARIABLES.values(), ("2", "8", "b:2", "0"), strict=True):
        monkeypatch.setenv(name, value)
    assert read(*torchrun) == Launch("torchrun", 2, 8, "b:2", 0)
    assert read(*torchrun, "--nodes", "4", "--rdzv-endpoint", "a:1") == Launch("torchrun", 4, 8, "a:1", 0)
    assert read("--nproc", "4") == Launch("local", 1, 4)  # they are not the other launchers'
    monkeypatch.delenv("PET_RDZV_ENDPOINT")
    monkeypatch.setenv("MASTER_ADDR", "c")
    assert read(*torchrun).endpoint == "c:29500"
    monkeypatch.setenv("MASTER_PORT", "3")
    assert read(*torchrun).endpoint == "c:3"


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
        (["--nproc", "0"], "--nproc: '0' is not a number from 1 up"),
        (["--launcher", "torchrun", "--max-restarts", "-1"], "--max-restarts: '-1' is not a number from 0 up"),
        (["--launcher", "torchrun", "--nodes", "2"], "--rdzv-endpoint HOST:PORT says at which"),
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
    with pytest.raises(UserError, match=r"\$PET_NNODES: '1:4' is not a number from 1 up"):
        read("--launcher", "torchrun")


def test_the_job_has_the_commands_own_words():
    launch = read("--launcher", "slurm", "--nproc", "2")
    words = [
        "train",
        "--launcher",
        "slurm",
        "--slurm=time=3",
        "a=1",
        "--plan",
        "--gpu",
        "H100",
        "--json",
        "--nproc",
        "2",
        "--config",
        "x",
        "--nodes=1",
        "b=2",
        "--slurm",
        "c.yaml",
    ]
    assert launchers.slurm_job(launch, "toy", words, None).argv == ["train", "a=1", "--config", "x", "b=2"]

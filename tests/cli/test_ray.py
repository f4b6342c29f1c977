"""``ray config`` and ``ray up``, as far as they need no Ray."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pytest

from reflector_gpu.cli.hints import here
from reflector_gpu.deploy.on_ray.config import yaml
from tests.cli.program import environment, run

ENGINES = ["recogniser-sphinx", "diarizer-pyannet"]


def config(*arguments: str, **settings: str) -> str:
    done = run("ray", "config", *arguments, env=environment(MODEL="sphinx", **settings))
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_configuration_has_the_engines_and_the_settings_and_no_secret() -> None:
    text = config(APIKEY="mine-alone", RAY_MOST_REPLICAS="7", DEVICES="cuda")
    for line in (
        *(f'- name: "{name}"' for name in ("server", *ENGINES)),
        'REFLECTOR_MODEL: "sphinx"',
        'REFLECTOR_RAY_MOST_REPLICAS: "7"',
        "max_replicas: 7",
        "num_gpus: 0.0",  # the recogniser cannot use one
    ):
        assert line in text
    assert "mine-alone" not in text


def test_an_engine_on_gpus_gets_its_share_of_one_and_nodes_that_have_them() -> None:
    given = {"MODEL": "base", "DEVICES": "cuda", "RAY_GPUS": "0.25", "RAY_MOST_REPLICAS": "10"}
    done = run("ray", "config", "--kubernetes", "mine:1", env=environment(**given))
    gpu_group = done.stdout.partition('groupName: "gpu"')[2]
    assert "num_gpus: 0.25" in done.stdout
    assert "maxReplicas: 5" in gpu_group  # twenty quarters: the diarizer uses GPUs, too
    assert "nvidia.com/gpu: 1" in gpu_group
    assert 'image: "mine:1"' in gpu_group


def test_the_head_declares_the_ports_that_kuberay_looks_for() -> None:
    head = config("--kubernetes", "mine:1").partition("workerGroupSpecs")[0]
    for name, port in (("gcs-server", 6379), ("dashboard", 8265), ("client", 10001)):
        assert f"- containerPort: {port}\n" in head
        assert f'name: "{name}"' in head


def test_jobs_need_postgresql(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = str(tmp_path_factory.mktemp("jobs"))
    done = run("ray", "config", env=environment(DATA_DIR=folder))
    assert done.returncode == 2
    assert "REFLECTOR_DATABASE_URL" in done.stderr
    assert not done.stdout


@pytest.mark.slow
def test_it_says_that_there_will_be_no_jobs() -> None:
    where = {"MODEL": "sphinx", "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/x"}
    assert "no jobs" in run("ray", "config", env=environment(MODEL="sphinx")).stderr
    assert "no jobs" not in run("ray", "config", env=environment(**where)).stderr


@pytest.mark.skipif(find_spec("ray") is not None, reason="Ray is installed")
def test_a_cluster_needs_the_extra() -> None:
    done = run("ray", "up", env=environment(MODEL="sphinx"))
    assert done.returncode == 2
    assert here("pip install 'reflector-gpu[ray]'") in done.stderr


def test_a_setting_that_does_not_exist_is_refused() -> None:
    done = run("ray", "config", env=environment(RAY_REPLICA="2"))
    assert done.returncode == 2
    assert "did you mean REFLECTOR_RAY_REPLICAS?" in done.stderr


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": 1, "b": {"c": [], "d": {}}}, "a: 1\nb:\n  c: []\n  d: {}\n"),
        (
            {"a": [{"b": 1, "c": [2, 3]}, {}]},
            "a:\n  - b: 1\n    c:\n      - 2\n      - 3\n  - {}\n",
        ),
        ({"a": "x: y\n# z", "b": "no"}, 'a: |\n  x: y\n  # z\nb: "no"\n'),
    ],
)
def test_yaml(value: dict[str, Any], text: str) -> None:
    assert yaml(value) == text

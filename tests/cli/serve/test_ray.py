"""``ray config`` and ``ray up``, as far as they need no Ray."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from reflector_gpu.cli.hints import here
from reflector_gpu.deploy.on_ray.config import yaml
from tests.cli.conftest import Typed

ENGINES = ["recogniser-sphinx", "diarizer-pyannet"]


def test_the_configuration_has_the_engines_and_the_settings_and_no_secret(typed: Typed) -> None:
    settings = {"MODEL": "sphinx", "RAY_MOST_REPLICAS": "7", "DEVICES": "cuda"}
    done = typed("ray", "config", APIKEY="mine-alone", **settings)
    assert done.status == 0, done.err
    for line in (
        *(f'- name: "{name}"' for name in ("server", *ENGINES)),
        'REFLECTOR_MODEL: "sphinx"',
        'REFLECTOR_RAY_MOST_REPLICAS: "7"',
        "max_replicas: 7",
        "num_gpus: 0.0",  # the recogniser cannot use one
    ):
        assert line in done.out
    assert "mine-alone" not in done.out


def test_an_engine_on_gpus_gets_its_share_of_one_and_nodes_that_have_them(typed: Typed) -> None:
    given = {"MODEL": "base", "DEVICES": "cuda", "RAY_GPUS": "0.25", "RAY_MOST_REPLICAS": "10"}
    done = typed("ray", "config", "--kubernetes", "mine:1", **given)
    gpu_group = done.out.partition('groupName: "gpu"')[2]
    assert "num_gpus: 0.25" in done.out
    assert "maxReplicas: 5" in gpu_group  # twenty quarters: the diarizer uses GPUs, too
    assert "nvidia.com/gpu: 1" in gpu_group
    assert 'image: "mine:1"' in gpu_group


def test_the_head_declares_the_ports_that_kuberay_looks_for(typed: Typed) -> None:
    done = typed("ray", "config", "--kubernetes", "mine:1", MODEL="sphinx")
    head = done.out.partition("workerGroupSpecs")[0]
    for name, port in (("gcs-server", 6379), ("dashboard", 8265), ("client", 10001)):
        assert f"- containerPort: {port}\n" in head
        assert f'name: "{name}"' in head


def test_jobs_need_postgresql(typed: Typed, tmp_path: Path) -> None:
    done = typed("ray", "config", DATA_DIR=str(tmp_path))
    assert (done.status, done.out) == (2, "")
    assert "REFLECTOR_DATABASE_URL" in done.err


def test_it_says_that_there_will_be_no_jobs(typed: Typed) -> None:
    where = {"MODEL": "sphinx", "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/x"}
    assert "no jobs" in typed("ray", "config", MODEL="sphinx").err
    assert "no jobs" not in typed("ray", "config", **where).err


@pytest.mark.skipif(find_spec("ray") is not None, reason="Ray is installed")
def test_a_cluster_needs_the_extra(typed: Typed) -> None:
    done = typed("ray", "up", MODEL="sphinx")
    assert done.status == 2
    assert here("pip install 'reflector-gpu[ray]'") in done.err


def test_a_setting_that_does_not_exist_is_refused(typed: Typed) -> None:
    done = typed("ray", "config", RAY_REPLICA="2")
    assert done.status == 2
    assert "did you mean REFLECTOR_RAY_REPLICAS?" in done.err


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

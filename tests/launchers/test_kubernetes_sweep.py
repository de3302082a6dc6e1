"""A whole sweep by `launcher=kubernetes`: real workers, in a stand-in for a cluster."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kubernetes_server import FakeCluster, fake_cluster
from local_kubelet import LocalKubelet, local_kubelet
from sqlalchemy import create_engine, text

pytestmark = pytest.mark.cluster
SLOW = """
import time

def objective(recipe, report):
    for step in range(1, 21):
        time.sleep(0.05)
        if report(step, recipe.lr / step):
            return
"""
TIMEOUT = 240.0


class Cluster:
    """A database, a cluster and a user's folder."""

    def __init__(
        self, cluster: FakeCluster, kubelet: LocalKubelet, url: str, folder: Path,
        environment: dict[str, str],
    ) -> None:  # fmt: skip
        self.cluster, self.kubelet, self.folder = cluster, kubelet, folder
        self.environment = environment
        self.url = url
        self.engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        command = [
            *(
                sys.executable,
                "-m",
                "lrsearch",
                "+sweep=digits",
                "objective._target_=slow.objective",
            ),
            *("study.n_trials=4", "queue.lease=5", "workers=2", "launcher=kubernetes"),
            *(
                "launcher.image=registry.example.org/lrsearch",
                f'launcher.storage="{self.plain_url}"',
            ),
        ]
        return subprocess.Popen(
            [*command, *arguments], cwd=self.folder, env=self.environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def lrsearch(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "lrsearch", *arguments], cwd=self.folder, env=self.environment,
            capture_output=True, text=True, timeout=TIMEOUT, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @property
    def plain_url(self) -> str:
        scheme, _, rest = self.url.partition("://")
        user, _, host = rest.partition("@")
        return f"{scheme}://{user.partition(':')[0]}@{host}"

    def count(self, query: str) -> int:
        try:
            with self.engine.connect() as connection:
                return int(connection.scalar(text(f"select count(*) from {query}")))
        except Exception:  # noqa: BLE001 - the tables are not made yet
            return 0

    def until(
        self, holds: Callable[[], bool], process: subprocess.Popen[str] | None = None
    ) -> None:
        end = time.monotonic() + TIMEOUT
        while not holds():
            if process is not None and process.poll() is not None:
                raise AssertionError(process.communicate()[0])
            assert time.monotonic() < end
            time.sleep(0.05)

    def runs(self) -> bool:
        return self.count("lrsearch_jobs where owner is not null") >= 2 and self.count(
            "lrsearch_units where state = 'running'"
        ) >= 2  # fmt: skip


@pytest.fixture
def there(
    new_database: Callable[[], str], tmp_path: Path, environment: dict[str, str]
) -> Iterator[Cluster]:
    (tmp_path / "slow.py").write_text(SLOW)
    own = {**environment, "PYTHONPATH": f"{environment['PYTHONPATH']}:{tmp_path}"}
    url = new_database()
    with fake_cluster() as cluster, local_kubelet(cluster, tmp_path / "pods", own) as kubelet:
        of_user = {
            **own, "KUBECONFIG": str(cluster.kubeconfig(tmp_path)), "LRSEARCH_STORAGE": url
        }  # fmt: skip
        one = Cluster(cluster, kubelet, url, tmp_path, of_user)
        yield one
        one.engine.dispose()


def test_a_sweep_is_done_though_a_pod_is_evicted_and_another_killed(there: Cluster) -> None:
    sweep = there.start()
    there.until(there.runs, sweep)
    first, second = there.cluster.running()
    there.kubelet.evict(first)
    there.kubelet.kill(second)
    said, _ = sweep.communicate(timeout=TIMEOUT)
    assert sweep.returncode == 0, said
    assert there.count("lrsearch_units where state = 'done'") == 4
    assert there.count("lrsearch_units where outcome = 'complete' or outcome = 'pruned'") == 4
    assert {75, 137, 0} <= set(there.kubelet.codes)
    assert there.count("lrsearch_jobs") == 0
    assert "hunter2" not in said
    written = [path for path in there.folder.rglob("*") if path.is_file()]
    assert not [
        path for path in written
        if b"hunter2" in path.read_bytes() and "secrets/database" not in str(path)
    ]  # fmt: skip


def test_a_closed_terminal_leaves_the_workers_and_stop_ends_them(there: Cluster) -> None:
    sweep = there.start("study.n_trials=200")
    there.until(there.runs, sweep)
    sweep.send_signal(signal.SIGHUP)
    said, _ = sweep.communicate(timeout=TIMEOUT)
    assert sweep.returncode == 0, said
    assert there.cluster.jobs
    shown = there.lrsearch("status", "digits")
    assert shown.count("kubernetes job lrsearch-digits") == 2
    assert "kubectl" in shown
    there.lrsearch("stop", "digits", "--now")
    there.until(lambda: not there.kubelet.processes)
    assert not there.cluster.jobs
    assert there.count("lrsearch_units where state = 'running'") == 0

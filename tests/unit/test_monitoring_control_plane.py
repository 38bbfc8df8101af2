"""What a controller tells of its control plane."""

from __future__ import annotations

import importlib.util
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

PROGRAM = Path(__file__).parents[2] / "roles/monitoring/files/control-plane-metrics"
ETCD = """# HELP etcd_server_has_leader Whether or not a leader exists. 1 is existence, 0 is not.
# TYPE etcd_server_has_leader gauge
etcd_server_has_leader 1
# TYPE etcd_disk_wal_fsync_duration_seconds histogram
etcd_disk_wal_fsync_duration_seconds_bucket{le="0.001"} 3
etcd_disk_wal_fsync_duration_seconds_sum 0.4
# TYPE etcd_debugging_mvcc_keys_total gauge
etcd_debugging_mvcc_keys_total 12
# TYPE go_goroutines gauge
go_goroutines 90
etcd_server_has_leader_of_another_name 1
"""


@pytest.fixture(scope="module")
def program() -> ModuleType:
    loader = SourceFileLoader("control_plane_metrics", str(PROGRAM))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def test_of_etcd_is_kept_what_is_read(program: ModuleType) -> None:
    assert program.etcd(ETCD) == ETCD.splitlines()[:6]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("notAfter=Nov  1 12:00:00 2027 GMT\n", 1825070400),
        ("notAfter=Jan 31 00:00:00 2030 GMT\n", 1896048000),
        ("unable to load certificate\n", None),
    ],
)
def test_dates_are_read_as_openssl_writes_them(program: ModuleType, text: str, seconds: int | None) -> None:
    assert program.expiry(text) == seconds


@pytest.mark.slow
def test_certificates_of_files_and_of_kubeconfigs_are_found(
    program: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import base64
    import subprocess
    import time

    certificate = tmp_path / "a.crt"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=x", "-keyout",
         str(tmp_path / "a.key"), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    (tmp_path / "admin.conf").write_text(
        f"users:\n- user:\n    client-certificate-data: {base64.b64encode(certificate.read_bytes()).decode()}\n"
    )
    (tmp_path / "kubelet.conf").write_text("users:\n- user:\n    client-certificate: /var/lib/kubelet/pki/now.pem\n")
    (tmp_path / "broken.crt").write_text("not one\n")
    monkeypatch.setattr(program, "CERTIFICATES", (str(tmp_path / "*.crt"),))
    monkeypatch.setattr(program, "KUBECONFIGS", str(tmp_path / "*.conf"))
    kind, *lines = program.certificates()
    assert kind.startswith("# TYPE")
    assert [line.partition("}")[0].rpartition("/")[2] for line in lines] == ['a.crt"', 'admin.conf"']
    for line in lines:
        assert abs(int(line.split()[-1]) - time.time() - 30 * 86400) < 120


def test_a_part_that_does_not_answer_is_unhealthy(program: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(url: str) -> str:
        if ":10259" in url:
            raise ConnectionRefusedError
        return "ok"

    monkeypatch.setattr(program, "fetch", fetch)
    assert program.health()[1:] == [
        'control_plane_component_healthy{component="etcd"} 1',
        'control_plane_component_healthy{component="kube-controller-manager"} 1',
        'control_plane_component_healthy{component="kube-scheduler"} 0',
    ]


def test_without_etcd_the_rest_is_told(program: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> str:
        raise ConnectionRefusedError

    monkeypatch.setattr(program, "fetch", refuse)
    monkeypatch.setattr(program, "certificates", lambda: ["dates"])
    target = tmp_path / "control-plane.prom"
    program.main(str(target), 0)
    text = target.read_text()
    assert "dates" in text
    assert 'component="etcd"} 0' in text
    assert "etcd_server" not in text
    assert target.stat().st_mode & 0o777 == 0o644
    assert [path.name for path in tmp_path.iterdir()] == ["control-plane.prom"]

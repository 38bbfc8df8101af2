"""The CAs and the key of service accounts are replaced on a single controller: the API is away for a short time."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from tests.support.checkout import Checkout
from tests.support.hardened import inside
from tests.support.lab import rewrite_page
from tests.support.typed import typed

# Seconds in a row without an answer, in any of the three steps.
LIMIT = 90.0
PKI = "/etc/kubernetes/pki"


def test_a_rotation_interrupts_the_api_shortly_and_says_so(one: Checkout, tmp_path: Path) -> None:
    # It begins with a backup.
    made = one.run(".venv/bin/python", "-m", "slipway.backup", "key", str(tmp_path / "key")).expect()
    backup = {"folder": str(tmp_path / "backups"), "recipients": [made.output.strip()], "keep": 2}
    one.page.write_text(rewrite_page(one.page.read_text(), {"cluster_backup": backup}))
    before = inside(one, "ctrl", f"sha256sum < {PKI}/ca.crt")
    planned = typed(one, "how-to/rotate-keys", "make rotate-ca CHECK=1").expect()
    assert "With one controller the API does not answer for up to a minute in each step" in planned.output
    over, gaps = threading.Event(), [0.0]

    def ask() -> None:
        last = time.monotonic()
        while not over.is_set():
            try:
                one.kube.text("get", "--raw", "/readyz", "--request-timeout=2s", timeout=5)
            except Exception:  # noqa: BLE001
                gaps[-1] = max(gaps[-1], time.monotonic() - last)
            else:
                last = time.monotonic()
                if gaps[-1] > 0:
                    gaps.append(0.0)
            time.sleep(0.3)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    done = typed(one, "how-to/rotate-keys", "make rotate-ca").expect()
    over.set()
    asking.join(30)
    away = [gap for gap in gaps if gap > 1]
    told = ", ".join(f"{gap:.0f} s" for gap in away)
    print(f"make rotate-ca with one controller: {done.seconds:.0f} s; away for {told}")
    assert max(gaps) < LIMIT
    assert len(list((tmp_path / "backups").iterdir())) == 1
    assert inside(one, "ctrl", f"sha256sum < {PKI}/ca.crt") != before
    for node in ("ctrl", "node-1"):
        assert inside(one, node, f"grep --count BEGIN {PKI}/ca.crt").strip() == "1"
    assert one.make("up").expect().total("changed") == 0
    assert one.make("status").status == 0

"""What runs in a pod of ours: a program of this folder, and packages of this environment as one archive."""

from __future__ import annotations

import base64
import io
import zipfile
from importlib.util import find_spec
from pathlib import Path

from ..errors import SlipwayError

# What a program imports beside the standard library, as names of modules.
PACKAGES = {"agent": (), "sink": ("aiosmtpd", "public", "attr", "attrs")}
# A zip knows no earlier day; the same packages give the same bytes.
_DAY = (1980, 1, 1, 0, 0, 0)


def packages(name: str) -> str:
    """Give a zip of what a program of this folder imports, in base64. Raises SlipwayError where it is not installed."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for module in PACKAGES[name]:
            spec = find_spec(module)
            if spec is None or spec.origin is None:
                raise SlipwayError(
                    "package-missing",
                    f"the Python package {module} is not installed here; `make setup-dev` installs it",
                )
            folder = Path(spec.origin).parent
            for path in sorted(folder.rglob("*.py")):
                if "tests" not in path.parts:
                    archive.writestr(zipfile.ZipInfo(f"{module}/{path.relative_to(folder)}", _DAY), path.read_bytes(),
                                     zipfile.ZIP_DEFLATED)  # fmt: skip
    return base64.b64encode(held.getvalue()).decode("ascii")


def program(name: str) -> str:
    """Give the text of a program of this folder."""
    return (Path(__file__).parent / f"{name}.py").read_text(encoding="utf-8")

"""The keys of the page about backups."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from .form import Map, setting


class Backup(Map):
    """Where `make backup` writes, and who can read it."""

    folder: str = setting(
        "~/slipway-backups", "Folder on the computer that runs Ansible.", example="~/slipway-backups", min_length=1
    )
    recipients: list[Annotated[str, Field(pattern=r"^age1[02-9ac-hj-np-z]{58}$")]] = setting(
        [],
        "Public keys of age; the owner of any of them can restore.",
        example=["age1ncvql6ns2hv3kg2cdkymdrd4p7ntr2txpdwh0g5vmq94autxp4xsydmktc"],
        rule="must be public keys of age, which begin with age1",
    )
    keep: int = setting(14, "The newest that are kept.", example=14, unit="backups", ge=1)

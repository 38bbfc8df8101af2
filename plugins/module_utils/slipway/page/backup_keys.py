"""The keys of the page about backups."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from .form import Map, setting

# When a timer of a controller is up.
WHEN: dict[str, Any] = {
    "pattern": r"^(hourly|daily|weekly|([01]\d|2[0-3]):[0-5]\d)?$",
    "rule": 'must be hourly, daily, weekly, a time of day in quotes such as "03:00", or empty',
}


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
    store: str = setting(
        "",
        "An S3-compatible store that make backup brings them to, too: address, bucket, and a folder. Empty: none.",
        example="https://s3.example.org/backups/slipway",
        pattern=r"^(https?://[A-Za-z0-9.-]+(:\d+)?/[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9._-]+)*)?$",
        rule="must be an address with a bucket, such as https://s3.example.org/backups/slipway, or empty",
    )
    schedule: str = setting(
        "",
        "When each controller makes one by itself, encrypted, in /var/lib/slipway/backups there. Empty: never.",
        example="03:00",
        **WHEN,
    )

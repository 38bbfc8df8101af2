"""The page of a release that is a chart, manifests or a kustomization: what stands in the place of ``services``."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from ..page.form import Form, Map, setting
from ..release.keys import LABEL_RULE, Label, Short
from ..release.storage_keys import Secret
from ..release.values import LABEL, Host, Texts

# The keys that say where the objects come from; a page has one of them, or ``services``.
ORIGINS = ("chart", "manifests", "kustomization")
_PATH_RULE = "must be the path of a file or folder, from the folder of the page"


class Chart(Short):
    """A Helm chart: a folder or an archive, and the values that it is rendered with."""

    short = "path"

    path: Annotated[str, Field(min_length=1, max_length=400)] = setting(
        ...,
        "Folder or archive (.tgz) of the chart, from the folder of the page; or a chart in a registry, with its tag or "
        "digest (`oci://ghcr.io/team/shop:1.2.3`).",
        example="./helm",
        rule=_PATH_RULE,
    )
    values: Texts = setting(
        [], "Files of values, from the folder of the page, else of the chart. A later one lies over an earlier one.",
        example=["values.yaml"],
    )  # fmt: skip
    set: dict[str, Any] = setting(
        {}, "Values that replace those of the files. A dot leads into a map.", example={"canary.weight": 10}
    )
    keep: list[Annotated[str, Field(min_length=1, max_length=100)]] = setting(
        [],
        "Subcharts to install although the cluster has what they bring. Others of these are switched off.",
        example=["kube-prometheus-stack"],
    )


class Contents(Map):
    """A release whose objects come from a chart, from manifests or from a kustomization."""

    name: Annotated[str, Field(pattern=r"^[a-z]([a-z0-9-]*[a-z0-9])?$", max_length=40)] = setting(
        ...,
        "Name of the release, and of the Helm release that the chart is rendered for.",
        example="shop",
        rule="must start with a letter and have only lower-case letters, digits and hyphens, at most 40",
    )
    namespace: Label | None = setting(
        None, "Namespace. By default it has the name of the release.", example="shop", rule=LABEL_RULE
    )
    chart: Chart | None = setting(None, "Helm chart. The short form is its path.", example={"path": "./helm"})
    manifests: Texts = setting(
        [], "Files, and folders of files (.yaml, .yml, .json), from the folder of the page.", example=["k8s/"]
    )
    kustomization: str | None = setting(
        None, "Folder of a kustomization, from the folder of the page.", example="./overlays/lab", rule=_PATH_RULE
    )
    hosts: Annotated[list[Host], Field(min_length=1)] | None = setting(
        None,
        "Hosts that the release answers on, where its contents do not name them: those that a proof asks for.",
        example=["shop.local"],
    )
    sidecars: bool = setting(
        True, "Do the pods of its namespace get a sidecar, if they do not say so themselves?", example=False
    )
    secrets: dict[Label, Secret] = setting(
        {},
        "Secrets that the contents use and do not have. Their values come from the environment or from a vault file.",
        example={"smtp": {"keys": {"password": {"environment": "SMTP_PASSWORD"}}}},
        rule=LABEL_RULE,
    )
    delete_claims: list[Annotated[str, Field(pattern=rf"^({LABEL}|\*)$", max_length=63)]] = setting(
        [],
        "PersistentVolumeClaims to delete, with data, once the contents no longer have them. * means all.",
        example=["old-cache"],
        rule="must be the name of a claim, or *",
    )
    adopt: bool = setting(
        False,
        "Take over existing objects of another owner, such as Helm? If false, the run refuses them, each by name.",
        example=True,
    )


FORM = Form(Contents, absent="(missing)")

# Which field, program or option each key becomes, for readers of the reference.
FIELDS: dict[str, dict[str, str]] = {
    "Contents": {
        "name": "label `slipway.io/release`; `.Release.Name`",
        "namespace": "Namespace `metadata.name`; `.Release.Namespace`",
        "chart": "`helm template`",
        "manifests": "objects as they are",
        "kustomization": "`kubectl kustomize`",
        "sidecars": "Namespace label `istio-injection`",
        "secrets": "Secret",
    },
    "Chart": {
        "path": "`helm template`, `helm pull`",
        "values": "`helm template --values`",
        "set": "values, the last",
        "keep": "dependency of `Chart.yaml`",
    },
}

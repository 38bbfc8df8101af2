"""The ids of what is wrong with a release that is a chart, manifests or a kustomization."""

from __future__ import annotations

CONTENTS = {
    "not-of-contents": "A page with `chart`, `manifests` or `kustomization` takes no keys of services; take it away.",
    "chart-missing": "There is no chart at the path; name the folder that has `Chart.yaml`, or an archive of it.",
    "chart-reference": "A chart in a registry needs a tag or a digest, so that it is the same one tomorrow.",
    "chart-unreachable": "A registry does not give the chart; pull it where it can be reached, or log in with Helm.",
    "chart-changed": "A tag in a registry is another chart than before; name the one that is meant by its digest.",
    "chart-incomplete": "A dependency of the chart is not in its `charts/`; run `helm dependency build` for it.",
    "chart-fails": "Helm, or kubectl for a kustomization, cannot render it; the message says where, and why.",
    "not-repeatable": "It comes out another way each time, or reads the cluster; put a fixed value or a Secret there.",
    "hook-refused": "A hook of Helm cannot be run; make it a Job before or after a change, or take it out.",
    "annotation-unreadable": "An annotation or path of an Ingress cannot be what it is; the message has what works.",
    "annotation-refused": "An annotation lets only some in, and the mesh cannot do that so; a policy of its own can.",
    "ingress-port-unknown": "An Ingress names a port of a Service that the contents do not have; write its number.",
    "job-ended-badly": "A Job that the change waits for has failed; the message has the last lines of its log.",
}

"""What a chart is read for: objects as Kubernetes reads them, values, words of templates, subcharts."""

from __future__ import annotations

import base64

import pytest
from slipway.contents import subcharts, template_words
from slipway.contents.reading import documents, merged, spread
from slipway.errors import SlipwayError

from tests.support.errors import tells


def test_objects_are_told_by_the_template_that_they_come_from() -> None:
    text = (
        "---\n# Source: shop/templates/a.yaml\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\n# nothing\n"
    )
    found = list(documents(text))
    assert [(one.item["metadata"]["name"], one.source) for one in found] == [("a", "shop/templates/a.yaml")]


def test_values_are_read_as_kubernetes_reads_them_and_not_as_python_does() -> None:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {at: 12:30, day: 2026-11-30, n: 8080, f: 1.5}"
    (one,) = documents(text)
    assert one.item["data"] == {"at": "12:30", "day": "2026-11-30", "n": 8080, "f": 1.5}


def test_what_a_secret_has_in_plain_becomes_its_data() -> None:
    (one,) = documents("apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {k: v}\ndata: {l: dw==}")
    assert one.item["data"] == {"k": base64.b64encode(b"v").decode(), "l": "dw=="}
    assert "stringData" not in one.item


def test_what_is_no_object_is_refused_with_its_file() -> None:
    with pytest.raises(SlipwayError, match=r"k8s/a\.yaml") as caught:
        list(documents("just: a map", "k8s/a.yaml"))
    tells(caught.value, "not-an-object")


def test_values_with_dots_lead_into_maps_and_lie_over_those_below() -> None:
    assert spread({"a.b": 1, "a.c": 2, "d\\.e": 3, "f": {"g.h": 4}}) == {
        "a": {"b": 1, "c": 2},
        "d.e": 3,
        "f": {"g": {"h": 4}},
    }
    assert merged({"a": {"b": 1, "c": [1]}}, {"a": {"c": [2]}}) == {"a": {"b": 1, "c": [2]}}


TEMPLATE = """# randAlphaNum in a comment of YAML
{{- /* lookup "v1" "Secret" */}}
a: {{ "now" }} {{ .Values.lookup }} {{ $now }} {{ .now }}
b: {{ randAlphaNum 8 | quote }}
c: {{- if (lookup "v1" "Secret" "ns" "name") }}
d: {{ include "uuidv4" . }}
"""


def test_only_functions_end_a_template_not_what_is_called_so() -> None:
    text, uses = template_words.guarded(TEMPLATE, "templates/a.yaml")
    assert [(use.word, use.line) for use in uses] == [("randAlphaNum", 4), ("lookup", 5)]
    assert "{{ fail 8 | quote }}" in text
    assert '{{- if (fail "v1" "Secret" "ns" "name") }}' in text
    assert text.count("fail") == 2


def test_the_function_is_found_by_where_helm_says_that_it_ended() -> None:
    _, uses = template_words.guarded(TEMPLATE, "templates/a.yaml")
    said = 'Error: template: shop/templates/a.yaml:5:12: executing "shop/a.yaml" at <fail>: wrong number of args'
    found = template_words.met(said, uses)
    assert found is not None
    assert (found.word, found.why) == ("lookup", "reads the cluster")
    assert template_words.met(said.replace(":5:", ":3:"), uses) is None


ABOUT = {
    "dependencies": [
        {"name": "kube-prometheus-stack", "condition": "kps.enabled, monitoring.enabled"},
        {"name": "grafana", "alias": "pictures"},
        {"name": "postgresql"},
    ]
}


def test_dependencies_that_the_cluster_makes_needless_are_found() -> None:
    found = subcharts.duplicates(ABOUT)
    assert [(each.name, each.condition) for each in found] == [
        ("kube-prometheus-stack", ("kps.enabled", "monitoring.enabled")),
        ("pictures", ()),
    ]
    assert [each.name for each in subcharts.duplicates(ABOUT, ["pictures"])] == ["kube-prometheus-stack"]


@pytest.mark.parametrize(
    ("values", "off"),
    [
        ({}, False),
        ({"kps": {"enabled": False}}, True),
        ({"kps": {"enabled": True}, "monitoring": {"enabled": False}}, False),
        ({"monitoring": {"enabled": False}}, True),
    ],
)
def test_values_may_have_a_subchart_off_already(values: dict[str, object], off: bool) -> None:
    assert subcharts.is_off(subcharts.duplicates(ABOUT)[0], values) is off


def test_a_service_of_a_subchart_has_its_like_in_the_cluster() -> None:
    assert subcharts.instead("shop-grafana") == "grafana.monitoring:80"
    assert subcharts.instead("shop-kube-prometheus-stack-prometheus") == "prometheus.monitoring:9090"
    assert subcharts.instead("shop-web") == ""

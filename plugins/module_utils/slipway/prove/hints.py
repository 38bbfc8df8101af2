"""Where to look when a claim failed."""

from __future__ import annotations

LOOK = {
    "address": "kubectl -n istio-system get service istio-ingressgateway; MetalLB's pods in metallb-system",
    "share": "kubectl -n {namespace} get virtualservice,destinationrule -o yaml: the weights, and the subsets' labels",
    "default": "kubectl -n {namespace} get virtualservice -o yaml: the last rule of the path",
    "sticky": "kubectl -n {namespace} get virtualservice -o yaml: its cookie's rules, and Set-Cookie",
    "withdrawn": "kubectl -n {namespace} get virtualservice -o yaml: a rule for a version without weight",
    "override": "kubectl -n {namespace} get virtualservice -o yaml: the first rules, by host, header or cookie",
    "chain": "kubectl -n {namespace} get virtualservice,destinationrule -o yaml: sourceLabels; what the app forwards",
    "shadow": "kubectl -n {namespace} get virtualservice -o yaml: mirrors of the service's rules",
    "headers": "kubectl -n {namespace} get virtualservice -o yaml: headers of the path's rules",
    "version-header": "kubectl -n {namespace} get virtualservice -o yaml: headers of each destination",
    "cors": "kubectl -n {namespace} get virtualservice -o yaml: corsPolicy of the path's rules",
    "limit": "kubectl -n istio-system get envoyfilter -o yaml: its virtual host (host:port), and numTrustedProxies 0",
    "tls": "kubectl -n {namespace} get gateway -o yaml; kubectl -n istio-system get secret,envoyfilter: certificate "
    "and slipway-misdirected; prove_authority is the authority that is trusted",
    "mtls": "kubectl -n {namespace} get peerauthentication -o yaml",
    "access": "kubectl -n {namespace} get authorizationpolicy -o yaml",
    "outside": "kubectl -n {namespace} get serviceentry,destinationrule,virtualservice -o yaml: its host",
    "egress": "kubectl -n {namespace} get sidecars.networking.istio.io -o yaml: its selector; pods without a proxy",
    "jwt": "kubectl -n {namespace} get requestauthentication,authorizationpolicy -o yaml; istiod's log about jwks",
    "alert": "kubectl -n {namespace} get prometheusrule,alertmanagerconfig,secret; Alertmanager's log",
    "dashboard": "Prometheus, page Graph: the query of the panel; kubectl -n {namespace} get configmap -o yaml",
    "case": "kubectl -n {namespace} get virtualservice -o yaml: the rules with when- in their name",
    "redirect": "kubectl -n {namespace} get virtualservice -o yaml: redirect of the path's rule",
    "entry": "kubectl -n {namespace} get virtualservice,gateway -o yaml: the one with this host",
    "websocket": "kubectl -n {namespace} get virtualservice -o yaml; prove_paths names the path that the app upgrades",
    "grpc": "kubectl -n {namespace} get service,virtualservice -o yaml: appProtocol, and the rule; the app's log",
    "tool": "kubectl get virtualservice -A; the tool's pods",
    "answer": "kubectl -n {namespace} get virtualservice,pods; what the app answers there",
    "counted": "kubectl -n {namespace} get virtualservice,destinationrule -o yaml: weights, and labels of subsets",
    "rules": "kubectl -n {namespace} get prometheusrule -o yaml; Prometheus, page Rules",
    "queries": "kubectl -n {namespace} get configmap -l grafana_dashboard -o yaml; Prometheus, page Query",
    "metrics": "kubectl -n {namespace} get servicemonitor -o yaml; Prometheus, page Targets",
}
ELSEWHERE = "kubectl -n {namespace} get virtualservice,destinationrule -o yaml: {kind} of {service}"
